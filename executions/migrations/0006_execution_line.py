from typing import Any

from django.db import migrations, models

from executions.store import partitions

INDEX = models.Index(
    fields=["automation", "run_at", "id"], name="execution_line", condition=models.Q(status=0, lane=2)
)


def add(apps: Any, schema_editor: Any) -> None:
    if schema_editor.connection.vendor == "postgresql":
        columns = "(automation_id, run_at, id) WHERE lane = 2 AND status = 0"
        partitions.add_index("executions_execution", INDEX.name, columns)
    else:
        schema_editor.add_index(apps.get_model("executions", "Execution"), INDEX)


def remove(apps: Any, schema_editor: Any) -> None:
    schema_editor.remove_index(apps.get_model("executions", "Execution"), INDEX)


class Migration(migrations.Migration):
    atomic = False  # CONCURRENTLY knows no transaction

    dependencies = [("executions", "0005_receipt_outcome")]

    operations = [
        migrations.SeparateDatabaseAndState(
            [migrations.RunPython(add, remove)], [migrations.AddIndex("execution", INDEX)]
        )
    ]
