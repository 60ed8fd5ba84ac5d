"""What a builder designs: automation, version, trigger."""

from __future__ import annotations

import secrets as random
from typing import TYPE_CHECKING, Any, Self

from django.conf import settings
from django.core.validators import MinValueValidator
from django.db import IntegrityError, models, transaction
from django.db.models import F
from django.db.models.functions import Now
from django.utils import timezone

from automations import timing
from automations.definition import Definition
from automations.fields import OrderedJSONField
from connectors.schedule.fire_times import next_fire_time
from projects import secrets
from projects.ids import new_id
from projects.models import Asker, Organization, Project

if TYPE_CHECKING:
    from django.contrib.auth.models import User


class NotReady(Exception):
    """The automation cannot be activated; `problems` says why, in words."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


class StaleDraft(Exception):
    """Somebody else saved the draft since it was read."""


class AutomationQuerySet(models.QuerySet["Automation"]):
    def kept(self) -> Self:
        return self.filter(deleted_at=None)

    def for_user(self, user: Asker) -> Self:
        return self.kept().filter(project__in=Project.objects.for_user(user))


class Automation(models.Model):
    """A trigger and its steps. Saving changes the draft; activating or publishing makes a version."""

    uid = models.UUIDField(primary_key=True, default=new_id, editable=False)
    organization = models.ForeignKey(Organization, models.PROTECT, related_name="+")
    project = models.ForeignKey(Project, models.PROTECT, related_name="automations")
    name = models.CharField(max_length=100)
    description = models.CharField(max_length=255, blank=True)
    draft = OrderedJSONField(default=dict)
    draft_rev = models.PositiveIntegerField(default=1, help_text="Counts saves. A save states the number that it read.")
    live_version: models.ForeignKey[Version | None] = models.ForeignKey(
        "Version", models.PROTECT, null=True, related_name="+"
    )
    is_active = models.BooleanField(default=False)
    live_rev = models.PositiveIntegerField(
        default=1, help_text="Counts changes that affect the trigger URL: activation, version, secret, deletion."
    )
    is_throttled = models.BooleanField(default=False)
    time_limit_s = models.PositiveIntegerField(
        "allotted time in seconds", default=300, validators=[MinValueValidator(1)]
    )
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+")
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    updated_at = models.DateTimeField(auto_now=True)
    deleted_at = models.DateTimeField(null=True, editable=False)

    objects = AutomationQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["project", "name"], condition=models.Q(deleted_at=None), name="automation_name_once_a_project"
            )
        ]
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    @property
    def definition(self) -> Definition:
        """Return the draft."""
        return Definition.model_validate(self.draft)

    @property
    def trigger(self) -> Trigger | None:
        """Return the trigger in use: the newest that has not been replaced."""
        return self.triggers.filter(replaced_at=None).order_by("-created_at").first()

    @property
    def has_unpublished_changes(self) -> bool:
        return self.live_version is not None and self.live_version.definition != self.draft

    def save_draft(self, definition: Definition, *, rev: int) -> None:
        """Store the draft; raise StaleDraft when it is no longer the one with `rev`."""
        changed = Automation.objects.filter(pk=self.pk, draft_rev=rev).update(
            draft=definition.model_dump(mode="json"), draft_rev=F("draft_rev") + 1, updated_at=timezone.now()
        )
        if not changed:
            raise StaleDraft
        self.refresh_from_db()

    def activate(self, user: User | None) -> Version:
        """Make the draft live. Warnings (`builder.checks`) are the builder's to weigh, not a reason to refuse."""
        definition = self.definition
        problems = []
        if not definition.trigger.is_configured or self.trigger is None:
            problems.append("Configure the trigger first.")
        elif self.trigger.is_timed and timing.rule_of(definition.trigger) is None:
            problems.append("Finish the schedule first: its settings do not define when it fires.")
        if not any(not step.disabled for step in definition.walk()):
            problems.append("Add at least one step first.")
        if problems:
            raise NotReady(problems)
        with transaction.atomic():
            fired = self.live_version.definition["trigger"] if self.live_version else None
            version = self._version_of(definition, user)
            is_new_rule = version.definition["trigger"] != fired
            self._change_live(is_new_rule, is_active=True, live_version=version)
        return version

    def deactivate(self) -> None:
        """Stop new starts; what is under way ends."""
        self._change_live(is_active=False)

    def change(self, **fields: Any) -> bool:
        """Change name, description or settings, for the next request on; return False when the name is taken."""
        try:
            with transaction.atomic():
                self._change_live(**fields)
        except IntegrityError:
            return False
        return True

    def duplicate(self, user: User | None) -> tuple[Automation, str]:
        """Return an inactive copy of the draft with a trigger of its own, and that trigger's secret."""
        with transaction.atomic():
            copy = Automation.objects.create(
                organization_id=self.organization_id,
                project_id=self.project_id,
                name=self._free_name(),
                description=self.description,
                draft=self.draft,
                is_throttled=self.is_throttled,
                time_limit_s=self.time_limit_s,
                created_by=user,
            )
            definition, secret = copy.definition, ""
            if definition.trigger.is_configured:
                trigger, secret = copy.make_trigger(definition.trigger.connector, definition.trigger.event)
                definition.trigger.uid = trigger.uid
                copy.save_draft(definition, rev=copy.draft_rev)
        return copy, secret

    def _free_name(self) -> str:
        names = set(Automation.objects.kept().filter(project=self.project_id).values_list("name", flat=True))
        base, number = self.name[:88], 1
        while (name := f"{base} copy" if number == 1 else f"{base} copy {number}") in names:
            number += 1
        return name

    def delete(self, *args: Any, **kwargs: Any) -> tuple[int, dict[str, int]]:
        """Hide it; its executions stay readable until retention removes them."""
        self._change_live(is_active=False, deleted_at=timezone.now())
        return 1, {"automations.Automation": 1}

    def make_trigger(self, connector: str, event: str) -> tuple[Trigger, str]:
        """Return a trigger for the draft and its secret, which is shown this once; one in use is replaced."""
        with transaction.atomic():
            self.triggers.filter(replaced_at=None).update(replaced_at=timezone.now())
            trigger = Trigger(automation=self, connector=connector, event=event)
            secret = "" if trigger.is_timed else trigger.set_new_secret()
            trigger.save(force_insert=True)
            self._change_live()
        return trigger, secret

    def rotate_secret(self) -> str:
        """Return the trigger's new secret; the old one stops working at once."""
        trigger = self.trigger
        assert trigger is not None
        with transaction.atomic():
            secret = trigger.set_new_secret()
            trigger.save(update_fields=["encrypted_secret"])
            self._change_live()
        return secret

    def remove_secret(self) -> None:
        with transaction.atomic():
            self.triggers.filter(replaced_at=None).update(encrypted_secret="")
            self._change_live()

    def _version_of(self, definition: Definition, user: User | None) -> Version:
        stored = definition.model_dump(mode="json")
        if self.live_version and self.live_version.definition == stored:
            return self.live_version
        last = self.versions.aggregate(last=models.Max("number"))["last"] or 0
        return self.versions.create(number=last + 1, definition=stored, created_by=user)

    def _change_live(self, is_new_rule: bool = False, /, **fields: Any) -> None:
        now = timezone.now()
        with transaction.atomic():
            Automation.objects.filter(pk=self.pk).update(live_rev=F("live_rev") + 1, updated_at=now, **fields)
            self.refresh_from_db()
            Schedule.objects.follow(self, anew=is_new_rule)


class Version(models.Model):
    """An immutable copy of a definition; an execution pins the one that it started with."""

    uid = models.UUIDField(primary_key=True, default=new_id, editable=False)
    automation = models.ForeignKey(Automation, models.PROTECT, related_name="versions")
    number = models.PositiveIntegerField()
    definition = OrderedJSONField()
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+")
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["automation", "number"], name="version_number_once")]
        ordering = ["-number"]

    def __str__(self) -> str:
        return f"version {self.number}"


def new_trigger_uid() -> str:
    return random.token_hex(16)


class Trigger(models.Model):
    """What machines post to. Reconfiguring keeps it; replacing makes a new one, and the old URL answers 404."""

    uid = models.CharField(primary_key=True, max_length=32, default=new_trigger_uid, editable=False)
    automation = models.ForeignKey(Automation, models.PROTECT, related_name="triggers")
    connector = models.CharField(max_length=50)
    event = models.CharField(max_length=50)
    encrypted_secret = models.TextField(blank=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    replaced_at = models.DateTimeField(null=True, editable=False)

    def __str__(self) -> str:
        return self.uid

    @property
    def url(self) -> str:
        return f"{settings.BASE_URL}/automations-api/run/{self.uid}"

    @property
    def is_timed(self) -> bool:
        """Return whether the clock fires it: it has no trigger URL then."""
        return timing.is_timed(self.connector, self.event)

    def set_new_secret(self) -> str:
        secret = random.token_urlsafe(24)
        self.encrypted_secret = secrets.encrypt(secret)
        return secret


class ScheduleQuerySet(models.QuerySet["Schedule"]):
    def follow(self, automation: Automation, *, anew: bool) -> None:
        """Have a row while the clock starts the automation; one that is there keeps its time, unless made anew."""
        part = timing.live_part(automation)
        trigger = automation.trigger if part and automation.trigger and automation.trigger.is_timed else None
        self.filter(trigger__automation=automation.pk).exclude(trigger=None if anew else trigger).delete()
        rule = timing.rule_of(part) if part else None  # one that cannot be read here leaves the row that is there
        if trigger and rule:
            now = Trigger.objects.annotate(now=Now()).values_list("now", flat=True).get(pk=trigger.pk)
            if (next_at := next_fire_time(rule, now)) is not None:
                self.get_or_create(trigger=trigger, defaults={"next_at": next_at})


class Schedule(models.Model):
    """When a live Scheduler trigger fires next; the rule itself is in the live version. No row: it never fires."""

    trigger = models.OneToOneField(Trigger, models.CASCADE, primary_key=True, related_name="schedule")
    next_at = models.DateTimeField(db_index=True)

    objects = ScheduleQuerySet.as_manager()


class StepTest(models.Model):
    """The last test of a trigger or step of the draft: sample data for the steps after it. Counts nothing."""

    automation = models.ForeignKey(Automation, models.CASCADE, related_name="step_tests")
    step_key = models.CharField(max_length=64)
    fingerprint = models.CharField(
        max_length=64, help_text="Identifies the tested configuration. A different value means untested."
    )
    is_success = models.BooleanField()
    input = models.TextField(blank=True, help_text="JSON text, secrets masked.")
    output = models.TextField(blank=True, help_text="JSON text, secrets masked.")
    error = models.TextField(blank=True)
    duration_ms = models.PositiveIntegerField(default=0)
    tested_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["automation", "step_key"], name="one_test_a_step")]
