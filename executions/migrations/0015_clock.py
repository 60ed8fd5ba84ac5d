from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("executions", "0014_trouble")]

    operations = [
        migrations.CreateModel(
            name="Clock",
            fields=[
                ("id", models.SmallIntegerField(primary_key=True, serialize=False)),
                ("seen_at", models.DateTimeField()),
            ],
        ),
    ]
