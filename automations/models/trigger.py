"""What starts an automation: the trigger, and when the clock fires it next."""

from __future__ import annotations

import secrets
import uuid

from django.conf import settings
from django.db import models
from django.db.models.functions import Now
from django.utils import timezone

from automations import timing
from connectors.schedule.fire_times import next_fire_time
from connectors.schedule.rule import Rule
from projects import sealing
from projects.sealing import Purpose


def new_trigger_uid() -> str:
    return secrets.token_hex(16)


class Trigger(models.Model):
    """What starts an automation: a trigger URL that machines post to, or the clock.

    Reconfiguring keeps the row, and so the URL. Replacing makes a new row: the old URL answers 404 from then on.
    """

    uid = models.CharField(primary_key=True, max_length=32, default=new_trigger_uid, editable=False)
    automation = models.ForeignKey("automations.Automation", models.PROTECT, related_name="triggers")
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
        """Return whether the clock fires it: then it has no trigger URL."""
        return timing.is_timed(self.connector, self.event)

    def set_new_secret(self) -> str:
        """Return a new secret in the clear and hold it encrypted; the caller saves the row."""
        secret = secrets.token_urlsafe(24)
        self.encrypted_secret = sealing.encrypt(secret, Purpose.TRIGGER_SECRET, self.uid)
        return secret

    @property
    def secret(self) -> str:
        """Return the secret in the clear, "" when the trigger has none; raise UnreadableSecret as `decrypt` does."""
        return sealing.decrypt(self.encrypted_secret, Purpose.TRIGGER_SECRET, self.uid) if self.encrypted_secret else ""


class ScheduleQuerySet(models.QuerySet["Schedule"]):
    def follow(self, automation: uuid.UUID, trigger: Trigger | None, rule: Rule | None, *, anew: bool) -> None:
        """Keep an automation's only row in step with what is live; `trigger` is None when the clock starts nothing.

        An existing row keeps its next fire time unless the rule is a new one (`anew`): publishing another change
        must neither skip a fire time nor repeat one.
        """
        self.filter(trigger__automation=automation).exclude(trigger=None if anew else trigger).delete()
        # A rule that this release cannot read leaves the row that is there: a newer release beside this one fires it.
        if trigger and rule:
            # The database's clock, because it is also the one that says when a row is due.
            now = Trigger.objects.annotate(now=Now()).values_list("now", flat=True).get(pk=trigger.pk)
            if (next_at := next_fire_time(rule, now)) is not None:
                self.get_or_create(trigger=trigger, defaults={"next_at": next_at})


class Schedule(models.Model):
    """When a live Scheduler trigger fires next; the rule itself is in the live version. No row: it never fires."""

    trigger = models.OneToOneField(Trigger, models.CASCADE, primary_key=True, related_name="schedule")
    next_at = models.DateTimeField(db_index=True)

    objects = ScheduleQuerySet.as_manager()
