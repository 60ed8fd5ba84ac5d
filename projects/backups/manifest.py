"""The manifest of a backup: what it holds, and what can read it. It is written last: a backup with it is whole."""

from __future__ import annotations

import hashlib
import json
import tomllib
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Self

from django.conf import settings
from django.db import connection
from django.db.migrations.loader import MigrationLoader
from django.utils import timezone

NAME = "manifest.json"
FORMAT = 1
OTHER_DATABASE = "The backup is of {theirs}, and this installation has {ours}."
OTHER_MIGRATIONS = (
    "The backup was made by release {version} with other migrations ({which}). Restore it with that release, then "
    "update."
)
OTHER_KEYS = (
    "FIELD_KEYS does not hold the keys of the backup: its secrets would be lost. Put the key files of the backup into "
    "{folder} first."
)
NOT_MIGRATED = (
    "The database is not at the migrations of this release ({which}). Back up with the release that runs, or run "
    "manage.py migrate first."
)
DAMAGED = "{file} is not the file that the manifest describes: it is cut off or was changed."


class BackupError(Exception):
    """A backup cannot be made or restored; the text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What stands in the manifest, as JSON."""

    database: str  # Django's word: sqlite or postgresql
    file: str  # the name of the database's file in the folder
    sha256: str  # of that file
    migrations: dict[str, str]  # the last one of each app
    field_keys: list[str]  # fingerprints
    version: str = field(default_factory=lambda: release())
    made_at: str = field(default_factory=lambda: timezone.now().isoformat(timespec="seconds"))
    format: int = FORMAT

    @classmethod
    def of(cls, file: Path) -> Self:
        """Return the manifest of a file with this installation's data."""
        return cls(
            database=connection.vendor, file=file.name, sha256=digest(file), migrations=last_migrations(),
            field_keys=fingerprints(),
        )  # fmt: skip

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Return the manifest of a backup; raise BackupError when there is none that this release can read."""
        try:
            values = json.loads((folder / NAME).read_text())
            if values["format"] != FORMAT:
                raise BackupError(f"The backup was made by release {values['version']}, which wrote another format.")
            return cls(**values)
        except OSError as error:
            raise BackupError(f"{folder} is not a whole backup: {NAME} cannot be read ({error.strerror}).") from None
        except (ValueError, TypeError, KeyError):
            raise BackupError(f"{folder} is not a whole backup: {NAME} is damaged.") from None

    def text(self) -> str:
        return json.dumps(asdict(self), indent=2) + "\n"

    def check(self, folder: Path) -> Path:
        """Return the file with the data; raise BackupError unless this installation can take it."""
        if self.database != connection.vendor:
            raise BackupError(OTHER_DATABASE.format(theirs=self.database, ours=connection.vendor))
        if which := different(self.migrations, last_migrations()):
            raise BackupError(OTHER_MIGRATIONS.format(version=self.version, which=which))
        if not set(self.field_keys) <= set(fingerprints()):
            raise BackupError(OTHER_KEYS.format(folder=settings.DATA_DIR))
        file = folder / Path(self.file).name
        if not file.is_file() or digest(file) != self.sha256:
            raise BackupError(DAMAGED.format(file=file))
        return file


def check_migrated() -> None:
    """Raise BackupError unless the database has the migrations of this release and no others."""
    loader = MigrationLoader(connection)
    missing = [node for node in loader.graph.leaf_nodes() if node not in loader.applied_migrations]
    unknown = [
        node for node in loader.applied_migrations
        if node[0] in loader.migrated_apps and node not in loader.disk_migrations
    ]  # fmt: skip
    if found := sorted({*missing, *unknown}):
        raise BackupError(NOT_MIGRATED.format(which=", ".join(".".join(node) for node in found)))


def last_migrations() -> dict[str, str]:
    """Return the last migration of each app that this release has."""
    return dict(sorted(MigrationLoader(None).graph.leaf_nodes()))


def different(theirs: dict[str, str], ours: dict[str, str]) -> str:
    """Return the migrations that only one side has, in words; "" if there is none."""
    return ", ".join(f"{app}.{name}" for app, name in sorted(theirs.items() ^ ours.items()))


def fingerprints() -> list[str]:
    """Return what tells the keys apart and tells nothing else of them: they are random, and too many to try."""
    return [hashlib.sha256(key.encode()).hexdigest()[:16] for key in settings.FIELD_KEYS]


def digest(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def release() -> str:
    return str(tomllib.loads((Path(settings.BASE_DIR) / "pyproject.toml").read_text())["project"]["version"])
