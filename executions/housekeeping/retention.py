"""Retention removes what organizations no longer keep, in small parts, so that no other work waits for it.

It removes executions in a final status only, and never a counter (UsageDay, UsageMonth, ReceiptDay). On PostgreSQL it
drops whole partitions, weeks of which no organization keeps anything; all other rows go in short transactions with
pauses (batches.py). docs/retention.md says what goes when.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta
from typing import Any

from django.db import Error, IntegrityError, models, transaction
from django.db.models import Exists, F, OuterRef, Q
from django.utils import timezone

from automations.models import Automation, Trigger, Version
from executions.housekeeping.batches import FIRST, Batches, OutOfTime
from executions.models import Attempt, Delivery, Execution, Firing, Payload, Receipt, StepRun
from executions.models.retention import STALE_AFTER, RetentionMark, RetentionRun
from executions.states import FINAL
from executions.store import errors, partitions, space, store
from projects.ids import first_id_at, just_before
from projects.models import Organization, Project

logger = logging.getLogger(__name__)

FIRINGS_KEPT = timedelta(days=40)
RUNS_KEPT = timedelta(days=90)
PURGED_AFTER = timedelta(days=1)  # from deletion to removal: by then no request under way knows the automation as live
ENDED = sorted(FINAL)


class AlreadyRunning(Exception):
    """Another round of retention is under way."""


def begin(*, is_dry_run: bool = False) -> RetentionRun:
    """Return the row of a new round; raise AlreadyRunning while another one is under way.

    Closes the rows of rounds that have not beaten for STALE_AFTER: their process has died.
    """
    now = timezone.now()
    RetentionRun.objects.filter(finished_at=None, beat_at__lt=now - STALE_AFTER).update(
        finished_at=now, error="Its process ended before it did."
    )
    try:
        with transaction.atomic():
            return RetentionRun.objects.create(is_dry_run=is_dry_run)
    except IntegrityError:
        raise AlreadyRunning from None


def perform(
    run: RetentionRun,
    *,
    budget_s: float | None = None,
    organization: Organization | None = None,
    now: datetime | None = None,
) -> None:
    """Do one round of retention and store its result in `run`.

    Stops after `budget_s` seconds (None: when all is done); the next round then goes on where this one stopped. Covers
    all organizations, or only the one given. Raises any error, after noting it in `run.error`.
    """
    try:
        Round(run, budget_s, organization, now or store().time()).perform()
        run.is_complete = True
    except OutOfTime:
        pass
    except Exception as error:
        run.error = f"{type(error).__name__}: {error}"[:2000]
        raise
    finally:
        run.finished_at = run.beat_at = timezone.now()
        run.save()


def before_days(days: int | None, now: datetime) -> uuid.UUID:
    """Return the id below which everything is older than so many days; FIRST, below which nothing is, for None."""
    return FIRST if days is None else first_id_at(now - timedelta(days=days))


def before_count(organization: Organization) -> uuid.UUID:
    """Return the id of the oldest execution that an organization keeps by number; FIRST when it keeps all."""
    if organization.keep_count is None:
        return FIRST
    newest = Execution.objects.filter(project__in=_project_ids(organization)).order_by("-id")
    kept = newest.values_list("id", flat=True)[organization.keep_count - 1 : organization.keep_count]
    return next(iter(kept), FIRST)


def _project_ids(organization: Organization) -> list[uuid.UUID]:
    return list(Project.objects.filter(organization=organization).order_by("pk").values_list("pk", flat=True))


class Round:
    """One round of retention. A dry run counts the rows that it would remove, and removes nothing."""

    def __init__(
        self, run: RetentionRun, budget_s: float | None, organization: Organization | None, now: datetime
    ) -> None:
        self.run = run
        self.only = organization
        self.now = now
        self.batches = Batches(budget_s)
        self.beat_at = time.monotonic()
        ended = RetentionRun.objects.filter(is_dry_run=False, finished_at__isnull=False).order_by("-id")
        self.before = ended.first() or RetentionRun(is_complete=True)

    def perform(self) -> None:
        if partitions.are_used() and self.only is None:
            self._rotate_weeks()
        self._remove_receipts()
        self._remove_older(Delivery.objects.filter(expires_at__lt=self.now), "expires_at", "deliveries")
        self._remove_older(Firing.objects.filter(fires_at__lt=self.now - FIRINGS_KEPT), "fires_at", "firings")
        for organization in self._organizations():
            self.run.organization, self.run.count_before = organization, None
            self._remove_executions(organization)
        self.run.organization = None
        self._purge()
        if not self.run.is_dry_run:
            RetentionRun.objects.filter(started_at__lt=self.now - RUNS_KEPT).delete()
            self._count("pages", self.batches.repeat(space.give_back))

    def _organizations(self) -> Iterator[Organization]:
        """Yield all organizations, beginning with the one at which the last round ran out of time."""
        if self.only is not None:
            yield self.only
            return
        first = self.before.organization_id or FIRST
        everybody = Organization.objects.order_by("pk")
        yield from everybody.filter(pk__gte=first).iterator()
        yield from everybody.filter(pk__lt=first).iterator()

    # --- whole weeks

    def _rotate_weeks(self) -> None:
        """Make the partitions of the next weeks and drop the outlived ones.

        A lock that cannot be had at once is left to the next round: requests would wait behind it.
        """
        try:
            if not self.run.is_dry_run:
                partitions.make_weeks(self.now)
                partitions.drop_detached()
            for table, tables in (
                ("executions_execution", partitions.EXECUTIONS),
                ("executions_receipt", partitions.RECEIPTS),
            ):
                self._drop_weeks(table, list(tables))
        except Error as error:
            if not errors.fault_of(error).passes:
                raise
            logger.warning("partitions wait for the next round: %s", errors.in_words(error))

    def _drop_weeks(self, table: str, tables: list[str]) -> None:
        this_week = first_id_at(partitions.week_of(self.now))
        for partition in partitions.partitions_of(table):
            if partition.end > this_week or not partitions.is_outlived(partition.name, self._expired(partition.end)):
                continue
            names = [partition.name] if self.run.is_dry_run else partitions.drop(partition, tables)
            self.run.partitions = ", ".join(filter(None, [self.run.partitions, *names]))
            self._beat()
            if names:  # after a drop only, so that even a round without time drops one week
                self.batches.check()

    def _expired(self, end: uuid.UUID) -> list[uuid.UUID]:
        """Return the organizations that keep nothing from before the id."""
        expiring = Organization.objects.filter(keep_days__isnull=False).values_list("pk", "keep_days")
        return [pk for pk, days in expiring if days and first_id_at(self.now - timedelta(days=days)) >= end]

    # --- executions

    def _remove_executions(self, organization: Organization) -> None:
        before = max(before_days(organization.keep_days, self.now), self._before_count(organization))
        payloads_before = before_days(organization.keep_payloads_days, self.now)
        for project_id in _project_ids(organization):
            if before > FIRST:
                ended = Execution.objects.filter(project=project_id, status__in=ENDED)
                self._remove_each(ended.filter(id__lt=before), "executions", _remove)
            if payloads_before > before:
                self._remove_payloads_between(project_id, before, payloads_before)

    def _before_count(self, organization: Organization) -> uuid.UUID:
        """Return the id of the oldest execution that the organization keeps by number.

        Finding it reads all the executions that are kept, so a round that goes on with an organization takes the id
        that the round before has found, unless the number was changed since.
        """
        wanted, found = (organization.pk, organization.keep_count), self.before.count_before
        if found is None or wanted != (self.before.organization_id, self.before.keep_count):
            found = before_count(organization)
        self.run.keep_count, self.run.count_before = organization.keep_count, found
        return found

    def _remove_payloads_between(self, project_id: uuid.UUID, start: uuid.UUID, end: uuid.UUID) -> None:
        """Remove the payloads of ended executions between two ids, from the point that an earlier round reached."""
        mark = RetentionMark.objects.filter(pk=project_id).first() or RetentionMark(project_id, FIRST)
        after = max(just_before(start), mark.set_out(self.now, is_new_series=self.before.is_complete))
        rows, full = Execution.objects.filter(project=project_id), Q(payloads_removed_at=None, status__in=ENDED)
        if self.run.is_dry_run:
            self._count("payloads", [rows.filter(full, id__gt=after, id__lt=end).count()])
            return
        try:
            for done, last in self.batches.remove_wanted(rows, full, self._remove_payloads, after, end):
                mark.reached = last
                self._count("payloads", [done])
            mark.reached, mark.walked_at = max(after, just_before(end)), self.now
        finally:
            mark.advance()

    def _remove_payloads(self, ids: list[uuid.UUID]) -> None:
        Execution.objects.filter(pk__in=ids).update(payloads_removed_at=self.now, rev=F("rev") + 1)
        StepRun.objects.filter(execution__in=ids).update(input=None, output=None)
        Payload.objects.filter(execution__in=ids).delete()

    # --- receipts, deliveries, firings

    def _remove_receipts(self) -> None:
        organizations = Organization.objects.filter(keep_days__isnull=False)
        if self.only is not None:
            organizations = organizations.filter(pk=self.only.pk)
        for days in organizations.values_list("keep_days", flat=True).distinct():
            before = first_id_at(self.now - timedelta(days=days or 0))
            old = Receipt.objects.filter(organization__in=organizations.filter(keep_days=days), id__lt=before)
            self._remove_each(old, "receipts", lambda ids: Receipt.objects.filter(pk__in=ids).delete())

    def _remove_older(self, old: models.QuerySet[Any], field: str, counted: str) -> None:
        if self.only is not None:
            old = old.filter(organization_id=self.only.pk)
        self._count(counted, [old.count()] if self.run.is_dry_run else self.batches.delete_in_order(old, field))

    # --- automations and projects that people deleted

    def _purge(self) -> None:
        """Remove deleted automations and projects for good, once their executions and receipts are removed."""
        since = Q(deleted_at__lt=self.now - PURGED_AFTER)
        happened = [Exists(model.objects.filter(automation=OuterRef("pk"))) for model in (Execution, Receipt)]
        automations = Automation.objects.filter(since, *(~one for one in happened))
        projects = Project.objects.filter(
            since, ~Exists(Automation.objects.filter(project=OuterRef("pk"))),
            ~Exists(Execution.objects.filter(project=OuterRef("pk"))),
        )  # fmt: skip
        if self.only is not None:
            automations, projects = automations.filter(organization=self.only), projects.filter(organization=self.only)
        self._remove_each(automations, "automations", _purge_automations)
        self._remove_each(projects, "projects", _purge_projects)

    # --- counting, and the beat by which others see that this round lives

    def _remove_each(
        self, rows: models.QuerySet[Any], counted: str, remove: Callable[[list[uuid.UUID]], object]
    ) -> None:
        self._count(counted, [rows.count()] if self.run.is_dry_run else self.batches.remove_each(rows, remove))

    def _count(self, name: str, batches: Iterable[int]) -> None:
        for done in batches:
            setattr(self.run, name, getattr(self.run, name) + done)
            self._beat()

    def _beat(self) -> None:
        if time.monotonic() - self.beat_at > 1:
            self.beat_at = time.monotonic()
            self.run.beat_at = timezone.now()
            self.run.save()


def _remove(ids: list[uuid.UUID]) -> None:
    Execution.objects.filter(pk__in=ids).delete()
    for model in (StepRun, Payload, Attempt):
        model._default_manager.filter(execution__in=ids).delete()


def _purge_automations(ids: list[uuid.UUID]) -> None:
    Automation.objects.filter(pk__in=ids).update(live_version=None)
    Trigger.objects.filter(automation__in=ids).delete()
    Version.objects.filter(automation__in=ids).delete()
    Automation.objects.filter(pk__in=ids).delete()


def _purge_projects(ids: list[uuid.UUID]) -> None:
    RetentionMark.objects.filter(pk__in=ids).delete()
    Project.objects.filter(pk__in=ids).delete()
