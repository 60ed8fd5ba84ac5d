"""Open tabs of the Execution Log, a process of its own: each polls, applies answers and slows down as live.js does.

Run as `python -m bench.tabs FILE` with the tabs as JSON on standard input. It writes the outcome to the file once
standard input ends.
"""

from __future__ import annotations

import asyncio
import html
import json
import random
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import uvloop

LIVE_S, LONGEST_S, QUIET_ROUNDS = 2.0, 30.0, 30
ABSENT_S = ((300, LONGEST_S), (120, 8.0))  # seconds since a hand moved, and the wait then
ROW = re.compile(r'<tr\s+id="execution-([0-9a-f-]{36})"\s+data-rev="(\d+)"')
LIVE_URL = re.compile(r'data-live-url="([^"]*)"')
TOLD = re.compile(r'data-told="([^"]*)"')


@dataclass
class Polls:
    """The polls of all tabs: their number by status, and how long each took."""

    statuses: Counter[str] = field(default_factory=Counter)
    latencies_ms: list[float] = field(default_factory=list)


class Tab:
    def __init__(self, http: aiohttp.ClientSession, page: str, cookie: str, polls: Polls) -> None:
        self.http, self.page, self.polls = http, page, polls
        self.headers = {"Cookie": cookie}
        self.told, self.quiet, self.ask_again_s = "0", 0, 0.0
        self.opened_at = time.monotonic()

    async def open(self) -> None:
        async with self.http.get(self.page, headers=self.headers) as answer:
            text = await answer.text()
            assert answer.status == 200, f"{self.page} answered {answer.status}"
        self.rows = dict(ROW.findall(text))
        self.live_url = html.unescape(LIVE_URL.findall(text)[0])

    async def stay(self) -> None:
        await asyncio.sleep(random.uniform(0, LIVE_S))
        while True:
            self.quiet += 1
            with suppress(aiohttp.ClientError, TimeoutError):
                await self.poll()
            await asyncio.sleep(self.wait_s())

    async def poll(self) -> None:
        rows = ",".join(f"{id}:{rev}" for id, rev in self.rows.items())
        started = time.perf_counter()
        asked = {"rows": rows, "told": self.told}
        async with self.http.get(self.live_url, params=asked, headers=self.headers | {"HX-Request": "true"}) as answer:
            text = await answer.text()
        self.polls.latencies_ms.append((time.perf_counter() - started) * 1000)
        self.polls.statuses[f"{answer.status}{' later' if 'Retry-After' in answer.headers else ''}"] += 1
        self.ask_again_s = float(answer.headers.get("Retry-After", 0))
        if answer.status == 200:
            self.quiet = 0
            self.rows |= {id: rev for id, rev in ROW.findall(text) if id in self.rows}
            self.told = next(iter(TOLD.findall(text)), self.told)

    def wait_s(self) -> float:
        doubled = LIVE_S * 2 ** max(0, -((QUIET_ROUNDS - self.quiet) // 10))
        away = time.monotonic() - self.opened_at
        absent = next((wait for after, wait in ABSENT_S if away > after), 0.0)
        return float(min(LONGEST_S, max(doubled, absent, self.ask_again_s)))


async def main(result: str) -> None:
    given = json.loads(sys.stdin.readline())
    polls = Polls()
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=60)
    async with aiohttp.ClientSession(given["url"], connector=connector) as http:
        tabs = [Tab(http, page, cookie, polls) for page, cookie in given["tabs"]]
        for tab in tabs:
            await tab.open()
        tasks = [asyncio.create_task(tab.stay()) for tab in tabs]
        print("open", flush=True)
        await asyncio.to_thread(sys.stdin.read)
        for task in tasks:
            task.cancel()
    with open(result, "w") as file:
        json.dump({"statuses": polls.statuses, "latencies_ms": polls.latencies_ms, "cpu_s": time.process_time()}, file)


@contextmanager
def open_tabs(url: str, tabs: Sequence[tuple[str, str]]) -> Iterator[dict[str, Any]]:
    """Open tabs, each a page and a cookie, for as long as the block lasts; its value is filled when it ends."""
    outcome: dict[str, Any] = {}
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        command = [sys.executable, "-m", "bench.tabs", file.name]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdin and process.stdout
            process.stdin.write(json.dumps({"url": url, "tabs": tabs}) + "\n")
            process.stdin.flush()
            if process.stdout.readline() != "open\n":
                raise RuntimeError("the tabs could not be opened")
            try:
                yield outcome
            finally:
                process.stdin.close()
                process.wait(30)
        outcome.update(json.load(file))


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1]))
