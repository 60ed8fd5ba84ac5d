"""The further Pythons of this machine that AgentOS supports, each with an environment for the unit tests."""

from __future__ import annotations

import glob
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SUPPORTED = ("3.12", "3.13", "3.14")
OWN = "{}.{}".format(*sys.version_info[:2])
WHICH = "import sys; print('%d.%d' % sys.version_info[:2])"


def others() -> dict[str, str]:
    """Return the path of one Python for each supported version but the one that runs this."""
    names = [f"python{version}" for version in SUPPORTED]
    names += sorted(glob.glob(os.path.expanduser("~/.pyenv/versions/3.1[2-4].*/bin/python")), reverse=True)
    found: dict[str, str] = {}
    for path in filter(None, map(shutil.which, names)):
        version = _version(path)
        if version in SUPPORTED and version != OWN:
            found.setdefault(version, path)
    return found


def _version(path: str) -> str:
    """Return the version that a Python says; empty where it does not start, as pyenv's shims may not."""
    done = subprocess.run([path, "-c", WHICH], capture_output=True, text=True, check=False, cwd="/")
    return done.stdout.strip() if done.returncode == 0 else ""


def environment(version: str, path: str) -> Path:
    """Return the Python of an environment with the tests' packages, made once; raise CalledProcessError without it."""
    folder = ROOT / "tests" / ".cache" / f"python{version}"
    python, stamp = folder / "bin" / "python", folder / "installed"
    text = "".join((ROOT / name).read_text() for name in ("requirements.txt", "requirements-dev.txt"))
    wanted = hashlib.sha256(f"{text}{os.path.realpath(path)}{folder}".encode()).hexdigest()
    if not stamp.exists() or stamp.read_text() != wanted:
        shutil.rmtree(folder, ignore_errors=True)
        print(f"Installing the tests' packages for Python {version} ...", flush=True)
        _run(path, "-m", "venv", str(folder))
        pip = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input")
        _run(str(python), *pip, "-r", str(ROOT / "requirements-dev.txt"))
        stamp.write_text(wanted)
    return python


def _run(*command: str) -> None:
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    subprocess.run(command, check=True, env=kept, stdin=subprocess.DEVNULL, capture_output=True)
