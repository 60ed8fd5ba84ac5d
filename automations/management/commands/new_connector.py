from __future__ import annotations

import keyword
import re
import subprocess
import sys
from argparse import ArgumentParser
from pathlib import Path
from string import Template
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

SKELETONS = Path(__file__).resolve().parent.parent / "new_connector"
NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
LONGEST_NAME = 30
REGISTRY = "connectors/registry.py"
LAST_LINE = "\n)  # add a new one's line above this one\n"
# What repeats in other files what the connector declares.
AFTERWARDS = (["tools/icons.py"], ["-m", "tools.reference"])


class Command(BaseCommand):
    help = "Write the files of a new connector into this checkout: module, registry line, test and page."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", help="lower-case words joined by underscores, such as help_desk")

    def handle(self, *, name: str, **options: Any) -> None:
        if problem := refusal_of(name):
            raise CommandError(problem)
        for path, text in files_of(name).items():
            (settings.BASE_DIR / path).write_text(text)
            self.stdout.write(f"wrote {path}")
        for command in AFTERWARDS:
            done = subprocess.run([sys.executable, *command], cwd=settings.BASE_DIR, check=False)
            if done.returncode:
                raise CommandError(f"`python {' '.join(command)}` failed. `make venv-dev` installs what it needs.")
        self.stdout.write("Its action fetches an item by its URL: replace that by what the service does.")


def refusal_of(name: str) -> str:
    """Return why there cannot be a connector of this name, or nothing."""
    if not NAME.fullmatch(name) or len(name) > LONGEST_NAME:
        return (
            f"“{name[:50]}” cannot be a connector's name. Use lower-case words joined by underscores, such as "
            f"help_desk, {LONGEST_NAME} characters at most."
        )
    if keyword.iskeyword(name):
        return f"“{name}” is a keyword of Python. Choose another name."
    taken = [path for path in (f"connectors/{name}.py", f"connectors/{name}", path_of_test(name)) if _exists(path)]
    return f"{taken[0]} already exists. Choose another name." if taken else ""


def files_of(name: str) -> dict[str, str]:
    """Return the text of each file that is new or changed, by its path in the checkout."""
    words = {"key": name, "title": name.replace("_", " ").capitalize()}
    registry = (settings.BASE_DIR / REGISTRY).read_text()
    if registry.count(LAST_LINE) != 1:
        raise CommandError(f"{REGISTRY} has no line `{LAST_LINE.strip()}`.")
    return {
        f"connectors/{name}.py": _filled("connector.txt", words),
        path_of_test(name): _filled("test.txt", words),
        REGISTRY: registry.replace(LAST_LINE, f'\n    "{name}",{LAST_LINE}'),
    }


def path_of_test(name: str) -> str:
    return f"tests/connectors/test_{name}.py"


def _exists(path: str) -> bool:
    return bool((settings.BASE_DIR / path).exists())


def _filled(skeleton: str, words: dict[str, str]) -> str:
    return Template((SKELETONS / skeleton).read_text()).substitute(words)
