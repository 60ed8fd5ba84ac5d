"""What a computation over strangers' data may cost where others wait for the same thread.

The unit is about one byte touched: `weight` says how many a value has, `spend` takes them from the budget that is in
force. Work that exceeds it is done again from its start in a compute child (connectors/compute/), which has limits of
time and memory instead of a budget. So every operation says what it costs before it begins.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

import orjson

TOO_LARGE = "The value is larger than 20 MB."
NODE = 10  # units of a value by itself: a number, or a list or object without its items
INLINE = 200_000  # units of one computation beside others: 2 to 10 ms on a slow core
RESULT_LIMIT = 20_000_000  # units of one value that a step takes or gives, wherever it was computed
DEPTH_LIMIT = 200  # levels of lists and objects in one value, which others may stand around
TOO_DEEP = f"The value has more than {DEPTH_LIMIT} levels of lists and objects inside each other."
ORJSON_LEVELS = 254  # that orjson writes


class OverBudget(Exception):
    """The computation costs more than may be spent here; it has changed nothing."""


class TooLarge(Exception):
    """A value is larger than any computation may take or make; the message is a sentence."""


class budget:
    """Bounds what is computed inside: OverBudget is raised once it has cost so many units.

    `at_hand` are the units of the values that an operation may go over, `copied` those that were taken over as they
    are, which no budget limits.
    """

    __slots__ = ("at_hand", "copied", "left", "token", "units")

    def __init__(self, units: int = INLINE) -> None:
        self.units = self.left = units
        self.at_hand = self.copied = 0

    def __enter__(self) -> budget:
        self.token = _budget.set(self)
        return self

    def __exit__(self, *_: object) -> None:
        _budget.reset(self.token)

    @property
    def spent(self) -> int:
        """Return the units that were spent or copied."""
        return self.units - self.left + self.copied


_budget: ContextVar[budget | None] = ContextVar("budget", default=None)


def spend(units: float) -> None:
    """Take units from the budget in force, before the work that they stand for; raise OverBudget beyond it."""
    current = _budget.get()
    if current is not None:
        current.left -= int(units)
        if current.left < 0:
            raise OverBudget


def measured(value: Any, limit: int = RESULT_LIMIT) -> tuple[int, int]:
    """Return the units of a value with everything in it, and how many levels of lists and objects it has.

    Beyond `limit` the rest is not looked at. A value may hold the same list a million times over: what counts is what
    it would be when written out.
    """
    total, depth, level = 0, 0, [value]
    while level:
        below: list[Any] = []
        has_outer = False
        total += NODE * len(level)
        for item in level:
            kind = type(item)
            if kind is str:
                total += len(item)
            elif kind is dict:
                has_outer = True
                total += sum(map(len, item))
                below += item.values()
            elif kind is list or kind is tuple or kind is range:
                has_outer = True
                below += item
            elif kind is int:
                total += item.bit_length() // 3
            if total + NODE * len(below) > limit:
                return limit + NODE, depth
        depth += has_outer
        level = below
    return total, depth


def weight(value: Any) -> int:
    """Return the units of a value; raise OverBudget or TooLarge for more than may be spent or may be at all."""
    if type(value) is str:
        return NODE + len(value)
    current = _budget.get()
    limit = RESULT_LIMIT if current is None else min(RESULT_LIMIT, current.left)
    units = measured(value, limit)[0]
    if units > limit:
        if limit < RESULT_LIMIT:
            raise OverBudget
        raise TooLarge(TOO_LARGE)
    return units


def take_in_hand(units: int) -> None:
    """Count the units of a value that the operations from now on may go over."""
    current = _budget.get()
    if current is not None:
        current.at_hand += units


def note_copied(units: int) -> None:
    """Note that a value was taken over as it is, into a step's input, which is written down later."""
    current = _budget.get()
    if current is not None:
        current.copied += units


def spend_going_over() -> None:
    """Spend what it costs to copy or skip through a value at hand, without looking into its items."""
    current = _budget.get()
    if current is not None:
        spend(current.at_hand // 8)


def written_size(value: Any) -> int:
    """Return the bytes of a value that is no larger than RESULT_LIMIT, in a fifth of the time that `measured` takes.

    Raise TooLarge for one that has more levels than DEPTH_LIMIT.
    """
    nested = value
    for _ in range(ORJSON_LEVELS - DEPTH_LIMIT):
        nested = [nested]
    try:
        return len(orjson.dumps(nested))
    except TypeError:  # too deep, or an integer past 64 bits
        units, depth = measured(value)
        if depth > DEPTH_LIMIT:
            raise TooLarge(TOO_DEEP) from None
        return units


def checked_result(value: Any) -> None:
    """Raise TooLarge for a value that is too large, or nested too deeply, to be stored and read by later steps."""
    units, depth = measured(value)
    if units > RESULT_LIMIT:
        raise TooLarge(TOO_LARGE)
    if depth > DEPTH_LIMIT:
        raise TooLarge(TOO_DEEP)
