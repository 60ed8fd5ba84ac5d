from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand
from django.utils import timezone

from executions.models import Engine


class Command(BaseCommand):
    help = "Show the engines: where each runs, since when, how many executions it holds and its last beat."

    def handle(self, *args: Any, **options: Any) -> None:
        now = timezone.now()
        for engine in Engine.objects.order_by("started_at"):
            beat = (now - engine.beat_at).total_seconds()
            state = " stopping" if engine.is_stopping else ""
            self.stdout.write(
                f"{engine.id}  {engine}  since {engine.started_at:%Y-%m-%d %H:%M:%S}"
                f"  runs {engine.running}  beat {beat:.1f} s ago  {engine.rss_kb // 1024} MB{state}"
            )
