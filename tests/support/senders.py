"""Senders that post all the time, and the comparison of what they were answered with what is stored."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, Self

from executions.states import Status
from harness.automations import Made
from harness.processes import until


class Senders(AbstractContextManager["Senders"]):
    """Threads that post to one automation until the block ends, each its next request after the last one's answer."""

    def __init__(self, made: Made, name: str = "transform", *, number: int = 4) -> None:
        self.made, self.name = made, name
        self.answers: list[tuple[int, Any]] = []
        self.is_over = threading.Event()
        self.threads = [threading.Thread(target=self._post_all, daemon=True) for _ in range(number)]

    def __enter__(self) -> Self:
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.is_over.set()
        for thread in self.threads:
            thread.join(60)

    def _post_all(self) -> None:
        while not self.is_over.is_set():
            status, answer = self.made.post(self.name)
            self.answers.append((status, answer))
            if status != 202:
                self.is_over.wait(0.05)  # a sender does not flood a server that refuses

    @property
    def accepted(self) -> list[str]:
        """Return the ids of the executions that were answered with 202."""
        return [answer["execution_id"] for status, answer in self.answers if status == 202]

    def get_on(self, number: int = 20) -> None:
        """Return once so many more requests are accepted."""
        wanted = len(self.accepted) + number
        until(lambda: len(self.accepted) >= wanted, within=60, what=f"{number} more requests are accepted")

    def check(self, *, others: Sequence[uuid.UUID] = ()) -> None:
        """Fail unless each answer is true: 202 for what is stored once, 503 for what is not, 504 if nobody knows.

        Fail also unless all end well. `others` are the organization's executions that were made otherwise.
        """
        stored = {str(uuid.UUID(str(row["id"]))) for row in self.made.select("id", "executions_execution")}
        refused = [(status, answer) for status, answer in self.answers if status != 202]
        in_doubt = {answer["execution_id"] for status, answer in refused if answer["error"]["code"] == "in_doubt"}
        assert {*self.accepted, *map(str, others)} == stored - in_doubt
        assert {answer["error"]["code"] for _, answer in refused} <= {"unavailable", "in_doubt"}
        until(self._all_have_ended_well, within=60, what="all executions have ended as Success")

    def _all_have_ended_well(self) -> bool:
        success = self.made.select("id", "executions_execution", f"status = {Status.SUCCESS.value}")
        return len(success) == self.made.executions
