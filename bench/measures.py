"""The measures: each is one run on a live installation and yields figures; the session repeats it."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import orjson

from bench import neighbours, rows, seed, usage
from bench.installation import Measured
from bench.load import NUMBER, Job, Seen, send
from bench.seed import Target
from bench.tabs import LIVE_S, open_tabs
from bench.usage import Memory
from harness.processes import Process

CONNECTIONS = (1, 10, 50, 200)
STUB_MS = 200
TABS = 100  # open tabs of the log
HELD_MS = 2500  # milliseconds for which the stub holds each call while memory is read

FAULTS = ("lost", "stuck", "not Success", "refused", "unanswered")


@dataclass(frozen=True, slots=True)
class Sizes:
    """The durations and numbers of the measures; --quick takes small ones."""

    runs: int = 3
    seconds: float = 5.0
    backlog: int = 20_000
    calls: int = 1000
    rate_seconds: float = 15.0
    idle_seconds: float = 5.0
    rest_seconds: float = 35.0  # of rest, within which housekeeping has run
    slow_calls: int = 10_000
    neighbour_backlog: int = 100_000
    backlog_seconds: float = 8.0  # less than the backlog takes
    callers: int = 1000  # of each of five organizations
    silent: int = 1000
    service_idle_seconds: float = 30.0


QUICK = Sizes(
    runs=1, seconds=1.0, backlog=2000, calls=1000, rate_seconds=2.5, idle_seconds=2.0, rest_seconds=2.0,
    slow_calls=500, neighbour_backlog=5000, backlog_seconds=1.0, callers=20, silent=50, service_idle_seconds=2.0,
)  # fmt: skip


@dataclass
class Session:
    """An installation with its automations, and the figures so far: name → one value a run."""

    installation: Measured
    targets: dict[str, Target]
    sizes: Sizes
    figures: dict[str, list[float]] = field(default_factory=dict)
    totals: dict[str, int] = field(default_factory=lambda: dict.fromkeys(("accepted", *FAULTS), 0))

    def note(self, name: str, value: float) -> None:
        self.figures.setdefault(name, []).append(value)

    def job(self, automation: str, connections: int, body: object = None, **amount: float) -> Job:
        target = self.targets[automation]
        text = orjson.dumps(body or ORDER).decode().replace('"NUMBER"', f"1{NUMBER.decode()}")
        return Job(url=target.url, secret=target.secret, body=text, connections=connections, **amount)  # type: ignore[arg-type]

    def check(self, seen: Seen, limit_s: float = 60) -> rows.Tally:
        """Wait for the end of all accepted executions, and add missing and stuck ones to the totals."""
        rows.wait_until_final(seen.first_sent_at, limit_s)
        tally = rows.tally(seen.first_sent_at, seen.ids)
        self.note_fate(seen, missing=tally.missing)
        self.totals["stuck"] += tally.stuck
        self.totals["not Success"] += tally.not_success
        return tally

    def note_fate(self, seen: Seen, *, missing: int) -> None:
        """Add what became of the posts to the totals; `missing` were accepted and are not there."""
        self.totals["accepted"] += seen.statuses.get("202", 0) + seen.statuses.get("200", 0)
        self.totals["lost"] += missing
        self.totals["refused"] += sum(count for status, count in seen.statuses.items() if status not in ("200", "202"))
        self.totals["unanswered"] += seen.unknown

    def cpu_s(self) -> dict[str, float]:
        return self.installation.cpu_s()


ORDER = {
    "id": "NUMBER",
    "type": "order",
    "customer": {"name": "Ada Lovelace", "email": "ada@example.com", "city": "London"},
    "total": 100,
    "lines": [{"sku": f"SKU-{number}", "title": "A thing that was ordered", "quantity": 1} for number in range(8)],
}


def warm_up(session: Session) -> None:
    """Send first requests, so that every process has imported and cached all that later ones need."""
    session.check(send(session.job("transform", 10, seconds=1)))
    session.check(send(session.job("respond", 2, seconds=0.3)))


def transform(session: Session) -> None:
    """Measure requests accepted and executed a second, sent as fast as answers come."""
    for connections in CONNECTIONS:
        before = session.cpu_s()
        seen = send(session.job("transform", connections, seconds=session.sizes.seconds))
        tally = session.check(seen)
        used = session.cpu_s()
        count = max(1, tally.rows)
        label = f"transform c={connections}"
        session.note(f"{label}: accepted/s", seen.statuses.get("202", 0) / seen.seconds)
        session.note(f"{label}: completed/s", tally.rows / max(0.001, tally.last_finished_at - seen.first_sent_at))
        session.note(f"{label}: accept p50 ms", percentile(seen.latencies_ms, 50))
        session.note(f"{label}: accept p99 ms", percentile(seen.latencies_ms, 99))
        parts = {name: (used[name] - before[name]) * 1000 / count for name in used}
        for name, value in {"all": sum(parts.values()), **parts, "(load generator)": seen.cpu_s * 1000 / count}.items():
            session.note(f"{label}: CPU ms each, {name}", value)


def first_step(session: Session) -> None:
    """Measure the time from acceptance to the first step's start, at a rate that leaves the machine mostly idle."""
    seen = send(session.job("transform", 20, rate=40, seconds=session.sizes.rate_seconds))
    session.check(seen)
    waits = rows.first_step_ms(seen.first_sent_at)
    session.note("first step at 40/s: p50 ms", percentile(waits, 50))
    session.note("first step at 40/s: p99 ms", percentile(waits, 99))


def respond(session: Session) -> None:
    """Measure the round trip of a caller who waits for a Response step."""
    for connections in (1, 10):
        seen = send(session.job("respond", connections, seconds=session.sizes.seconds))
        session.check(seen)
        session.note(f"respond c={connections}: p50 ms", percentile(seen.latencies_ms, 50))
        session.note(f"respond c={connections}: p99 ms", percentile(seen.latencies_ms, 99))


def call_api(session: Session) -> None:
    """Measure many slow calls at once, from the first POST to the last end."""
    count = session.sizes.calls
    body = {"id": "NUMBER", "url": session.installation.stub_url(STUB_MS)}
    seen = send(session.job("call-api", 50, body, requests=count))
    tally = session.check(seen)
    session.note(f"{count} x call-api at {STUB_MS} ms: s", tally.last_finished_at - seen.first_sent_at)


def idle(session: Session) -> None:
    """Measure the CPU of an installation that nobody uses: polling, beats and timers of all processes."""
    before, started = session.cpu_s(), time.monotonic()
    time.sleep(session.sizes.idle_seconds)
    used, elapsed = session.cpu_s(), time.monotonic() - started
    for name in used:
        session.note(f"idle: CPU % of a core, {name}", (used[name] - before[name]) / elapsed * 100)


def memory(session: Session) -> None:
    """Measure the memory of web server and cluster as one service: idle, with a thousand calls in flight, and after."""
    with session.installation.as_service() as service:
        warm_up(session)
        _note_memory(session, "idle", usage.memory(service.pid))
        _fill(session, service)
        time.sleep(session.sizes.rest_seconds)
        _note_memory(session, "idle after it", usage.memory(service.pid))


def _fill(session: Session, service: Process) -> None:
    body = {"id": "NUMBER", "url": session.installation.stub_url(HELD_MS)}
    with _watching(lambda: (rows.running(), usage.memory(service.pid))) as samples:
        seen = send(session.job("call-api", 50, body, requests=session.sizes.calls))
        session.check(seen)
    most, _ = max(samples, key=lambda sample: sample[0])
    _note_memory(session, "in flight", max((memory for _, memory in samples), key=lambda memory: memory.pss_mb))
    session.note("memory: running at once", most)


def tabs(session: Session) -> None:
    """Measure accepting beside open tabs of the log against accepting without any, in turns."""
    pages = [seed.log_path() + filters for filters in ("", "", "?status=failed", "?status=running", "?range=24h")]
    cookies = seed.visitors(10)
    alone = [_accepted_a_second(session)]
    with open_tabs(session.installation.url, [(pages[n % 5], cookies[n // 10]) for n in range(TABS)]) as polls:
        time.sleep(2 * LIVE_S)
        before, started = session.cpu_s(), time.monotonic()
        time.sleep(session.sizes.idle_seconds)
        used = (session.cpu_s()["web"] - before["web"]) / (time.monotonic() - started)
        beside = _accepted_a_second(session)
    alone.append(_accepted_a_second(session))
    session.note(f"{TABS} tabs: CPU % of a core, web, nothing new", used * 100)
    session.note("no tab: accepted/s at c=50", statistics.mean(alone))
    session.note(f"{TABS} tabs: accepted/s at c=50", beside)
    session.note(f"{TABS} tabs: part of accepted/s", beside / statistics.mean(alone))
    session.note(f"{TABS} tabs: poll p50 ms", percentile(polls["latencies_ms"], 50))
    session.note(f"{TABS} tabs: poll p99 ms", percentile(polls["latencies_ms"], 99))
    for status, count in sorted(polls["statuses"].items()):
        session.note(f"{TABS} tabs: polls answered {status}", count)


def _accepted_a_second(session: Session) -> float:
    seen = send(session.job("transform", 50, seconds=session.sizes.seconds))
    session.check(seen)
    return seen.statuses.get("202", 0) / seen.seconds


def drain(session: Session) -> None:
    """Measure the engine alone, on a backlog that was accepted while no cluster ran."""
    installation, count = session.installation, session.sizes.backlog
    assert installation.cluster is not None
    installation.cluster.end()
    seen = send(session.job("transform", 50, requests=count))
    session.note("web alone c=50: accepted/s", seen.statuses.get("202", 0) / seen.seconds)
    cluster = installation.start_cluster()
    before = usage.cpu_s(cluster.pid)
    tally = session.check(seen, limit_s=30 + count / 100)
    used = usage.cpu_s(cluster.pid) - before
    rate = tally.rows / max(0.001, tally.last_finished_at - tally.first_started_at)
    session.note(f"backlog of {count}: completed/s", rate)
    session.note(f"backlog of {count}: CPU ms each, cluster", used * 1000 / max(1, tally.rows))


MEASURES: dict[str, Callable[[Session], None]] = {
    "idle": idle,
    "memory": memory,
    "transform": transform,
    "first-step": first_step,
    "respond": respond,
    "call-api": call_api,
    "tabs": tabs,
    "drain": drain,
    **neighbours.MEASURES,
}


def percentile(values: Sequence[float], percent: int) -> float:
    return neighbours.percentile(list(values), percent)


def _note_memory(session: Session, when: str, memory: Memory) -> None:
    session.note(f"memory {when}: PSS MB", memory.pss_mb)
    session.note(f"memory {when}: RSS MB", memory.rss_mb)


@contextmanager
def _watching[T](read: Callable[[], T]) -> Iterator[list[T]]:
    """Sample in a thread while the block runs."""
    samples = [read()]
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(0.3):
            samples.append(read())

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield samples
    finally:
        ended.set()
        thread.join()
