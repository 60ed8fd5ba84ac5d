from django.db import migrations, models


class Migration(migrations.Migration):
    """Nullable, so that the release before, which does not name these columns, goes on beside this one."""

    dependencies = [("executions", "0012_held")]

    operations = [
        migrations.AddField("execution", "stop_code", models.CharField(max_length=40, null=True)),
        migrations.AddField("execution", "stop_reason", models.TextField(null=True)),
    ]
