"""The two keys of an installation. `python -m agentos_site.keys` writes the missing ones into DATA_DIR."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from cryptography.fernet import Fernet

from agentos_site.environment import DATA_DIR, FIELD_KEYS_FILE, SECRET_KEY_FILE
from agentos_site.private_files import keep_private


def data_dir() -> Path:
    return DATA_DIR.read()


def create_missing(directory: Path) -> list[Path]:
    """Write the keys that the directory lacks, readable by their owner only; return the paths of the new ones.

    A key that exists is never overwritten: without it nobody can decrypt the stored secrets.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    made = []
    keys = {SECRET_KEY_FILE: secrets.token_urlsafe(50), FIELD_KEYS_FILE: Fernet.generate_key().decode()}
    for name, value in keys.items():
        path = directory / name
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            continue
        with os.fdopen(descriptor, "w") as file:
            file.write(value + "\n")
        made.append(path)
    return made


if __name__ == "__main__":
    keep_private()
    for path in create_missing(data_dir()):
        print(f"Wrote the key {path}")
