from typing import Any

from django.db import migrations, models

from executions.store import partitions

SHARE = models.Index(
    fields=["organization", "lane", "run_at", "id"], name="execution_share",
    condition=models.Q(status__in=[0, 2], is_due=True),
)  # fmt: skip
LATER = models.Index(
    fields=["lane", "run_at"], name="execution_later", condition=models.Q(status__in=[0, 2], is_due=False)
)
DUE = models.Index(fields=["lane", "run_at", "id"], name="execution_due", condition=models.Q(status__in=[0, 2]))
COLUMNS = {
    SHARE.name: "(organization_id, lane, run_at, id) WHERE is_due AND status IN (0, 2)",
    LATER.name: "(lane, run_at) WHERE NOT is_due AND status IN (0, 2)",
    DUE.name: "(lane, run_at, id) WHERE status IN (0, 2)",
}
# Django would write an SQLite table with millions of rows anew.
ADD_COLUMN = "ALTER TABLE executions_execution ADD COLUMN is_due bool NOT NULL DEFAULT true"
SET_APART = (
    "UPDATE executions_execution SET is_due = false"
    " WHERE status IN (0, 2) AND (status = 0 AND lane = 2 OR run_at > CURRENT_TIMESTAMP)"
)


def make(apps: Any, schema_editor: Any, *indexes: models.Index) -> None:
    for index in indexes:
        if schema_editor.connection.vendor == "postgresql":
            partitions.add_index("executions_execution", index.name, COLUMNS[index.name])
        else:
            schema_editor.add_index(apps.get_model("executions", "Execution"), index)


def drop(apps: Any, schema_editor: Any, *indexes: models.Index) -> None:
    for index in indexes:
        schema_editor.remove_index(apps.get_model("executions", "Execution"), index)


def exchange(apps: Any, schema_editor: Any) -> None:
    make(apps, schema_editor, SHARE, LATER)
    drop(apps, schema_editor, DUE)


def change_back(apps: Any, schema_editor: Any) -> None:
    make(apps, schema_editor, DUE)
    drop(apps, schema_editor, SHARE, LATER)


class Migration(migrations.Migration):
    """Find due executions by organization, so that claims can be shared among organizations."""

    atomic = False  # CONCURRENTLY knows no transaction

    dependencies = [("executions", "0009_step_run_is_external")]

    operations = [
        migrations.AddField("engine", "holders", models.TextField(default="{}", db_default="{}")),
        migrations.RunSQL(
            ADD_COLUMN, "ALTER TABLE executions_execution DROP COLUMN is_due",
            state_operations=[migrations.AddField("execution", "is_due", models.BooleanField(default=True, db_default=True))],
        ),
        migrations.RunSQL(SET_APART, migrations.RunSQL.noop),
        migrations.SeparateDatabaseAndState(
            [migrations.RunPython(exchange, change_back)],
            [
                migrations.AddIndex("execution", SHARE),
                migrations.AddIndex("execution", LATER),
                migrations.RemoveIndex("execution", DUE.name),
            ],
        ),
    ]
