"""The well-behaved traffic beside the attacks, at steady rates: `python -m chaos.neighbour FILE`.

It reads a job as JSON from standard input, and writes a line for each request to the file. It sends by the clock,
however late the answers come; SIGTERM ends it once all that is under way has been answered.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import signal
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from chaos import plan
from harness.wire import Answer, Door

RATES = {
    "transform": 5.0, "respond": 2.0, "once": 1.0, "mail": 1.0,
    "health": 2.0, "log page": 0.5, "sign-in": 0.1,
}  # fmt: skip  # a second
FIRST_NUMBER = 10_000_000  # above those of the driver
FIRST_SIGN_IN_S = 30.0
DEVICE = "agentos_device_"  # the cookie's name without the port


@dataclass(frozen=True, slots=True)
class Job:
    port: int
    triggers: dict[str, str]
    echo_url: str
    user: str  # whose name is the password too
    log: str  # the address of the Execution Log


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One request and its answer; `number` is 0 for a page."""

    stream: str
    number: int
    at: float
    took: float
    status: int
    execution_id: str
    retry_after: str

    @property
    def end(self) -> float:
        return self.at + self.took


class Neighbour:
    def __init__(self, job: Job, file: Path) -> None:
        self.job = job
        self.door = Door(job.port)
        self.file = file.open("a", buffering=1)
        self.numbers = itertools.count(FIRST_NUMBER)
        self.cookies = ""
        self.browser = ""  # the cookie by which the product knows it again, in a browser that has signed out
        self.is_over = asyncio.Event()
        self.under_way: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        await self.sign_in()
        await asyncio.gather(*(self.send(stream, rate) for stream, rate in RATES.items()))
        while self.under_way:
            await asyncio.wait(self.under_way)

    async def send(self, stream: str, rate: float) -> None:
        start = time.monotonic()
        for turn in itertools.count(1):
            task = asyncio.create_task(self.one(stream))
            self.under_way.add(task)
            task.add_done_callback(self.under_way.discard)
            try:
                await asyncio.wait_for(self.is_over.wait(), max(0.0, start + turn / rate - time.monotonic()))
                return
            except TimeoutError:
                pass

    async def one(self, stream: str) -> None:
        number = next(self.numbers) if stream in self.job.triggers else 0
        at, start = time.time(), time.monotonic()
        answer = await (self.post(stream, number) if number else self.visit(stream))
        sample = Sample(
            stream=stream, number=number, at=at, took=time.monotonic() - start, status=answer.status,
            execution_id=answer.header("x-execution-id") or _execution_id(answer.body),
            retry_after=answer.header("retry-after"),
        )  # fmt: skip
        self.file.write(json.dumps(asdict(sample)) + "\n")

    async def post(self, kind: str, number: int) -> Answer:
        body = json.dumps(plan.body_of(number, kind, self.job.echo_url)).encode()
        return await self.door.post(f"/automations-api/run/{self.job.triggers[kind]}", body)

    async def visit(self, stream: str) -> Answer:
        if stream == "health":
            return await self.door.get("/healthz")
        if stream == "log page":
            return await self.door.get(self.job.log, cookies=self.cookies)
        return await self.sign_in()

    async def sign_in(self) -> Answer:
        answer = await self.door.sign_in(
            self.job.user, self.job.user, within=FIRST_SIGN_IN_S, cookies=self.browser
        )  # fmt: skip
        if answer.status == 302:
            self.cookies = answer.cookies
            self.browser = next(one for one in self.cookies.split("; ") if one.startswith(DEVICE))
        return answer


def _execution_id(body: bytes) -> str:
    try:
        return str(json.loads(body).get("execution_id", ""))
    except (ValueError, AttributeError):
        return ""


async def main(job: Job, file: Path) -> None:
    neighbour = Neighbour(job, file)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, neighbour.is_over.set)
    await neighbour.run()


if __name__ == "__main__":
    asyncio.run(main(Job(**json.load(sys.stdin)), Path(sys.argv[1])))
