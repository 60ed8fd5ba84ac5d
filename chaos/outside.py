"""Compare the calls outside, which the echo server recorded, with the Execution Log: the promise I4."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from chaos.faults.kinds import Window
from chaos.findings import Ended, Findings, plain
from executions.states import Status


def check(ended: Sequence[Ended], windows: Sequence[Window], found: Findings) -> None:
    found.figures["calls repeated, same key"] = sum(len(one.keys) - len(set(one.keys)) for one in ended)
    found.figures["never-repeat repeated"] = found.add("I4 a never-repeat step was repeated", (
        f"{one.name}: {one.keys}" for one in ended
        if one.plan.never_repeats and len(one.keys) > len(set(one.keys))
    ))  # fmt: skip
    found.add("I4 Success without its effect", (
        f"{one.name}: {one.keys}" for one in ended
        if one.row["status"] == Status.SUCCESS and {step_of(key) for key in one.keys} < set(one.plan.calls)
    ))  # fmt: skip
    found.add("I4 another key than the step's", (
        f"{one.name}: {key}" for one in ended for key in set(one.keys) - keys_of(one)
    ))  # fmt: skip
    found.add("I4 more calls of a step than claims of its execution", (what for one in ended for what in surplus(one)))
    interrupted = [one for one in ended if one.row["reason_code"] == "interrupted"]
    found.figures["ended “interrupted, outcome unknown”"] = len(interrupted)
    found.add("I4 interrupted, and no death explains it", (
        f"{one.name}: claim {one.row['claim']}" for one in interrupted if not is_explained(one, windows)
    ))  # fmt: skip


def surplus(one: Ended) -> Iterable[str]:
    """Yield the steps with more calls than claims: one engine holds a claim, and calls once for each claim and try.

    Each earlier attempt has needed a claim of its own, and so have the steps before each Wait.
    """
    spare = one.row["attempt"] - 1 + sum(step["connector"] == "wait" for step in one.plan.steps)
    tries = {(step["attempt"], step["key"]): step["tries"] for step in one.steps}
    for key, calls in Counter(one.keys).items():
        allowed = one.row["claim"] - spare + tries.get((attempt_of(key), step_of(key)), 1) - 1
        if calls > allowed:
            yield f"{one.name}: {key} came {calls} times, {allowed} allowed"


def is_explained(one: Ended, windows: Sequence[Window]) -> bool:
    """Return whether a fault took the first engine away, so that a second one found its unfinished step."""
    return one.row["claim"] > 1 and any(
        window.fault.hits_engines and one.lived_within(window.start, window.over) for window in windows
    )


def keys_of(one: Ended) -> set[str]:
    """Return the Idempotency-Keys that the execution's calls may carry: one for each step and attempt."""
    attempts = range(1, one.row["attempt"] + 1)
    return {f"{one.id}-{attempt}-{step}-0" for attempt in attempts for step in one.plan.calls}


def owner_of(key: str) -> str:
    """Return the execution that a call's Idempotency-Key names."""
    return plain(key.rsplit("-", 3)[0])


def attempt_of(key: str) -> int:
    return int(key.rsplit("-", 3)[1])


def step_of(key: str) -> str:
    return key.rsplit("-", 2)[1]
