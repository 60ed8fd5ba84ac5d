"""Judges which execution killed an engine, and with what consequence (docs/engine-deaths.md).

An engine runs hundreds of executions at once, so its death by itself accuses none of them. Evidence does: the
execution whose code held the loop becomes a suspect that runs alone, in the quarantine. Without evidence all executions
of the engine become suspects at the second death that they have in common; they run in smaller companies after each
further one. A death counts against an execution that ran alone, and against a suspect that the black box names again.
The third counted death rejects the execution; so does a stall of a suspect. The first stall does not, because a machine
that was suspended looks like one. No death counts that befell several engines of a machine at once: nobody's code did
that.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from executions.engine.black_box import Evidence
from executions.store.rows import SUSPECT, HeldExecution

DEATH_LIMIT = 3  # counted deaths that reject an execution


@dataclass(frozen=True, slots=True)
class Verdict:
    """The judgement of one engine's death."""

    accused: uuid.UUID | None  # the execution that becomes a suspect; None accuses all of them together
    counts: bool = False  # the death counts against the accused
    rejects: bool = False  # the accused is Rejected
    code: str = ""  # the reason code of the rejection


def judge(held: Sequence[HeldExecution], evidence: Evidence, *, died_alone: bool = True) -> Verdict:
    """Return the verdict on the executions that a dead engine held; `died_alone` says that no other died with it."""
    named = next((one for one in held if one.id == evidence.execution_id), None)
    accused = held[0] if len(held) == 1 and died_alone else named
    if accused is None:
        return Verdict(None)
    counts = died_alone and (len(held) == 1 or accused.suspicion >= SUSPECT)
    if counts and named and evidence.has_stalled and accused.suspicion >= SUSPECT:
        return Verdict(accused.id, counts, rejects=True, code="stalled")
    rejects = counts and accused.deaths + 1 >= DEATH_LIMIT
    return Verdict(accused.id, counts, rejects, "worker_died" if rejects else "")
