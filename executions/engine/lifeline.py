"""The tasks that an engine lives by: when one of them ends by an exception, the worker ends, and says why."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Coroutine

logger = logging.getLogger(__name__)


def keep(coroutine: Coroutine[object, object, None]) -> asyncio.Task[None]:
    """Run it as a task; an engine that has silently lost its beat would lose its lease without a word."""
    task = asyncio.get_running_loop().create_task(coroutine)
    task.add_done_callback(_end_with)
    return task


def _end_with(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()):
        logger.critical("a task of the engine failed, so this worker ends", exc_info=error)
        os._exit(1)  # the sentinel starts a new worker, and peers recover the executions of this one
