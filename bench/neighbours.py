"""The measures of fairness: what one organization feels while others use the installation to its limits."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from bench import crowd, rows, usage
from bench.load import Seen, send
from bench.seed import RESPOND, STEPS, TRANSFORM, Target, make_targets
from harness.factory import make_owner
from projects.models import Project

if TYPE_CHECKING:
    from bench.measures import Session

SLOW_MS = 50_000
PATIENCE_S = 30.0  # for B's last executions; one that is open then counts with its time so far
RATE = 20.0  # executions of B a second
WAIT = {"key": "wait", "connector": "wait", "action": "for", "input": {"amount": 15}}
ORGANIZATIONS = 5
BUSY, QUIET = "A", "B"


def targets(session: Session) -> None:
    """Make the organizations once: A, which takes what it gets, B, which is measured, and those whose callers wait."""
    if f"{QUIET} transform" in session.targets:
        return
    answers = {"wait and respond": [WAIT, TRANSFORM | {"input": {"fields": {"ok": True}}}, RESPOND]}
    for name in (BUSY, QUIET):
        session.targets |= make_targets(name, STEPS)
    for number in range(ORGANIZATIONS):
        session.targets |= make_targets(f"C{number}", answers)
    make_owner(Project.objects.get(name=QUIET).organization, "bench")


def neighbour(session: Session) -> None:
    """Measure B's executions from acceptance to their end, while thousands of slow calls of A are open or wait."""
    targets(session)
    count = session.sizes.slow_calls
    body = {"id": "NUMBER", "url": session.installation.stub_url(SLOW_MS)}
    slow = send(session.job(f"{BUSY} call-api", 50, body, requests=count))
    time.sleep(1.0)
    seen = send(session.job(f"{QUIET} transform", 20, rate=RATE, seconds=session.sizes.rate_seconds))
    _note(session, f"neighbour of {count} slow calls", seen)
    with session.installation.without_stub():  # so that A's calls end
        _settle(session, slow, seen, 120)


def backlog_neighbour(session: Session) -> None:
    """Measure B's executions while a backlog of A, accepted while no cluster ran, is worked off."""
    targets(session)
    installation, count = session.installation, session.sizes.neighbour_backlog
    assert installation.cluster is not None
    installation.cluster.end()
    slow = send(session.job(f"{BUSY} transform", 50, requests=count))
    installation.start_cluster()
    seen = send(session.job(f"{QUIET} transform", 20, rate=RATE, seconds=session.sizes.backlog_seconds))
    _note(session, f"neighbour of a backlog of {count}", seen)
    _settle(session, slow, seen, 30 + count / 100)


def _note(session: Session, label: str, seen: Seen) -> None:
    rows.wait_until_ended(seen.ids, PATIENCE_S)
    took = rows.end_ms(seen.ids)
    session.note(f"{label}: p50 ms", statistics.median(took or [float("nan")]))
    session.note(f"{label}: p99 ms", percentile(took, 99))
    session.note(f"{label}: max ms", max(took, default=float("nan")))


def _settle(session: Session, busy: Seen, seen: Seen, limit_s: float) -> None:
    """Wait until everything has ended, and add B's executions to the totals."""
    rows.wait_until_final(busy.first_sent_at, limit_s)
    missing, stuck = rows.fate(seen.ids)
    session.note_fate(seen, missing=missing)
    session.totals["stuck"] += stuck


def waiting_callers(session: Session) -> None:
    """Measure health, accepting and pages while thousands of callers wait and a thousand senders are silent."""
    targets(session)
    with session.installation.as_service() as service, _peak(service.pid) as peaks:
        each, silent = session.sizes.callers, session.sizes.silent
        project = Project.objects.get(name=QUIET)
        job = crowd.Job(
            port=session.installation.port, callers=each, silent=silent, user="bench",
            waiting=[_door(session.targets[f"C{number} wait and respond"]) for number in range(ORGANIZATIONS)],
            open=_door(session.targets[f"{QUIET} transform"]), page=f"/projects/{project.pk}/executions/",
        )  # fmt: skip
        met = crowd.gather(job)
    label = f"{each * ORGANIZATIONS} callers, {silent} silent"
    session.note(f"{label}: replies", met.replies.get("200", 0))
    session.note(f"{label}: reply max s", max(met.reply_s))
    for name, took in met.visits_ms.items():
        session.note(f"{label}: {name} p99 ms", percentile(took, 99))
        session.note(f"{label}: {name} not served", met.failed[name])
    session.note(f"{label}: PSS MB", max(peaks))


def idle_cpu(session: Session) -> None:
    """Measure the CPU of the whole service while nobody uses it."""
    with session.installation.as_service() as service:
        time.sleep(min(5.0, session.sizes.service_idle_seconds))
        before, started = usage.cpu_s(service.pid), time.monotonic()
        time.sleep(session.sizes.service_idle_seconds)
        used, took = usage.cpu_s(service.pid) - before, time.monotonic() - started
    session.note("idle service: CPU % of a core", used / took * 100)


def one_connection(session: Session) -> None:
    """Measure the CPU of an execution, and of a reply's round trip, when each comes alone."""
    for automation in ("transform", "respond"):
        before = session.cpu_s()
        seen = send(session.job(automation, 1, seconds=session.sizes.seconds))
        count = session.check(seen).rows
        used = sum(session.cpu_s().values()) - sum(before.values())
        session.note(f"one connection, {automation}: CPU ms each", used * 1000 / max(1, count))
        session.note(f"one connection, {automation}: p50 ms", percentile(seen.latencies_ms, 50))


def percentile(values: list[float], percent: int) -> float:
    if len(values) < 2:
        return values[0] if values else float("nan")
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]


def _door(target: Target) -> list[str]:
    return [urlsplit(target.url).path, target.secret]


@contextmanager
def _peak(pid: int) -> Iterator[list[float]]:
    """Sample the memory (PSS) in a thread while the block runs."""
    samples, ended = [usage.memory(pid).pss_mb], threading.Event()

    def watch() -> None:
        while not ended.wait(1.0):
            samples.append(usage.memory(pid).pss_mb)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield samples
    finally:
        ended.set()
        thread.join()


MEASURES: dict[str, Any] = {
    "neighbour": neighbour,
    "backlog-neighbour": backlog_neighbour,
    "waiting-callers": waiting_callers,
    "idle-cpu": idle_cpu,
    "one-connection": one_connection,
}
