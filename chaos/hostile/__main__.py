"""The attackers' process: `python -m chaos.hostile FILE` attacks until SIGTERM, some attacks at once, in turns.

It reads a job as JSON from standard input, and writes a line for each turn of an attack to the file.
"""

from __future__ import annotations

import asyncio
import json
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import uvloop

from chaos.hostile.arsenal import ATTACKS
from chaos.hostile.attack import Attack, Field, Made
from chaos.hostile.remote import Remote
from harness.wire import raise_the_files_limit

ROUNDS = 1000  # of one turn at most


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """The time for which an attack was on; `error` is the first one of its own, which should be none."""

    attack: str
    start: float
    end: float
    rounds: int
    answers: dict[int, int]  # by status, 0 for none
    error: str = ""


class Attackers:
    def __init__(self, field: Field, job: dict[str, Any], file: Path) -> None:
        self.field = field
        self.names: list[str] = job["attacks"]
        self.random = random.Random(job["seed"])
        self.turn_s: float = job["turn_s"]
        self.at_once: int = job["at_once"]
        self.file = file.open("a", buffering=1)
        self.is_over = asyncio.Event()

    async def run(self) -> None:
        deck = self._shuffled()
        await asyncio.gather(*(self.take_turns(deck) for _ in range(min(self.at_once, len(self.names)))))

    def _shuffled(self) -> Iterator[str]:
        """Yield each attack once before any comes again."""
        while True:
            yield from self.random.sample(self.names, len(self.names))

    async def take_turns(self, deck: Iterator[str]) -> None:
        while not self.is_over.is_set():
            turn = await self.attack(ATTACKS[next(deck)])
            self.file.write(json.dumps(asdict(turn)) + "\n")

    async def attack(self, attack: Attack) -> Turn:
        """Strike until the turn is over; what is under way then is left, with its connections."""
        start, rounds, error = time.time(), 0, ""
        field, turn_s = replace(self.field, statuses=Counter()), max(self.turn_s, attack.least_s)
        over = asyncio.create_task(self.is_over.wait())
        while not self.is_over.is_set() and time.time() < start + turn_s and rounds < ROUNDS:
            left = max(0.1, start + turn_s - time.time())
            striking = asyncio.ensure_future(attack.strike(field))
            await asyncio.wait([striking, over], timeout=left, return_when=asyncio.FIRST_COMPLETED)
            rounds += 1
            if not striking.done():
                striking.cancel()
            result = (await asyncio.gather(striking, return_exceptions=True))[0]
            if isinstance(result, Exception):
                error = error or f"{type(result).__name__}: {result}"
            await asyncio.wait([over], timeout=attack.pause_s)
        over.cancel()
        return Turn(
            attack=attack.name, start=start, end=time.time(), rounds=rounds, answers=dict(field.statuses), error=error
        )  # fmt: skip


async def main(job: dict[str, Any], file: Path) -> None:
    field = job["field"]
    made = {name: Made(**one) for name, one in field.pop("made").items()}
    stolen = tuple(field.pop("stolen"))
    async with Remote(job["remote_port"], field["needle"]) as remote:
        field = Field(
            **field, made=made, stolen=stolen, hole=remote.hole, loot=remote.loot
        )  # fmt: skip
        attackers = Attackers(field, job, file)
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, attackers.is_over.set)
        await attackers.run()
    with file.open("a") as out:
        out.writelines(json.dumps({"loot": where}) + "\n" for where in remote.loot)
        out.write(json.dumps({"cpu_s": time.process_time()}) + "\n")


if __name__ == "__main__":
    raise_the_files_limit()
    uvloop.run(main(json.load(sys.stdin), Path(sys.argv[1])))
