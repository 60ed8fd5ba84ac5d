from django.db import migrations, models


class Migration(migrations.Migration):
    """Nullable, so that the release before, which does not name the column, goes on beside this one."""

    dependencies = [("automations", "0003_bound_secrets")]

    operations = [
        migrations.AddField(
            "automation", "cancels_for", models.CharField(editable=False, max_length=150, null=True)
        ),
    ]
