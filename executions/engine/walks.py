"""Runs each execution of an engine through its steps, and makes an end of whatever stops it on the way."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from automations.definition import Definition, Unreadable
from executions.engine.endings import failed, move_of_unreadable
from executions.engine.loop_share import LoopTurn
from executions.engine.outside import Outside, Ports
from executions.engine.work import Work
from executions.runner.context import Fenced, Journal, Stalled
from executions.runner.runner import Runner
from executions.store.rows import Claimed, Move

logger = logging.getLogger(__name__)


class Walks:
    """The walks of one engine's executions, in its loop's thread."""

    def __init__(
        self, outside: Outside, journal: Journal, call_in_loop: Callable[..., None], *, is_stopping: Callable[[], bool]
    ) -> None:
        self.outside = outside
        self.journal = journal
        self.call_in_loop = call_in_loop  # calls a function in the loop's thread, from any thread
        self.is_stopping = is_stopping  # returns whether the engine stops
        self.loop = asyncio.get_running_loop()

    async def walk(self, work: Work, turn: LoopTurn) -> Move | None:
        """Run one execution and return its move out of Running.

        None means that there is no move: the execution is no longer this engine's, or the engine stops. The memory
        that it holds is given back once the move is stored, and with it the last records.
        """
        try:
            return await self._walk_holding(work, turn)
        except Exception:
            return self._crashed(work.execution)

    async def _walk_holding(self, work: Work, turn: LoopTurn) -> Move | None:
        if isinstance(work.definition, Unreadable):
            return move_of_unreadable(work)
        ports, move = self.outside.ports_of(work.execution.organization_id), None
        holding = ports["holding"]
        try:
            move = await self._walk(work, work.definition, turn, ports)
            return move
        finally:
            if move is None:
                holding.give_back()
            elif holding.size:
                move.when_stored = lambda: self.call_in_loop(holding.give_back)

    async def _walk(self, work: Work, definition: Definition, turn: LoopTurn, ports: Ports) -> Move | None:
        runner = Runner(
            work.execution,
            definition,
            variables=work.variables,
            journal=self.journal,
            enter=turn.enter,
            **ports,
        )
        turn.if_stalled = runner.stalled
        code, step = work.verdict
        if code:
            return runner.condemn(code, step)
        deadline = self.loop.time() + work.execution.time_limit_s - work.execution.ran_ms / 1000
        try:
            async with asyncio.timeout(None) as limit:
                # Most executions never wait and need no timer: until the first wait the watchdog is their limit.
                turn.before_waiting = lambda: limit.reschedule(deadline)
                return await runner.run()
        except TimeoutError as over:
            return runner.reject(over) if limit.expired() else self._crashed(work.execution)
        except Stalled:
            return runner.stalled()
        except Fenced:
            logger.info("execution %s no longer belongs to this engine", work.execution.id)
            return None
        except asyncio.CancelledError:
            if self.is_stopping():
                return None
            if (task := asyncio.current_task()) and not task.cancelling():  # what it waited for was cancelled, not it
                return self._crashed(work.execution)
            raise
        except Exception:
            return self._crashed(work.execution)

    def _crashed(self, execution: Claimed) -> Move:
        logger.exception("execution %s failed inside the engine", execution.id)
        return failed(
            execution, "internal_error", "An unexpected error stopped the execution. The server's log has the details."
        )
