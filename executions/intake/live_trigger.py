"""The live state of a trigger, and the execution that a payload starts there."""

from __future__ import annotations

import logging
import uuid
from dataclasses import dataclass

from django.db.models import QuerySet
from pydantic import ValidationError

from automations.definition import Definition
from automations.models import Trigger
from connectors.sdk.call import JSON
from executions import sealed_json
from executions.intake.fair_threads import Unavailable
from executions.states import Lane
from executions.store.rows import DeliveryId, NewExecution
from projects.ids import new_id
from projects.sealing import UnreadableSecret

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LiveTrigger:
    """The state of a trigger by which a request is checked, as of the automation's `live_rev`."""

    trigger_uid: str
    automation_id: uuid.UUID
    project_id: uuid.UUID
    organization_id: uuid.UUID
    live_rev: int
    is_active: bool
    is_throttled: bool
    time_limit_s: int
    secret: bytes | None  # empty when callers need none; None when the stored one cannot be read, and nobody may call
    is_timed: bool  # fired by the clock: nobody may post to it
    version_id: uuid.UUID | None
    definition: Definition | None

    @property
    def lane(self) -> Lane:
        if self.definition and self.definition.replies:
            return Lane.SYNC
        return Lane.THROTTLED if self.is_throttled else Lane.DIRECT


def read_trigger(uid: str) -> LiveTrigger | None:
    """Return a trigger's live state, read from the database; None when it was replaced or deleted with its owner.

    Raise ValidationError when its live version cannot be read.
    """
    trigger = _live().filter(uid=uid).first()
    return _live_trigger(trigger) if trigger else None


def read_triggers(uids: set[str]) -> dict[str, LiveTrigger | Unavailable]:
    """Return those of the triggers that `read_trigger` would find; Unavailable for one that cannot be read here."""
    return {trigger.uid: _readable(trigger) for trigger in _live().filter(uid__in=uids)}


def _live() -> QuerySet[Trigger]:
    return Trigger.objects.select_related("automation__live_version", "automation__project").filter(
        replaced_at=None, automation__deleted_at=None, automation__project__deleted_at=None
    )


def _readable(trigger: Trigger) -> LiveTrigger | Unavailable:
    try:
        return _live_trigger(trigger)
    except ValidationError as error:  # a newer release beside this one may have written it, and can read it
        logger.error("the live version of trigger %s cannot be read: %s", trigger.uid, error)
        return Unavailable("The automation cannot be read here.")


def _live_trigger(trigger: Trigger) -> LiveTrigger:
    automation = trigger.automation
    version = automation.live_version
    definition = Definition.model_validate(version.definition) if version else None
    # A trigger of another kind than the live version's starts nothing until the draft that it belongs to is published.
    fits_version = definition is not None and definition.trigger.starts_by(trigger.connector, trigger.event)
    return LiveTrigger(
        trigger_uid=trigger.uid,
        automation_id=automation.uid,
        project_id=automation.project_id,
        organization_id=automation.organization_id,
        live_rev=automation.live_rev,
        is_active=automation.is_active and fits_version,
        is_throttled=automation.is_throttled,
        time_limit_s=automation.time_limit_s,
        secret=_secret_of(trigger),
        is_timed=trigger.is_timed,
        version_id=version.uid if version else None,
        definition=definition,
    )


def _secret_of(trigger: Trigger) -> bytes | None:
    try:
        return trigger.secret.encode()
    except UnreadableSecret as error:
        logger.error("the secret of trigger %s: %s", trigger.uid, error)
        return None


def new_execution(live: LiveTrigger, payload: JSON, delivery: DeliveryId | None = None) -> NewExecution:
    """Return the execution that a payload starts, to be accepted; its id holds this moment."""
    assert live.version_id is not None and live.definition is not None
    trigger = live.definition.trigger
    return NewExecution(
        id=new_id(),
        organization_id=live.organization_id,
        project_id=live.project_id,
        automation_id=live.automation_id,
        version_id=live.version_id,
        live_rev=live.live_rev,
        trigger_uid=live.trigger_uid,
        lane=live.lane,
        time_limit_s=live.time_limit_s,
        connector=trigger.connector,
        event=trigger.event,
        title="Trigger",
        payload=sealed_json.stored(payload),
        delivery=delivery,
    )
