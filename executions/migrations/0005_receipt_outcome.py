from typing import Any

from django.db import migrations, models

INDEX = models.Index(fields=["automation", "outcome", "-id"], name="receipt_outcome")
COLUMNS = "(automation_id, outcome, id DESC)"


def add(apps: Any, schema_editor: Any) -> None:
    """Make the index. PostgreSQL builds one a partition and stops no writer; begun again, it goes on where it ended."""
    if schema_editor.connection.vendor != "postgresql":
        schema_editor.add_index(apps.get_model("executions", "Receipt"), INDEX)
        return
    with schema_editor.connection.cursor() as cursor:
        cursor.execute(f"CREATE INDEX IF NOT EXISTS {INDEX.name} ON ONLY executions_receipt {COLUMNS}")
        for partition in _without_index(cursor):
            name = f"{partition}_outcome"
            cursor.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")  # begun, and not ended
            cursor.execute(f"CREATE INDEX CONCURRENTLY {name} ON {partition} {COLUMNS}")
            cursor.execute(f"ALTER INDEX {INDEX.name} ATTACH PARTITION {name}")


def _without_index(cursor: Any) -> list[str]:
    cursor.execute(
        "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'executions_receipt'::regclass"
        " AND inhrelid NOT IN (SELECT x.indrelid FROM pg_inherits i JOIN pg_index x ON x.indexrelid = i.inhrelid"
        " WHERE i.inhparent = %s::regclass) ORDER BY 1",
        [INDEX.name],
    )
    return [name for (name,) in cursor.fetchall()]


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
