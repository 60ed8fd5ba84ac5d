"""The load generator, a process of its own: raw keep-alive connections, one request in flight on each.

Run as `python -m bench.load FILE` with a job as JSON on standard input; it writes the outcome as JSON to the file.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from array import array
from collections import Counter, deque
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import urlsplit

import uvloop

NUMBER = b"00000000"  # eight digits of the body, different in each request


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """The requests to send: for some seconds or some number, as fast as answers come or at a rate."""

    url: str
    secret: str
    body: str
    connections: int
    seconds: float = 0.0
    requests: int = 0
    rate: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    first_sent_at: float  # seconds since 1970
    seconds: float  # first request sent to last answer
    statuses: dict[str, int]
    unknown: int  # requests whose connection ended without an answer
    latencies_ms: list[float]
    ids: list[str]  # of the executions that were accepted with 202
    cpu_s: float


def send(job: Job) -> Seen:
    with tempfile.NamedTemporaryFile() as result:
        command = [sys.executable, "-m", "bench.load", result.name]
        done = subprocess.run(command, input=json.dumps(asdict(job)), stderr=subprocess.PIPE, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"the load generator failed: {done.stderr[-2000:]}")
        return Seen(**json.load(result))


class Connection(asyncio.Protocol):
    def __init__(self, load: Load) -> None:
        self.load = load
        self.buffer = b""
        self.sent_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.load.is_free(self)

    def send(self, request: bytes) -> None:
        self.sent_at = time.perf_counter()
        self.transport.write(request)  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        end = self.buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        head = self.buffer[:end].lower()
        start = head.index(b"content-length: ") + 16
        length = int(head[start:].split(b"\r\n", 1)[0])
        if len(self.buffer) < end + 4 + length:
            return
        body, self.buffer = self.buffer[end + 4 :], b""
        latency, self.sent_at = time.perf_counter() - self.sent_at, 0.0
        self.load.answered(int(head[9:12]), body, latency)
        self.load.is_free(self)
        self.load.note_end()

    def connection_lost(self, error: Exception | None) -> None:
        self.load.lost(is_waiting=self.sent_at > 0)


class Load:
    def __init__(self, job: Job) -> None:
        self.job = job
        self.head, self.tail = _request(job)
        self.number = 0
        self.free: deque[Connection] = deque()
        self.is_open = False
        self.owed = 0  # requests whose time has come while no connection was free (only with a rate)
        self.in_flight = 0
        self.last_answer_at = 0.0
        self.statuses: Counter[str] = Counter()
        self.unknown = 0
        self.latencies = array("d")
        self.ids: list[str] = []

    async def run(self) -> Seen:
        loop = asyncio.get_running_loop()
        self.all_answered = asyncio.Event()
        target = urlsplit(self.job.url)
        for _ in range(self.job.connections):
            await loop.create_connection(lambda: Connection(self), str(target.hostname), target.port or 80)
        self.is_open = True
        started_at, started, cpu = time.time(), time.perf_counter(), time.process_time()
        self.stop_at = started + (self.job.seconds or 3600)
        await (self._at_rate(started) if self.job.rate else self._as_fast_as_answered())
        return Seen(
            first_sent_at=started_at,
            seconds=self.last_answer_at - started,
            statuses=dict(self.statuses),
            unknown=self.unknown,
            latencies_ms=[round(latency * 1000, 3) for latency in self.latencies],
            ids=self.ids,
            cpu_s=time.process_time() - cpu,
        )

    async def _as_fast_as_answered(self) -> None:
        for connection in list(self.free):
            self.free.remove(connection)
            self.is_free(connection)
        await self._answers()

    async def _at_rate(self, started: float) -> None:
        for number in range(round(self.job.rate * self.job.seconds)):
            await asyncio.sleep(max(0.0, started + number / self.job.rate - time.perf_counter()))
            if self.free:
                self._send(self.free.popleft())
            else:
                self.owed += 1
        await self._answers()

    async def _answers(self) -> None:
        if self.in_flight:
            self.all_answered.clear()
            await asyncio.wait_for(self.all_answered.wait(), self.job.seconds + 120)

    def is_free(self, connection: Connection) -> None:
        if not self.is_open:
            self.free.append(connection)
        elif self.job.rate:
            if self.owed:
                self.owed -= 1
                self._send(connection)
            else:
                self.free.append(connection)
        elif time.perf_counter() < self.stop_at and not (self.job.requests and self.number >= self.job.requests):
            self._send(connection)

    def _send(self, connection: Connection) -> None:
        self.number += 1
        self.in_flight += 1
        connection.send(self.head + b"%08d" % self.number + self.tail)

    def answered(self, status: int, body: bytes, latency: float) -> None:
        self.last_answer_at = time.perf_counter()
        self.statuses[str(status)] += 1
        self.latencies.append(latency)
        if status == 202:
            start = body.index(b'"execution_id":"') + 16
            self.ids.append(body[start : start + 36].decode())
        self.in_flight -= 1

    def lost(self, *, is_waiting: bool) -> None:
        if is_waiting:
            self.unknown += 1
            self.last_answer_at = time.perf_counter()
            self.in_flight -= 1
            self.note_end()

    def note_end(self) -> None:
        """Note the end: every free connection could have sent, and none is in flight, so that all are answered."""
        if not self.in_flight:
            self.all_answered.set()


def _request(job: Job) -> tuple[bytes, bytes]:
    """Return the parts of a request before and after its number."""
    target = urlsplit(job.url)
    body = job.body.encode()
    lines = [
        f"POST {target.path} HTTP/1.1", f"Host: {target.netloc}", "Content-Type: application/json",
        f"ah-http-key: {job.secret}", f"Content-Length: {len(body)}", "", "",
    ]  # fmt: skip
    head, number, tail = ("\r\n".join(lines).encode() + body).partition(NUMBER)
    assert number, "the body has no place for a number"
    return head, tail


if __name__ == "__main__":
    seen = uvloop.run(Load(Job(**json.load(sys.stdin))).run())
    Path(sys.argv[1]).write_text(json.dumps(asdict(seen)))
