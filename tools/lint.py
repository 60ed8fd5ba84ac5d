"""Every check that needs no test: `make lint`. With `--fast`, those that take a second or two, for a commit hook."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from cryptography.fernet import Fernet

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = [
    "agentos_site",
    "executions",
    "automations",
    "connectors",
    "projects",
    "harness",
    "tests",
    "tools",
    "bench",
    "chaos",
]
PYTHON = sys.executable
PROGRAMS = Path(PYTHON).parent
DJANGOFMT = str(PROGRAMS / "djangofmt")

FAST_CHECKS = {
    "style": [PYTHON, "-m", "ruff", "check", "."],
    "format": [PYTHON, "-m", "ruff", "format", "--check", "--output-format", "concise", "."],
    "templates": [DJANGOFMT, "check", "--output-format", "concise", "templates"],
    "format of templates": [DJANGOFMT, "--check", "templates"],
    "scripts and stylesheets": [PYTHON, "tools/biome.py", "check"],
    "spelling": [str(PROGRAMS / "codespell")],
    "commit subjects": [PYTHON, "tools/commits.py"],
}
SLOW_CHECKS = {
    "types": [PYTHON, "-m", "mypy", *(package for package in PACKAGES if (ROOT / package).is_dir())],
    "import contracts": [str(PROGRAMS / "lint-imports"), "--no-cache", "--no-logo"],
    "migrations": [PYTHON, "manage.py", "makemigrations", "--check", "--dry-run", "-v", "1"],
    "deployment": [PYTHON, "manage.py", "check", "--deploy", "--fail-level", "WARNING"],
    "reference pages": [PYTHON, "-m", "tools.reference", "--check"],
}


def production(data_dir: str) -> dict[str, str]:
    """Return the environment of an installation as docs/configuration.md describes it for production."""
    return os.environ | {
        "DATA_DIR": data_dir,
        "TMPDIR": data_dir,  # mypy imports the tests' settings, whose temporary files it does not remove
        "SECRET_KEY": "a" * 25 + "Bc3-" * 10,
        "FIELD_KEYS": Fernet.generate_key().decode(),
        "BASE_URL": "https://agentos.example.com",
        "DATABASE_URL": "",
    }


def main(arguments: list[str]) -> int:
    checks = FAST_CHECKS if "--fast" in arguments else FAST_CHECKS | SLOW_CHECKS
    failed = []
    with tempfile.TemporaryDirectory() as data_dir:
        environment = production(data_dir)
        for name, command in checks.items():
            print(f"--- {name}", flush=True)
            if subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode:
                failed.append(name)
    print("lint: " + (f"FAILED: {', '.join(failed)}" if failed else "all checks passed"))
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
