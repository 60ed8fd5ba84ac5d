"""Whether the keys in FIELD_KEYS open what is stored."""

from __future__ import annotations

from automations.models import Trigger
from projects.models import Variable
from projects.sealing import UnreadableSecret

LOST = "FIELD_KEYS does not open the stored secrets. Restore the keys that belong to this database."


def why_unreadable() -> str:
    """Return why the newest stored secrets cannot be read; empty when they can, or when there are none.

    The newest of each kind tell: older ones may have been left behind by keys that were given up.
    """
    try:
        if variable := Variable.objects.order_by("-pk").first():
            variable.value  # noqa: B018  (opens it)
        if trigger := Trigger.objects.exclude(encrypted_secret="").order_by("-created_at").first():
            trigger.secret  # noqa: B018
    except UnreadableSecret:
        return LOST
    return ""
