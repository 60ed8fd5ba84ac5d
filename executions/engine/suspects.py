"""Who is to blame for an engine's death, and what follows (ARCHITECTURE.md, "Deaths").

An engine runs hundreds at once, so its death alone accuses nobody. Evidence does: the execution whose code held the
loop becomes a suspect, which runs alone from then on until its next durable step. Without evidence all become suspects
at the second death that they have in common. A death counts when the execution was alone, or when a suspect is named
again; the third one rejects it, and so does a suspect's stall.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from executions.engine.black_box import Evidence
from executions.store.rows import SUSPECT, HeldExecution

DEATH_LIMIT = 3


@dataclass(frozen=True, slots=True)
class Verdict:
    """`accused` becomes a suspect; `counts` says whether the death counts against it, `is_over` that it is rejected."""

    accused: uuid.UUID | None
    counts: bool = False
    is_over: bool = False
    code: str = ""


def judge(held: Sequence[HeldExecution], evidence: Evidence) -> Verdict:
    named = next((one for one in held if one.id == evidence.execution_id), None)
    accused = held[0] if len(held) == 1 else named
    if accused is None:
        return Verdict(None)
    counts = len(held) == 1 or accused.suspicion >= SUSPECT
    if counts and named and evidence.has_stalled and accused.suspicion >= SUSPECT:
        return Verdict(accused.id, counts, is_over=True, code="stalled")
    is_over = counts and accused.deaths + 1 >= DEATH_LIMIT
    return Verdict(accused.id, counts, is_over, "worker_died" if is_over else "")
