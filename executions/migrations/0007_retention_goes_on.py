from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("executions", "0006_execution_line")]

    operations = [
        migrations.AddField("retentionmark", "reached", models.UUIDField(null=True)),
        migrations.AddField("retentionmark", "walked_at", models.DateTimeField(null=True)),
        migrations.AddField("retentionrun", "count_before", models.UUIDField(null=True)),
        migrations.AddField("retentionrun", "keep_count", models.PositiveIntegerField(null=True)),
    ]
