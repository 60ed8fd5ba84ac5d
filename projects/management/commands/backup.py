"""`manage.py backup FOLDER`: the data of one moment, while the service runs (docs/backup.md)."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from projects import quiet
from projects.backups.databases import dump
from projects.backups.durable import new_folder
from projects.backups.manifest import NAME, BackupError, Manifest, check_migrated

KEYS = "keys"
KEYS_APART = (
    "The keys are not in it, and without FIELD_KEYS its secrets are lost. Keep them in another place: {files}"
    " (--with-keys puts the files into the backup)."
)


class Command(BaseCommand):
    help = "Back the installation up into a new folder, while the service runs."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("folder", type=Path, help="the folder to make; it must not exist yet")
        parser.add_argument(
            "--with-keys",
            action="store_true",
            help="put the key files into the backup: whoever reads it has the secrets",
        )

    def handle(self, *args: Any, folder: Path, with_keys: bool, **options: Any) -> None:
        folder = folder.absolute()
        key_files = [file for file in settings.KEY_FILES if file.is_file()]
        if folder.exists() or folder.is_symlink():
            raise CommandError(f"{folder} exists already. Name a new folder for each backup.")
        if with_keys and not key_files:
            raise CommandError(f"There are no key files in {settings.DATA_DIR}: the keys stand in the environment.")
        try:
            check_migrated()
            quiet.look()  # so that the data says where it is at home, and a copy is known
            with new_folder(folder) as part:
                manifest = Manifest.of(dump(part))
                if with_keys:
                    _copy_keys(key_files, part / KEYS)
                (part / NAME).write_text(manifest.text())
        except BackupError as error:
            raise CommandError(str(error)) from None
        except OSError as error:
            raise CommandError(f"The backup cannot be written: {error.filename or folder}: {error.strerror}.") from None
        size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
        self.stdout.write(f"Backed up into {folder}: {size:,} bytes, release {manifest.version}.")
        if not with_keys:
            files = ", ".join(map(str, key_files)) or "SECRET_KEY and FIELD_KEYS of the environment"
            self.stdout.write(KEYS_APART.format(files=files))


def _copy_keys(files: list[Path], folder: Path) -> None:
    folder.mkdir(mode=0o700)
    for file in files:
        shutil.copyfile(file, folder / file.name)
        (folder / file.name).chmod(0o600)
