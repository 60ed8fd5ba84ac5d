from typing import Any

from django.db import migrations, models

from executions.store import partitions

INDEX = models.Index(fields=["automation", "outcome", "-id"], name="receipt_outcome")


def add(apps: Any, schema_editor: Any) -> None:
    if schema_editor.connection.vendor == "postgresql":
        partitions.add_index("executions_receipt", INDEX.name, "(automation_id, outcome, id DESC)")
    else:
        schema_editor.add_index(apps.get_model("executions", "Receipt"), INDEX)


def remove(apps: Any, schema_editor: Any) -> None:
    schema_editor.remove_index(apps.get_model("executions", "Receipt"), INDEX)


class Migration(migrations.Migration):
    atomic = False  # CONCURRENTLY knows no transaction

    dependencies = [("executions", "0004_space")]

    operations = [
        migrations.SeparateDatabaseAndState(
            [migrations.RunPython(add, remove)], [migrations.AddIndex("receipt", INDEX)]
        )
    ]
