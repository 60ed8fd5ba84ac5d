"""The compute children of one process, shared by its organizations: each has a line of its own, served in turn."""

from __future__ import annotations

import logging
import sys
import threading
from collections import Counter, OrderedDict, deque
from collections.abc import Hashable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field

from connectors.compute import child
from connectors.compute.child import Limits
from connectors.compute.crew import Crew
from connectors.compute.frames import Broken
from connectors.compute.jobs import request, result_of
from connectors.sdk.call import JSON, StepError

logger = logging.getLogger(__name__)

IDLE_S = 30.0  # seconds without a job after which the processes end; the next job starts them in 0.3 s
BUSY = "Too much is being computed for this organization at the moment. Try again in some seconds."
MEGABYTE = 1024 * 1024


@dataclass(slots=True)
class _Task:
    owner: Hashable
    job: str
    arguments: tuple[JSON, ...]
    future: Future[JSON] = field(default_factory=Future)


class Pool:
    """Computes jobs in children, one for each of its threads; thread and children exist only while there is work.

    One owner, an organization, never holds all children, so that nobody waits behind another's jobs alone.
    """

    def __init__(
        self, *, children: int = 2, seconds: int = 2, megabytes: int = 256, waiting_limit: int = sys.maxsize
    ) -> None:
        self.children = children
        self.limits = Limits(seconds, megabytes * MEGABYTE)
        self.waiting_limit = waiting_limit  # jobs of one owner
        self.share = max(1, children - 1)  # children that one owner may hold
        self._changed = threading.Condition()
        self._lines: OrderedDict[Hashable, deque[_Task]] = OrderedDict()  # the owner whose turn is next comes first
        self._held: Counter[Hashable] = Counter()
        self._free = set(range(children))  # lines of the crew that no thread serves
        self._waiting = 0  # threads that wait for a job
        self._crew: Crew | None = None
        self._is_closed = False

    def submit(self, owner: Hashable, job: str, *arguments: JSON) -> Future[JSON]:
        """Return the result to come of a job, or MappingError or StepError; raise StepError when too many wait."""
        task = _Task(owner, job, arguments)
        with self._changed:
            if len(self._lines.get(owner, ())) >= self.waiting_limit:
                raise StepError(BUSY, code="compute_busy", retryable=True)
            self._lines.setdefault(owner, deque()).append(task)
            if self._free and sum(map(len, self._lines.values())) > self._waiting:
                line = self._free.pop()
                threading.Thread(target=self._serve, args=(line,), name=f"compute-{line}", daemon=True).start()
            self._changed.notify_all()
        return task.future

    def close(self) -> None:
        """End the children; a job under way fails."""
        with self._changed:
            self._is_closed = True
            crew, self._crew = self._crew, None
        if crew is not None:
            crew.close()

    # --- the threads

    def _serve(self, line: int) -> None:
        while task := self._next(line):
            try:
                if task.future.set_running_or_notify_cancel():
                    self._finish(task, line)
            finally:
                with self._changed:
                    self._held[task.owner] -= 1
                    self._changed.notify_all()
                del task  # or its data would stay while this thread waits for the next one

    def _next(self, line: int) -> _Task | None:
        """Return the next job for this thread, or None when none has come for long: the thread then ends."""
        with self._changed:
            while True:
                if task := self._taken():
                    return task
                self._waiting += 1
                has_changed = self._changed.wait(IDLE_S)
                self._waiting -= 1
                if not has_changed and not self._lines:
                    self._free.add(line)
                    if len(self._free) == self.children and self._crew is not None:
                        self._crew.close()
                        self._crew = None
                    return None

    def _taken(self) -> _Task | None:
        """Take the first job of the first owner who may have another child; the owner's next turn comes last."""
        for owner, line in self._lines.items():
            if self._held[owner] < self.share:
                self._held[owner] += 1
                task = line.popleft()
                if line:
                    self._lines.move_to_end(owner)
                else:
                    del self._lines[owner]
                return task
        return None

    def _finish(self, task: _Task, line: int) -> None:
        try:
            task.future.set_result(self._result(task, line))
        except Exception as error:
            # Its frames hold the job, and the job's future the error: all of it would wait for the collector.
            task.future.set_exception(error.with_traceback(None))

    def _result(self, task: _Task, line: int) -> JSON:
        text = request(task.job, task.arguments)
        for _ in range(2):  # a crew that has died takes the jobs of all its lines along
            try:
                crew = self._working_crew()
            except Broken:
                break
            try:
                outcome = crew.ask(line, text)
            except (Broken, OSError):
                self._replace(crew)
                continue
            if outcome in child.WORDS:
                raise self._failure(task.job, outcome)
            return result_of(outcome)
        raise self._failure(task.job, child.CRASH)

    def _working_crew(self) -> Crew:
        with self._changed:
            if self._is_closed:
                raise Broken
            if self._crew is None:
                self._crew = Crew(self.children, self.limits)
            return self._crew

    def _replace(self, crew: Crew) -> None:
        with self._changed:
            if self._crew is crew:
                logger.warning("the compute children ended and are started anew")
                self._crew = None
        with suppress(OSError):
            crew.close()

    def _failure(self, job: str, word: bytes) -> StepError:
        what, limits = NAMES[job], self.limits
        match word:
            case child.TIME:
                return StepError(f"{what} took longer than {limits.seconds} s.", code="compute_time")
            case child.MEMORY:
                message = f"{what} needed more than {limits.memory // MEGABYTE} MB."
                return StepError(message, code="compute_memory")
            case _:
                return StepError(f"{what} could not be computed.", code="compute_failed")


NAMES = {"render": "The template", "search": "The query", "judge": "The conditions"}
