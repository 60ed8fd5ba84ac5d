"""A crowd at the door: callers who wait for replies, senders who say nothing, and a few visitors whose times count.

Run as `python -m bench.crowd FILE` with a job as JSON on standard input; it writes what each met as JSON to the file.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

import uvloop

from harness.wire import Answer, Door, raise_the_files_limit

CALLER = "127.0.0.50"
SILENT = "127.0.0.66"
OPENED_A_SECOND = 1000  # connections
PATIENCE_S = 60.0  # of a caller
VISITS = {"health": 10.0, "accept": 20.0, "page": 1.0}  # a second


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    port: int
    waiting: list[list[str]]  # path and secret of each trigger with a Response step
    callers: int  # of each
    silent: int
    open: list[str]  # path and secret of another organization's trigger
    page: str
    user: str


@dataclass(slots=True)
class Met:
    """What each group met: the callers' statuses and times, and the visitors' while all others were there."""

    replies: dict[str, int] = field(default_factory=dict)
    reply_s: list[float] = field(default_factory=list)
    visits_ms: dict[str, list[float]] = field(default_factory=dict)
    failed: dict[str, int] = field(default_factory=dict)  # visits answered otherwise than they should be


def gather(job: Job) -> Met:
    with tempfile.NamedTemporaryFile() as result:
        command = [sys.executable, "-m", "bench.crowd", result.name]
        done = subprocess.run(command, input=json.dumps(asdict(job)), stderr=subprocess.PIPE, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"the crowd failed: {done.stderr[-2000:]}")
        return Met(**json.load(result))


class Crowd:
    def __init__(self, job: Job) -> None:
        self.job = job
        self.met = Met(visits_ms={name: [] for name in VISITS}, failed=dict.fromkeys(VISITS, 0))
        self.is_over = asyncio.Event()

    async def run(self) -> Met:
        door = Door(self.job.port)
        cookies = (await door.sign_in(self.job.user, self.job.user)).cookies
        silent = [asyncio.create_task(self.say_nothing()) for _ in range(self.job.silent)]
        callers = [
            asyncio.create_task(self.call(path, secret, number / OPENED_A_SECOND))
            for number, (path, secret) in enumerate(self.job.waiting * self.job.callers)
        ]
        visits = await self.visiting(door, cookies)
        await asyncio.wait(callers)
        self.is_over.set()
        await asyncio.gather(*visits)
        for task in silent:
            task.cancel()
        return self.met

    async def call(self, path: str, secret: str, after_s: float) -> None:
        await asyncio.sleep(after_s)
        started = time.perf_counter()
        answer = await Door(self.job.port, CALLER).post(path, b"{}", within=PATIENCE_S, ah_http_key=secret)
        self.met.reply_s.append(time.perf_counter() - started)
        self.met.replies[str(answer.status)] = self.met.replies.get(str(answer.status), 0) + 1

    async def say_nothing(self) -> None:
        """Send a head and one byte of a body; come again when the server hangs up."""
        door = Door(self.job.port, SILENT)
        path, secret = self.job.open
        request = door.request("POST", path, {"ah-http-key": secret, "Content-Length": "1000"}) + b"{"
        while True:
            with suppress(OSError):
                reader, writer = await door.connect()
                try:
                    writer.write(request)
                    await reader.read(-1)
                finally:
                    writer.transport.abort()
            await asyncio.sleep(1.0)

    async def visiting(self, door: Door, cookies: str) -> list[asyncio.Task[None]]:
        path, secret = self.job.open
        visits: dict[str, Callable[[], Awaitable[Answer]]] = {
            "health": lambda: door.get("/healthz"),
            "accept": lambda: door.post(path, b'{"id": 1}', ah_http_key=secret),
            "page": lambda: door.get(self.job.page, cookies=cookies),
        }
        return [asyncio.create_task(self.visit(name, visit)) for name, visit in visits.items()]

    async def visit(self, name: str, ask: Callable[[], Awaitable[Answer]]) -> None:
        """Ask by the clock, however late the answers come."""
        start, under_way = time.monotonic(), []
        for turn in itertools.count(1):
            under_way.append(asyncio.create_task(self.timed(name, ask)))
            with suppress(TimeoutError):
                await asyncio.wait_for(self.is_over.wait(), max(0.0, start + turn / VISITS[name] - time.monotonic()))
                break
        await asyncio.wait(under_way)

    async def timed(self, name: str, ask: Callable[[], Awaitable[Answer]]) -> None:
        started = time.perf_counter()
        answer = await ask()
        self.met.visits_ms[name].append(1000 * (time.perf_counter() - started))
        self.met.failed[name] += answer.status not in (200, 202)


if __name__ == "__main__":
    raise_the_files_limit()
    met = uvloop.run(Crowd(Job(**json.load(sys.stdin))).run())
    Path(sys.argv[1]).write_text(json.dumps(asdict(met)))
