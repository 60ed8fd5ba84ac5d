from typing import Any

from django.db import migrations

from projects.fernet_tokens import Place, seal_anew, seal_as_before
from projects.sealing import Purpose


def _of(apps: Any) -> tuple[Any, str, Purpose, Place]:
    rows = apps.get_model("projects", "Variable").objects.all()
    return rows, "encrypted", Purpose.VARIABLE, lambda row: (row.project_id.hex, row.key)


class Migration(migrations.Migration):
    """Bind the stored variables to their project and key."""

    atomic = False  # each row stands for itself, and what stops the migration half-way does not undo it
    dependencies = [("projects", "0003_notices_by_owner")]

    operations = [
        migrations.RunPython(lambda apps, _: seal_anew(*_of(apps)), lambda apps, _: seal_as_before(*_of(apps)))
    ]
