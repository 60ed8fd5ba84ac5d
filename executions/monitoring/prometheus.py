"""The state of the installation in Prometheus' text format 0.0.4.

Labels hold lanes, statuses, connectors, host names and ids of organizations, and nothing that came in a request. No
query counts a growing table, so a scrape costs the same however many executions there are.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Mapping
from itertools import accumulate, groupby

from django.db.models import F, Sum
from django.db.models.functions import Now

from executions.models import Engine, Measure, Outcome, ReceiptDay
from executions.monitoring import histograms, shares
from executions.states import FINAL, Lane
from executions.store import measures
from executions.store.leases import STALE_AFTER_S
from projects.models import UsageDay

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
ESCAPES = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})

TOLD = 20  # organizations with a label of their own

type Sample = tuple[dict[str, str], float]


def text() -> str:
    """Return all metrics, sums over all processes and machines, as one page."""
    lines = [*_executions(), *_requests(), *_queue(), *_engines(), *_organizations()]
    lines += _histogram(histograms.STEPS.name, "Time of a finished step, all tries together.", "connector")
    lines += _histogram(histograms.ACCEPTS.name, "Time until an accepted request was stored durably.")
    return "\n".join([*lines, ""])


# --- the format


def _family(name: str, kind: str, about: str, samples: Iterable[Sample]) -> Iterator[str]:
    yield f"# HELP agentos_{name} {about}"
    yield f"# TYPE agentos_{name} {kind}"
    for labels, value in samples:
        yield _line(name, labels, value)


def _line(name: str, labels: dict[str, str], value: float) -> str:
    pairs = ",".join(f'{label}="{text.translate(ESCAPES)}"' for label, text in labels.items())
    return f"agentos_{name}{{{pairs}}} {value}" if pairs else f"agentos_{name} {value}"


# --- executions and requests


def _executions() -> Iterator[str]:
    summed = dict(UsageDay.objects.values_list("status").annotate(total=Sum("count")).order_by())
    samples = [({"status": status.code}, summed.get(status.value, 0)) for status in sorted(FINAL)]
    return _family("executions_total", "counter", "Executions counted, by their first final status.", samples)


def _requests() -> Iterator[str]:
    summed = dict(ReceiptDay.objects.values_list("outcome").annotate(total=Sum("count")).order_by())
    samples = [({"outcome": outcome.value}, summed.get(outcome.value, 0)) for outcome in Outcome]
    return _family("requests_total", "counter", "Requests to trigger URLs, by outcome.", samples)


def _queue() -> Iterator[str]:
    lanes = {lane.name.lower(): measures.waiting(lane) for lane in Lane}
    depths = [({"lane": lane}, depth) for lane, (depth, _) in lanes.items()]
    ages = [({"lane": lane}, round(age, 3)) for lane, (_, age) in lanes.items()]
    most = f"counted up to {measures.COUNTED}."
    yield from _family("queue_depth", "gauge", f"Executions that are due, {most}", depths)
    yield from _family("queue_oldest_age_seconds", "gauge", "Time since the first of them became due.", ages)
    yield from _family("paused", "gauge", f"Paused executions, {most}", [({}, measures.paused())])


# --- engines


def _engines() -> Iterator[str]:
    rows = Engine.objects.order_by("started_at").values_list(
        "host", "pid", Now() - F("beat_at"), "running", "rss_kb", "held_kb"
    )
    engines = {f"{host}:{pid}": values for host, pid, *values in rows}  # the newest engine, where a pid was used twice
    ages = {name: abs(age.total_seconds()) for name, (age, *_) in engines.items()}
    families: list[tuple[str, str, dict[str, float]]] = [
        ("up", "1 while the engine renews its lease.", {name: int(ages[name] <= STALE_AFTER_S) for name in engines}),
        (
            "beat_age_seconds",
            "Time since the engine last renewed its lease.",
            {name: round(age, 3) for name, age in ages.items()},
        ),
        ("running", "Executions that the engine runs.", {name: running for name, (_, running, *_) in engines.items()}),
        (
            "rss_bytes",
            "Highest memory use of the process of the engine.",
            {name: kb * 1024 for name, (_, _, kb, _) in engines.items()},
        ),
        (
            "held_bytes",
            "Memory that large answers and payloads of its executions take.",
            {name: kb * 1024 for name, (*_, kb) in engines.items()},
        ),
    ]
    for name, about, values in families:
        samples = [({"engine": engine}, value) for engine, value in values.items()]
        yield from _family(f"engine_{name}", "gauge", about, samples)


def _organizations() -> Iterator[str]:
    """Yield who uses the engines: the TOLD organizations with most, by id, and the others together."""
    held, running = shares.slots_by_organization()
    waiting = measures.waiting_by_organization()
    yield from _family(
        "organization_slots", "gauge", "Slots of engines that an organization holds.", _told(held, running)
    )
    about = f"Executions of an organization that are due, of each counted up to {measures.COUNTED_OF_ONE}."
    yield from _family("organization_waiting", "gauge", about, _told(waiting, sum(waiting.values())))


def _told(numbers: Mapping[uuid.UUID, int], total: int) -> list[Sample]:
    most = sorted(numbers.items(), key=lambda item: (-item[1], item[0]))[:TOLD]
    others = max(0, total - sum(number for _, number in most))
    samples: list[Sample] = [({"organization": str(organization)}, number) for organization, number in most]
    return [*samples, ({"organization": "other"}, others)]


# --- durations


def _histogram(name: str, about: str, label: str = "") -> Iterator[str]:
    yield from _family(name, "histogram", about, ())
    rows = Measure.objects.filter(name=name).order_by("label", "bucket")
    for value, group in groupby(rows, key=lambda row: row.label):
        yield from _one_histogram(name, {label: value} if label else {}, list(group))


def _one_histogram(name: str, labels: dict[str, str], rows: list[Measure]) -> Iterator[str]:
    counts = {row.bucket: row.count for row in rows}
    bounds = [*(f"{bound:g}" for bound in histograms.BOUNDS), "+Inf"]
    sums = list(accumulate(counts.get(bucket, 0) for bucket in range(histograms.SIZE)))
    for bound, count in zip(bounds, sums, strict=True):
        yield _line(f"{name}_bucket", {**labels, "le": bound}, count)
    yield _line(f"{name}_sum", labels, round(sum(row.seconds for row in rows), 6))
    yield _line(f"{name}_count", labels, sums[-1])
