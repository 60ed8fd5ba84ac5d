"""Who shares a commit, and what an item that cannot be stored costs those who share it."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from executions.intake.group_commit import GroupCommit, Join, Stored
from harness.processes import until


class Table:
    """What is written to; its first transaction begins late, like one that waits for another writer's lock."""

    def __init__(self, *, begins_with: int, refused: str = "") -> None:
        self.begins_with = begins_with
        self.refused = refused
        self.commits: list[list[str]] = []

    def write(self, items: Sequence[str], join: Join[str]) -> list[Stored[str]]:
        batch = [*items, *join()]
        while not self.commits and len(batch) < self.begins_with:
            batch += until(join, within=10)
        self.commits.append(sorted(batch))
        if self.refused in batch:
            raise ValueError(f"no {self.refused}")
        return [item.upper() for item in batch]


def submit_together(table: Table, items: str) -> dict[str, str]:
    group, answers = GroupCommit("test", table.write), {}

    def submit(item: str) -> None:
        try:
            answers[item] = group.submit(item).wait()
        except ValueError as error:
            answers[item] = str(error)

    senders = [threading.Thread(target=submit, args=(item,)) for item in items]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
    return answers


def test_those_who_arrive_until_the_transaction_begins_share_its_commit() -> None:
    table = Table(begins_with=3)

    assert submit_together(table, "abc") == {"a": "A", "b": "B", "c": "C"}
    assert table.commits == [["a", "b", "c"]]


def test_an_item_that_cannot_be_stored_fails_alone() -> None:
    table = Table(begins_with=3, refused="b")

    assert submit_together(table, "abc") == {"a": "A", "b": "no b", "c": "C"}
    assert sorted(table.commits) == [["a"], ["a", "b", "c"], ["b"], ["c"]]
