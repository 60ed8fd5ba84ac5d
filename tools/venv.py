"""Make .venv and install the packages of a requirements file, once: `python tools/venv.py requirements.txt`."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"


def fingerprint(requirements: Path) -> str:
    """Return the values on which an installation of these requirements depends: their text, the Python and the path."""
    text = requirements.read_text()
    if "-r requirements.txt" in text:
        text += (ROOT / "requirements.txt").read_text()
    return hashlib.sha256(f"{text}{sys.version}{VENV}".encode()).hexdigest()


def is_installed(requirements: Path) -> bool:
    """Return whether the environment has these requirements; those of the tests include those of the product."""
    names = {requirements.name, "requirements-dev.txt"}
    wanted = {name: fingerprint(ROOT / name) for name in names}
    return PYTHON.exists() and any(_read(name) == value for name, value in wanted.items())


def _read(name: str) -> str:
    try:
        return (VENV / f"{name}.installed").read_text()
    except OSError:
        return ""


def install(requirements: Path) -> None:
    if not _belongs_here():
        shutil.rmtree(VENV, ignore_errors=True)
        print("Making the virtual environment ...", flush=True)
        _run([sys.executable, "-m", "venv", str(VENV)], hint="On Debian: apt-get install python3-venv")
    print(f"Installing {requirements.name} ...", flush=True)
    pip = [str(PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"]
    hint = "Is the package index reachable? If a hash differs, the package is not the one that was pinned."
    _run([*pip, "--require-hashes", "-r", str(requirements)], hint=hint)
    (VENV / f"{requirements.name}.installed").write_text(fingerprint(requirements))


def _belongs_here() -> bool:
    """Return whether .venv was made by this Python at this path and still starts."""
    if not PYTHON.exists():
        return False
    check = "import sys; print(sys.version, sys.prefix, end='')"
    said = subprocess.run([str(PYTHON), "-c", check], capture_output=True, text=True, check=False).stdout
    moved = str(VENV) not in (VENV / "bin" / "activate").read_text()
    return said == f"{sys.version} {VENV}" and not moved


def _run(command: list[str], *, hint: str) -> None:
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    if subprocess.run(command, check=False, env=environment, stdin=subprocess.DEVNULL).returncode:
        sys.exit(f"This failed: {' '.join(command)}\n{hint}")


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # ends pip too
    requirements = ROOT / sys.argv[1]
    if is_installed(requirements):
        return
    with (ROOT / ".venv.lock").open("w") as lock:  # two `make run` of one checkout may start at once
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not is_installed(requirements):
            install(requirements)


if __name__ == "__main__":
    main()
