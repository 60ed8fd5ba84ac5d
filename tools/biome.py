"""Run the pinned biome, which formats and lints scripts and stylesheets: `python tools/biome.py check` or `format`.

npm fetches it once. Without npm it checks nothing and says so; in continuous integration that is a failure."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VERSION = "2.6.8"
CACHE = ROOT / "tools" / ".cache"
BIOME = CACHE / f"biome-{VERSION}" / "node_modules" / ".bin" / "biome"
COMMANDS = {"check": ["check"], "format": ["check", "--write"]}
LONGEST_FETCH_S = 300


class Unavailable(Exception):
    """The pinned biome is not here, and npm cannot fetch it."""


def fetch() -> None:
    """Let npm install the pinned version into the cache, unless it is there."""
    if BIOME.exists():
        return
    if not shutil.which("npm"):
        raise Unavailable("npm is not installed")
    shutil.rmtree(CACHE, ignore_errors=True)  # removes the version before
    folder = BIOME.parent.parent.parent
    folder.mkdir(parents=True)
    command = ["npm", "install", "--prefix", str(folder), "--no-audit", "--no-fund", f"@biomejs/biome@{VERSION}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=LONGEST_FETCH_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise Unavailable("npm did not answer") from error
    if done.returncode:
        raise Unavailable(f"npm could not fetch it ({(done.stderr.strip() or 'no word').splitlines()[-1]})")


def main(command: str) -> int:
    try:
        fetch()
    except Unavailable as reason:
        print(f"!!! {reason}: JavaScript and CSS are neither checked nor formatted")
        return int(bool(os.environ.get("CI")))
    colours = "force" if sys.stdout.isatty() else "off"
    options = ["--error-on-warnings", f"--colors={colours}"]
    return subprocess.run([BIOME, *COMMANDS[command], *options], cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
