from __future__ import annotations

from django.db import migrations


class Migration(migrations.Migration):
    """Call a schedule's fire time a firing: a slot is a place in an engine."""

    dependencies = [("executions", "0007_retention_goes_on")]

    operations = [
        migrations.RenameModel(old_name="Slot", new_name="Firing"),
        migrations.RenameField(model_name="firing", old_name="slot_at", new_name="fires_at"),
        migrations.RenameField(model_name="retentionrun", old_name="slots", new_name="firings"),
    ]
