"""`manage.py engines`: the engines of the installation, and the executions that each of them runs."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.db.models import F, Max, OuterRef, Subquery
from django.db.models.functions import Now

from executions.models import Engine, Execution, StepRun
from executions.states import Status, StepStatus
from executions.store.leases import STALE_AFTER_S

SHOWN = 500  # executions listed for one engine


class Command(BaseCommand):
    help = "List the engines, with the last beat of each and, with --executions, the executions it runs."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--executions", action="store_true", help="also list the executions of each engine")

    def handle(self, *args: Any, **options: Any) -> None:
        engines = list(Engine.objects.order_by("started_at").annotate(age=Now() - F("beat_at")))
        for engine in engines:
            self.stdout.write(line_of(engine, engine.age))
            for line in running(engine) if options["executions"] else ():
                self.stdout.write(f"    {line}")
        if not engines:
            self.stdout.write("No engine is running. Start the cluster: manage.py qcluster.")


def line_of(engine: Engine, age: timedelta) -> str:
    marks = (
        (engine.is_stopping, "stopping"),
        (age.total_seconds() > STALE_AFTER_S, "STALE: another engine is recovering its executions"),
    )
    return "  ".join([
        f"{engine.id}  {engine}  since {engine.started_at:%Y-%m-%d %H:%M:%S}  runs {engine.running}"
        f"  beat {max(0.0, age.total_seconds()):.1f} s ago  {engine.rss_kb // 1024} MB",
        *(mark for is_so, mark in marks if is_so),
    ])  # fmt: skip


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
