from django.db import migrations, models


class Migration(migrations.Migration):
    """Tell how much large data the executions of an engine hold."""

    dependencies = [("executions", "0011_quarantine")]

    operations = [migrations.AddField("engine", "held_kb", models.IntegerField(default=0, db_default=0))]
