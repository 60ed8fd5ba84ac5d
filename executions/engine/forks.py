"""What a forked process does before anything else: end with its parent, and hear signals as a new program does.

A fork copies handlers, so that until the child has its own a signal would run its parent's and be lost.
"""

from __future__ import annotations

import os
import signal

from executions.engine.host import die_with_parent

ASK_FOR_THE_END = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

_ending: signal.Signals | None = None  # sent to forked processes when their parent ends; None before guard_forks()
_parent_pid = 0  # the pid that the processes forked from here must have as their parent
_mask: set[int] = set()  # the signals that were blocked before the fork


def guard_forks(ending: signal.Signals = signal.SIGKILL) -> None:
    """Have the kernel send `ending` to each process forked from here, or from those, when its parent ends.

    Such a process begins with default handlers in place of its parent's, before the first signal reaches it.
    """
    global _ending, _parent_pid
    if _ending is None:
        os.register_at_fork(before=_hold_signals, after_in_parent=_let_signals_through, after_in_child=_begin)
    _ending, _parent_pid = ending, os.getpid()


def _hold_signals() -> None:
    _mask.update(signal.pthread_sigmask(signal.SIG_BLOCK, ASK_FOR_THE_END))


def _let_signals_through() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, _mask)
    _mask.clear()


def _begin() -> None:
    global _parent_pid
    assert _ending is not None
    die_with_parent(_ending)
    if os.getppid() != _parent_pid:
        os._exit(1)  # the parent ended before the kernel was asked
    _parent_pid = os.getpid()
    for number in ASK_FOR_THE_END:
        if callable(signal.getsignal(number)):  # what is ignored stays ignored
            signal.signal(number, signal.SIG_DFL)
    _let_signals_through()
