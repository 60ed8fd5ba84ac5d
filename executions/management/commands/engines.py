"""`manage.py engines`: the engines of the installation, what each of them runs, and which organizations use them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.db.models import F, Max, OuterRef, Subquery
from django.db.models.functions import Now

from executions.models import Engine, Execution, StepRun
from executions.monitoring import shares
from executions.states import Status, StepStatus
from executions.store import measures
from executions.store.leases import STALE_AFTER_S
from projects import quiet
from projects.models import Organization

SHOWN = 500  # executions listed for one engine
TOLD = 20  # organizations listed


class Command(BaseCommand):
    help = (
        "List the engines, with the last beat of each and, with --executions, the executions it runs; then the"
        " organizations that use most of them."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--executions", action="store_true", help="also list the executions of each engine")

    def handle(self, *args: Any, **options: Any) -> None:
        if why := quiet.look():
            self.stdout.write(f"No engine runs here, as this installation keeps quiet. {why} Run manage.py restored.")
        engines = list(Engine.objects.order_by("started_at").annotate(age=Now() - F("beat_at")))
        for engine in engines:
            self.stdout.write(line_of(engine, engine.age))
            for line in running(engine) if options["executions"] else ():
                self.stdout.write(f"    {line}")
        if not engines:
            self.stdout.write("No engine is running. Start the cluster: manage.py qcluster.")
        for line in organizations():
            self.stdout.write(line)


def line_of(engine: Engine, age: timedelta) -> str:
    marks = (
        (engine.is_quarantine, "quarantine: runs suspects only"),
        (engine.is_stopping, "stopping"),
        (abs(age.total_seconds()) > STALE_AFTER_S, "STALE: another engine is recovering its executions"),
    )
    return "  ".join([
        f"{engine.id}  {engine}  since {engine.started_at:%Y-%m-%d %H:%M:%S}  runs {engine.running}"
        f"  beat {max(0.0, age.total_seconds()):.1f} s ago  {engine.rss_kb // 1024} MB"
        f"  holds {engine.held_kb // 1024} MB of large data",
        *(mark for is_so, mark in marks if is_so),
    ])  # fmt: skip


def organizations() -> Iterator[str]:
    """Yield a line for each organization that holds slots or waits for some, those with most slots first."""
    held, _ = shares.slots_by_organization()
    waiting = measures.waiting_by_organization()
    told = sorted(held.keys() | waiting.keys(), key=lambda uid: (-held[uid], -waiting.get(uid, 0), uid))[:TOLD]
    names = dict(Organization.objects.filter(pk__in=told).values_list("pk", "name"))
    for uid in told:
        waits = waiting.get(uid, 0)
        more = " or more" if waits == measures.COUNTED_OF_ONE else ""
        yield f"{uid}  {names.get(uid, '?')}  holds {held[uid]} slots  {waits}{more} executions due"


def running(engine: Engine) -> Iterator[str]:
    """Yield a line for each execution of the engine, the longest-running first, with its last durable step."""
    durable = StepRun.objects.filter(execution=OuterRef("pk"), attempt=OuterRef("attempt")).order_by()
    ended = durable.exclude(status=StepStatus.RUNNING).values("execution")
    position = Subquery(ended.annotate(last=Max("position")).values("last"))
    held = Execution.objects.filter(engine_id=engine.pk, status=Status.RUNNING).order_by("started_at", "id")
    told = held.values_list("id", "automation__name", "attempt", position, Now() - F("started_at"))
    for pk, name, attempt, last, lasts in told[:SHOWN]:
        after = f"after step {last}" if last else "no step finished yet"
        yield f"{pk}  {name}  attempt {attempt}  {after}  for {lasts.total_seconds() if lasts else 0:.1f} s"
