"""What a builder designs: the automation, and the versions of it that went live."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from django.conf import settings
from django.core.validators import MinValueValidator
from django.db import IntegrityError, models, transaction
from django.db.models import F
from django.utils import timezone

from automations import timing
from automations.definition import Definition, TriggerPart
from automations.fields import OrderedJSONField
from automations.models.trigger import Schedule, Trigger
from connectors.schedule.rule import Rule
from projects.ids import new_id
from projects.models import Asker, Organization, Project

if TYPE_CHECKING:
    from django.contrib.auth.models import User


class NotReady(Exception):
    """The automation cannot be activated; `problems` holds every reason, each a sentence for the builder."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


class StaleDraft(Exception):
    """The draft was saved by somebody else, or in another tab, after it was read."""


class AutomationQuerySet(models.QuerySet["Automation"]):
    def kept(self) -> Self:
        return self.filter(deleted_at=None)

    def for_user(self, user: Asker) -> Self:
        """Return the automations that a person may see: every page fetches through this, so that none forgets it."""
        return self.kept().filter(project__in=Project.objects.for_user(user))


class Automation(models.Model):
    """A trigger and its steps. Saving changes the draft; activating or publishing copies the draft into a version.

    Every verb that changes what a trigger URL answers goes through `_change_live`: web servers keep live triggers in
    memory, and `live_rev` tells them that theirs is out of date.
    """

    uid = models.UUIDField(primary_key=True, default=new_id, editable=False)
    organization = models.ForeignKey(Organization, models.PROTECT, related_name="+")
    project = models.ForeignKey(Project, models.PROTECT, related_name="automations")
    name = models.CharField(max_length=100)
    description = models.CharField(max_length=255, blank=True)
    draft = OrderedJSONField(default=dict)  # a definition; it may be unfinished
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
    # By whom its executions are cancelled, until all are; null: those that are under way end by themselves.
    cancels_for = models.CharField(max_length=150, null=True, editable=False)

    objects = AutomationQuerySet.as_manager()

    class Meta:
        constraints = [
            # A deleted automation gives its name free.
            models.UniqueConstraint(
                fields=["project", "name"], condition=models.Q(deleted_at=None), name="automation_name_once_a_project"
            )
        ]
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    @property
    def definition(self) -> Definition:
        """Return the draft, each time a new copy; raise ValidationError when a newer release wrote it."""
        return Definition.model_validate(self.draft)

    @property
    def trigger(self) -> Trigger | None:
        """Return the trigger in use: the newest that has not been replaced."""
        return self.triggers.filter(replaced_at=None).order_by("-created_at").first()

    @property
    def has_unpublished_changes(self) -> bool:
        return self.live_version is not None and self.live_version.definition != self.draft

    @property
    def live_part(self) -> TriggerPart | None:
        """Return the settings of the trigger that the clock fires now, or None when the clock fires nothing."""
        if self.live_version is None or not self.is_active or self.deleted_at:
            return None
        part = Definition.model_validate(self.live_version.definition).trigger
        return part if timing.is_timed(part.connector, part.event) else None

    @property
    def live_rule(self) -> Rule | None:
        """Return the rule by which the clock fires now, or None when the clock fires nothing."""
        part = self.live_part
        return timing.rule_of(part) if part else None

    def save_draft(self, definition: Definition, *, rev: int) -> None:
        """Store the draft; raise StaleDraft when the stored draft is no longer the one with `rev`."""
        # One conditional UPDATE: of two people who save at the same moment, one is told, and no work is lost unseen.
        changed = Automation.objects.filter(pk=self.pk, draft_rev=rev).update(
            draft=definition.model_dump(mode="json"), draft_rev=F("draft_rev") + 1, updated_at=timezone.now()
        )
        if not changed:
            raise StaleDraft
        self.refresh_from_db()

    def design(self, steps: list[dict[str, Any]], *, connector: str = "http", event: str = "request", **of: Any) -> str:
        """Make the trigger and save the draft at once, as a script does; return the trigger's secret.

        `steps`, and `config` and `conditions` of the trigger, are given as in a definition.
        """
        trigger, secret = self.make_trigger(connector, event)
        part = {"uid": trigger.uid, "connector": connector, "event": event, **of}
        self.save_draft(Definition.model_validate({"trigger": part, "steps": steps}), rev=self.draft_rev)
        return secret

    def activate(self, user: User | None) -> Version:
        """Make the draft live and return its version; raise NotReady with everything that is missing.

        Warnings (`builder.checks`) are no reason to refuse: the builder may weigh them and activate anyway.
        """
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
            former = self.live_version.definition["trigger"] if self.live_version else None
            version = self._version_of(definition, user)
            is_new_rule = version.definition["trigger"] != former
            self._change_live(is_new_rule, is_active=True, live_version=version)
        return version

    def deactivate(self) -> None:
        """Stop new starts; executions under way run to their end."""
        self._change_live(is_active=False)

    def change(self, **fields: Any) -> bool:
        """Change name, description or settings, from the next request on; return False when the name is taken."""
        try:
            # The database decides, not a look beforehand: two automations can be given one name at the same moment.
            with transaction.atomic():
                self._change_live(**fields)
        except IntegrityError:
            return False
        return True

    def duplicate(self, user: User | None) -> tuple[Automation, str]:
        """Return an inactive copy of the draft, and the secret of the copy's own trigger (empty without one).

        Raise IntegrityError when somebody takes the copy's name at this moment.
        """
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
        base, number = self.name[:88], 1  # of the 100 characters, 12 are left for " copy" and a number
        while (name := f"{base} copy" if number == 1 else f"{base} copy {number}") in names:
            number += 1
        return name

    def delete(self, *args: Any, cancels_for: str | None = None, **kwargs: Any) -> tuple[int, dict[str, int]]:
        """Hide it and stop new starts; its executions stay readable until retention removes them.

        With a person's name in `cancels_for` those that have not ended are to be cancelled (`executions.models`). The
        row stays, because executions, versions and usage refer to it: retention deletes it after them.
        """
        self._change_live(is_active=False, deleted_at=timezone.now(), cancels_for=cancels_for)
        return 1, {"automations.Automation": 1}

    def make_trigger(self, connector: str, event: str) -> tuple[Trigger, str]:
        """Return a new trigger and its secret. Show the secret now: only its encrypted form is stored.

        The trigger in use is replaced: its URL answers 404 from now on. A trigger that the clock fires has no secret.
        """
        with transaction.atomic():
            self.triggers.filter(replaced_at=None).update(replaced_at=timezone.now())
            trigger = Trigger(automation=self, connector=connector, event=event)
            secret = "" if trigger.is_timed else trigger.set_new_secret()
            trigger.save(force_insert=True)
            self._change_live()
        return trigger, secret

    def rotate_secret(self) -> str:
        """Return a new secret of the trigger in use, which must exist; the old secret stops working at once."""
        trigger = self.trigger
        assert trigger is not None
        with transaction.atomic():
            secret = trigger.set_new_secret()
            trigger.save(update_fields=["encrypted_secret"])
            self._change_live()
        return secret

    def remove_secret(self) -> None:
        """Let everybody who knows the trigger URL start the automation."""
        with transaction.atomic():
            self.triggers.filter(replaced_at=None).update(encrypted_secret="")
            self._change_live()

    def _version_of(self, definition: Definition, user: User | None) -> Version:
        """Return the live version when it holds this very definition, else a new one."""
        stored = definition.model_dump(mode="json")
        if self.live_version and self.live_version.definition == stored:
            return self.live_version
        last = self.versions.aggregate(last=models.Max("number"))["last"] or 0
        return self.versions.create(number=last + 1, definition=stored, created_by=user)

    def _change_live(self, is_new_rule: bool = False, /, **fields: Any) -> None:
        """Change columns, tell the web servers by `live_rev`, and bring the schedule in step, all in one transaction.

        `is_new_rule` says that the fire time set so far belongs to another rule.
        """
        now = timezone.now()
        with transaction.atomic():
            Automation.objects.filter(pk=self.pk).update(live_rev=F("live_rev") + 1, updated_at=now, **fields)
            self.refresh_from_db()
            trigger = self.trigger if self.live_part else None
            # The draft's trigger may have been replaced by one with a URL: then the live rule has nothing to fire.
            timed = trigger if trigger and trigger.is_timed else None
            Schedule.objects.follow(self.pk, timed, self.live_rule, anew=is_new_rule)


class Version(models.Model):
    """An immutable copy of a definition; an execution keeps to the version that it started with, whatever is saved."""

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
