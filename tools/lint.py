"""Every check that needs no test: style, types, import contracts, templates, migrations, deployment. `make lint`."""

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
BESIDE_PYTHON = Path(sys.executable).parent

CHECKS = {
    "style": ["-m", "ruff", "check", "."],
    "format": ["-m", "ruff", "format", "--check", "--output-format", "concise", "."],
    "types": ["-m", "mypy", *(package for package in PACKAGES if (ROOT / package).is_dir())],
    "import contracts": [str(BESIDE_PYTHON / "lint-imports"), "--no-cache", "--no-logo"],
    "templates": ["-m", "djlint", "templates", "--lint", "--quiet"],
    "migrations": ["manage.py", "makemigrations", "--check", "--dry-run", "-v", "1"],
    "deployment": ["manage.py", "check", "--deploy", "--fail-level", "WARNING"],
    "reference pages": ["-m", "tools.reference", "--check"],
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


def main() -> int:
    failed = []
    with tempfile.TemporaryDirectory() as data_dir:
        environment = production(data_dir)
        for name, arguments in CHECKS.items():
            print(f"--- {name}", flush=True)
            if subprocess.run([sys.executable, *arguments], cwd=ROOT, env=environment, check=False).returncode:
                failed.append(name)
    print("lint: " + (f"FAILED: {', '.join(failed)}" if failed else "all checks passed"))
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
