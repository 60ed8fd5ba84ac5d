from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("executions", "0008_firing")]

    operations = [migrations.RenameField("steprun", "is_outside", "is_external")]
