from typing import Any

from django.db import migrations

from projects.fernet_tokens import Place, seal_anew, seal_as_before
from projects.sealing import Purpose


def _of(apps: Any) -> tuple[Any, str, Purpose, Place]:
    rows = apps.get_model("automations", "Trigger").objects.all()
    return rows, "encrypted_secret", Purpose.TRIGGER_SECRET, lambda row: (row.uid,)


class Migration(migrations.Migration):
    """Bind the stored secrets of triggers to their trigger."""

    atomic = False  # each row stands for itself, and what stops the migration half-way does not undo it
    dependencies = [("automations", "0002_limits_and_retention")]

    operations = [
        migrations.RunPython(lambda apps, _: seal_anew(*_of(apps)), lambda apps, _: seal_as_before(*_of(apps)))
    ]
