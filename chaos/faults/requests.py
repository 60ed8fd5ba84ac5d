"""Faults that come as requests: repeated deliveries, presses of Retry, and a step that kills."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from chaos.faults.kinds import Fault
from executions.states import ATTEMPT_LIMIT, Status

if TYPE_CHECKING:
    from chaos.nemesis import Nemesis

LONGEST_POISON_S = 40.0  # seconds from the request to its third death


def deliver_fifty_times(nemesis: Nemesis) -> None:
    nemesis.driver.post("chain", key=nemesis.new_key("fifty"), times=50)


def poison(nemesis: Nemesis) -> None:
    """Start an execution whose step kills its worker at each try."""
    nemesis.driver.post("poison", key=nemesis.new_key("poison"))


def press_retry(nemesis: Nemesis) -> None:
    """Let five users press Retry Execution of one failed execution at once, in one round more than its retries."""
    post = nemesis.driver.post("fail", key=nemesis.new_key("retry"))
    execution_id = post.replies[-1].execution_id
    scene = nemesis.scene
    tokens = scene.tokens
    for _ in range(ATTEMPT_LIMIT):
        scene.made.wait(uuid.UUID(execution_id), Status.FAILED, within=90)
        with ThreadPoolExecutor(len(tokens)) as pool:
            pressed = pool.map(lambda token: scene.press_retry(execution_id, token), tokens)
        nemesis.pressed.setdefault(execution_id, []).append(list(pressed))


FAULTS = {
    "50 deliveries of one id": Fault(strike=deliver_fifty_times),
    "a step kills its worker": Fault(strike=poison, hits_engines=True, is_everywhere=True, lasts_s=LONGEST_POISON_S),
    "Retry pressed by five": Fault(strike=press_retry),
}
