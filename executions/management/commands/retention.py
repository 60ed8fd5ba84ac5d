"""`manage.py retention`: one round of retention without a limit of time, or a dry run."""

from __future__ import annotations

import uuid
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from executions.housekeeping import retention
from executions.models import RetentionRun
from projects.models import Organization


class Command(BaseCommand):
    help = "Remove executions and payloads past their retention. The cluster does so every hour. See docs/retention.md."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="show what would be removed, without removing it")
        parser.add_argument("--organization", type=uuid.UUID, metavar="UID", help="only for this organization")

    def handle(self, *args: Any, **options: Any) -> None:
        organization = self._organization(options["organization"])
        try:
            run = retention.begin(is_dry_run=options["dry_run"])
        except retention.AlreadyRunning:
            raise CommandError("Retention is already running. See Retention runs in the administration.") from None
        retention.perform(run, organization=organization)
        self.stdout.write(_in_words(run))

    def _organization(self, uid: uuid.UUID | None) -> Organization | None:
        if uid is None:
            return None
        try:
            return Organization.objects.get(pk=uid)
        except Organization.DoesNotExist:
            raise CommandError(f"There is no organization {uid}.") from None


def _in_words(run: RetentionRun) -> str:
    lines = [f"{count:>12,} {name}" for name, count in run.counts.items()]
    lines.append(f"{'':>12} partitions: {run.partitions or 'none'}")
    return "\n".join(["Would remove:" if run.is_dry_run else "Removed:", *lines])
