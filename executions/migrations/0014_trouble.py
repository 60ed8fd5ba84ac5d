import django.utils.timezone
from django.db import migrations, models


class Migration(migrations.Migration):
    """Why the cluster of a host has no engine."""

    dependencies = [("executions", "0013_stop")]

    operations = [
        migrations.CreateModel(
            name="Trouble",
            fields=[
                ("host", models.CharField(max_length=200, primary_key=True, serialize=False)),
                ("sentence", models.TextField()),
                ("at", models.DateTimeField(default=django.utils.timezone.now)),
            ],
        ),
    ]
