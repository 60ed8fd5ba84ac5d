"""`manage.py restore FOLDER`: a backup into an empty installation, which then starts quiet (docs/backup.md)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from projects.backups.databases import load
from projects.backups.manifest import BackupError, Manifest

DONE = """Restored the backup of {made_at} (release {version}).
It keeps quiet: nothing starts until you choose. Start AgentOS, look at its pages, then run manage.py restored."""


class Command(BaseCommand):
    help = "Restore a backup into an empty installation, which then keeps quiet until `manage.py restored`."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("folder", type=Path, help="a folder that manage.py backup has made")

    def handle(self, *args: Any, folder: Path, **options: Any) -> None:
        try:
            manifest = Manifest.read(folder)
            load(manifest.check(folder))
        except BackupError as error:
            raise CommandError(str(error)) from None
        except OSError as error:
            raise CommandError(f"The backup cannot be restored: {error.filename}: {error.strerror}.") from None
        self.stdout.write(DONE.format(made_at=manifest.made_at, version=manifest.version))
