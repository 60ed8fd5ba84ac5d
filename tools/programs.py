"""Programs that only a few commands need, each in an environment of its own: tools/.cache/NAME."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

CACHE = Path(__file__).resolve().parent / ".cache"
INSTALL_S = 180


class Unreachable(Exception):
    """The package index gives no answer."""


def program(name: str, packages: list[str]) -> Path:
    """Return the program's path; install its packages first, unless they are. Raise Unreachable without an index."""
    folder = CACHE / name
    stamp, wanted = folder / "installed", "\n".join([sys.version, *packages])
    if not stamp.exists() or stamp.read_text() != wanted:
        pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        try:
            subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
            subprocess.run([*pip, "--no-input", "--retries", "1", *packages], check=True, timeout=INSTALL_S)
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            raise Unreachable(f"{name} could not be installed") from error
        stamp.write_text(wanted)
    return folder / "bin" / name
