"""docs/third-party.md: what is vendored and what is installed, with versions and licences.

Versions come from the requirements and from static/vendor/vendor.json, licences from what is installed here. Where a
package is not installed, because this platform needs none or another version is there, the page keeps the licence that
it has, so that the check says the same on every machine.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

from tools.reference.markdown import Stale, made_from, page, table

ROOT = Path(__file__).resolve().parent.parent.parent
VENDOR = ROOT / "static" / "vendor"
REQUIREMENT = re.compile(r"([A-Za-z0-9_.-]+)(?:\[[^\]]*\])?==(\S+)")
LICENCE_TEXTS = {
    "Zero-Clause BSD": "0BSD",
    "SIL Open Font License, Version 1.1": "OFL-1.1",
    "Permission is hereby granted, free of charge, to any person obtaining": "MIT",
    "Permission to use, copy, modify, and/or distribute": "ISC",
}
# What packages write where they do not use the identifiers of SPDX.
SPELLINGS = {
    "MIT License": "MIT",
    "Apache 2.0": "Apache-2.0",
    "BSD 2-Clause License": "BSD-2-Clause",
    "BSD License": "BSD",
    "Apache Software License": "Apache-2.0",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
    "Artistic License": "Artistic-1.0-Perl",
    "GNU General Public License (GPL)": "GPL",
    "GNU General Public License v2 or later (GPLv2+)": "GPL-2.0-or-later",
}
SPDX = re.compile(r"[A-Za-z0-9.+-]+(?: (?:AND|OR) \(?[A-Za-z0-9.+-]+(?: (?:AND|OR) [A-Za-z0-9.+-]+\))?)*")

INTRODUCTION = """\
What AgentOS uses that others have written. The files of static/ that come from elsewhere are in this repository with
their licences; Python packages are installed by `make run` and `make test`, pinned in the two files of requirements."""
PROGRAMS = """\
Besides, `make run` wants Python, and PostgreSQL where `DATABASE_URL` names one. The tests use Chromium (through
Playwright), PostgreSQL, and the webhook examples of GitHub (`@octokit/webhooks-examples`, MIT, from npm); `make lint`
uses biome (`@biomejs/biome`, MIT OR Apache-2.0, from npm). None of these is part of this repository."""
MADE_BY = """\
`python tools/vendor.py` fetches the libraries and the font from npm and notes their hashes in
static/vendor/vendor.json; `python tools/icons.py` makes the sprite of icons."""


def pages(docs: Path) -> dict[str, str]:
    target = docs / "third-party.md"
    known = licences_on(target.read_text()) if target.exists() else {}
    product = _requirements(ROOT / "requirements.txt")
    tests = _requirements(ROOT / "requirements-dev.txt")
    text = page(
        "# Third-party software",
        made_from("static/vendor, requirements.txt and requirements-dev.txt"),
        INTRODUCTION,
        "## In this repository",
        table(["What", "Version", "Licence", "Where"], [*_vendored(), _icons(tests)]),
        MADE_BY,
        "## Installed to run AgentOS",
        _packages(product, known),
        "## Installed to work on AgentOS",
        _packages(tests, known),
        PROGRAMS,
    )
    return {"third-party.md": text}


def _vendored() -> Iterable[list[str]]:
    for entry in json.loads((VENDOR / "vendor.json").read_text()):
        folder = next(iter(entry["sha256"])).partition("/")[0]
        licence = _recognized((VENDOR / folder / "LICENSE").read_text(), of=folder)
        yield [entry["package"], entry["version"], licence, f"[static/vendor/{folder}](../static/vendor/{folder})"]


def _icons(requirements: dict[str, str]) -> list[str]:
    version = requirements["lucide"]
    return ["Lucide icons", f"those of the package lucide {version}", "ISC", "[static/icons.svg](../static/icons.svg)"]


def _recognized(text: str, *, of: str) -> str:
    words = " ".join(text.split())
    for phrase, licence in LICENCE_TEXTS.items():
        if phrase in words:
            return licence
    raise Stale(f"static/vendor/{of}/LICENSE: say in tools/reference/third_party.py which licence this is.")


def _requirements(path: Path) -> dict[str, str]:
    """Return the pinned packages of a file with their versions, by name."""
    matches = filter(None, map(REQUIREMENT.match, path.read_text().splitlines()))
    found = {match[1]: match[2] for match in matches}
    return {name: found[name] for name in sorted(found, key=str.lower)}


def _packages(requirements: dict[str, str], known: dict[tuple[str, str], str]) -> str:
    rows = [[name, version, licence(name, version, known)] for name, version in requirements.items()]
    return table(["Package", "Version", "Licence"], rows)


def licence(name: str, version: str, known: dict[tuple[str, str], str]) -> str:
    try:
        about = metadata.metadata(name)
    except metadata.PackageNotFoundError:
        about = None
    if about is not None and about["Version"] == version:
        return licence_of(about.get("License-Expression"), about.get("License"), about.get_all("Classifier") or [])
    if (name, version) in known:
        return known[name, version]
    raise Stale(f"{name} {version} is not installed, so its licence is not known: `make venv-dev` installs it.")


def licence_of(expression: str | None, text: str | None, classifiers: Iterable[str]) -> str:
    """Return a package's licence as it says itself, from its best to its vaguest field, in the spelling of SPDX."""
    if expression:
        return expression
    said = SPELLINGS.get((text or "").strip(), (text or "").strip())
    if SPDX.fullmatch(said):
        return said
    names = [name.rpartition(" :: ")[2] for name in classifiers if name.startswith("License ::")]
    found = [SPELLINGS.get(name, name) for name in names]
    return " or ".join(found) or "not stated"


def licences_on(text: str) -> dict[tuple[str, str], str]:
    """Return the licences that the page has now, by package and version."""
    rows = re.findall(r"^\| (\S+) \| (\S+) \| ([^|]+) \|$", text, re.MULTILINE)
    return {(name, version): licence for name, version, licence in rows}
