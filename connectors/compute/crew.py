"""The processes that compute for one engine or web process, as that process sees them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from connectors.compute import frames
from connectors.compute.child import WALL, Limits

GRACE_S = 5.0  # seconds beyond a job's own limit after which a line that says nothing counts as dead
ROOT = Path(__file__).resolve().parents[2]


class Crew:
    """A keeper for each line; an `ask` that raises Broken means that all of them are to be replaced."""

    def __init__(self, lines: int, limits: Limits) -> None:
        self.limits = limits
        requests = [os.pipe() for _ in range(lines)]
        answers = [os.pipe() for _ in range(lines)]
        theirs = [(request[0], answer[1]) for request, answer in zip(requests, answers, strict=True)]
        # File objects, which close with their last user: a closed number may belong to another file a moment later.
        self._ours = [
            (os.fdopen(request[1], "wb", buffering=0), os.fdopen(answer[0], "rb", buffering=0))
            for request, answer in zip(requests, answers, strict=True)
        ]
        for sink, _ in self._ours:
            os.set_blocking(sink.fileno(), False)
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "connectors.compute.child", str(limits.seconds), str(limits.memory),
                 *(f"{source},{sink}" for source, sink in theirs)],
                cwd=ROOT,
                env={"PYTHONPATH": os.pathsep.join(sys.path), "LC_ALL": "C.UTF-8", **_zone()},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                start_new_session=True,  # signals for the service's group, such as Ctrl+C, are not for them
                pass_fds=[end for line in theirs for end in line],
            )  # fmt: skip
        finally:
            for end in (end for line in theirs for end in line):
                os.close(end)

    def ask(self, line: int, request: bytes) -> bytes:
        """Return the outcome of a job as JSON text, or a keeper's word for its end; blocks until then."""
        try:
            sink, source = self._ours[line]
        except IndexError:
            raise frames.Broken from None
        ends_at = time.monotonic() + WALL * self.limits.seconds + GRACE_S
        frames.send(sink.fileno(), request, ends_at)
        return frames.receive(source.fileno(), ends_at)

    def close(self) -> None:
        """End all processes of the crew: the kernel ends keepers and children with the first of them."""
        self._process.kill()
        self._process.wait()
        self._ours = []


def _zone() -> dict[str, str]:
    """Return the time zone of this process, in which dates are read."""
    return {"TZ": os.environ["TZ"]} if "TZ" in os.environ else {}
