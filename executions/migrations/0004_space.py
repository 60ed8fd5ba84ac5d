from typing import Any

from django.db import migrations

from executions.store import space


def prepare(apps: Any, schema_editor: Any) -> None:
    if schema_editor.connection.vendor == "sqlite":
        space.prepare()


class Migration(migrations.Migration):
    atomic = False  # VACUUM knows no transaction

    dependencies = [("executions", "0003_partitions_and_retention")]

    operations = [migrations.RunPython(prepare, migrations.RunPython.noop)]
