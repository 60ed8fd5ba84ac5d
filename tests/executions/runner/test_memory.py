"""An execution's memory is free at its end, without the garbage collector, which an engine lets run rarely."""

from __future__ import annotations

import asyncio
import gc
import weakref

from automations.definition import Definition
from connectors.outbound.addresses import parse_allow
from connectors.outbound.client import Outbound
from executions.engine.engine import Engine
from executions.ports.mail import DjangoMail
from executions.runner.context import Variables
from executions.runner.runner import Runner
from executions.states import Lane, Status
from executions.store.rows import Claimed
from harness.automations import TRANSFORM
from projects.ids import new_id
from tests.support.acting import COMPUTE


def claimed() -> Claimed:
    one = new_id()
    return Claimed(
        id=one, organization_id=one, project_id=one, automation_id=one, version_id=one, lane=Lane.DIRECT, attempt=1,
        claim=1, deaths=0, suspicion=0, time_limit_s=60, ran_ms=0, is_counted=False,
        payload='{"body": {"name": "ada"}}',
    )  # fmt: skip


async def walk() -> tuple[Status, list[weakref.ref[object]]]:
    async def enter(key: str) -> None:
        assert key == TRANSFORM["key"]

    definition = Definition.model_validate({"steps": [TRANSFORM]})
    outbound = Outbound(parse_allow(""))
    runner = Runner(
        claimed(), definition, variables=Variables(), journal=Engine(), http=outbound,
        mail=DjangoMail().of(new_id()), compute=COMPUTE, holding=outbound.memory.of("A"),
        enter=enter,
    )  # fmt: skip
    move = await runner.run()
    await outbound.close()
    return move.target, [weakref.ref(runner), weakref.ref(runner.log)]


def test_a_walk_leaves_no_cycles() -> None:
    gc.collect()
    gc.disable()
    try:
        target, left = asyncio.run(walk())

        assert target is Status.SUCCESS
        assert [one() for one in left] == [None, None]
    finally:
        gc.enable()
