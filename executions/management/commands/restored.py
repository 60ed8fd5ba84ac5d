"""`manage.py restored`: what a copy would resume, fire and send, and the two ways on (docs/backup.md)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from executions.housekeeping import restored
from executions.housekeeping.restored import UnderWay
from executions.store.leases import STALE_AFTER_S
from projects import quiet

SHOWN = 20  # fire times
NOT_QUIET = "This installation does not keep quiet: there is nothing to do."
ENGINES_RUN = (
    "Engines run on this database, or have until {seconds} s ago, so what is under way is theirs. Stop them, wait "
    "{seconds} s, and repeat the command."
)
CHOICE = """
Nothing of it happens until you choose:
  manage.py restored --go-on    resume all of it: the installation has moved here, or the original is gone
  manage.py restored --reject   end what is under way as Rejected (“{reason}”), skip missed fire times, then go on"""
STILL_ASKED = "The setting QUIET is on: take it away and start AgentOS anew."


class Command(BaseCommand):
    help = "List what an installation that keeps quiet, because its data is a copy, would resume; go on with it."

    def add_arguments(self, parser: CommandParser) -> None:
        ways = parser.add_mutually_exclusive_group()
        ways.add_argument("--go-on", action="store_true", help="resume everything")
        ways.add_argument(
            "--reject", action="store_true", help="end what is under way as Rejected, skip missed fire times, and go on"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        why = quiet.look()
        if not why:
            self.stdout.write(NOT_QUIET)
            return
        try:
            if options["go_on"]:
                self.stdout.write(f"This installation goes on. {restored.go_on()} Running executions resume.")
            elif options["reject"]:
                self.stdout.write(f"This installation goes on. {restored.reject()} executions ended as Rejected.")
            else:
                self._list(why)
                return
        except restored.EnginesRun:
            raise CommandError(ENGINES_RUN.format(seconds=STALE_AFTER_S)) from None
        if settings.QUIET:
            self.stdout.write(STILL_ASKED)

    def _list(self, why: str) -> None:
        self.stdout.write(f"This installation keeps quiet: it starts, calls and sends nothing. {why}\n")
        for line in lines_of(restored.under_way(fire_times=SHOWN)):
            self.stdout.write(line)
        self.stdout.write(CHOICE.format(reason=restored.REASON))


def lines_of(found: UnderWay) -> Iterator[str]:
    yield f"Executions that it would resume: {found.total}"
    for organization, counts in sorted(found.executions.items()):
        told = ", ".join(f"{count} {status.label}" for status, count in sorted(counts.items()))
        yield f"  {organization}: {told}"
    if found.total:
        yield "  Running ones go on after their last durable step and repeat a call in flight with its idempotency key."
    yield f"Schedules that it would fire: {found.schedules}"
    for one in found.first_fire_times:
        missed = "  (missed)" if one.at <= timezone.now() else ""
        yield f"  {one.at:%Y-%m-%d %H:%M:%S} UTC  {one.name}{missed}"
    if found.schedules > len(found.first_fire_times):
        yield f"  and {found.schedules - len(found.first_fire_times)} later ones"
    yield f"E-mails about limits that it would send: {found.notices}"
