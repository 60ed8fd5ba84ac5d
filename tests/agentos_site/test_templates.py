"""Templates keep one naming rule: a whole page has a plain name, a piece of one begins with an underscore."""

from __future__ import annotations

import re
from pathlib import Path

from django.conf import settings

ROOT = Path(settings.BASE_DIR)
TEMPLATES = ROOT / "templates"
DJANGO_NAMES_THEM = TEMPLATES / "django"  # they replace Django's own
IS_PAGE = re.compile(r"\{% extends |<!doctype html>", re.IGNORECASE)
PACKAGES = ("agentos_site", "executions", "automations", "projects")


def test_a_page_has_a_plain_name_and_a_piece_an_underscore() -> None:
    misnamed = [
        str(path.relative_to(TEMPLATES))
        for path in TEMPLATES.rglob("*.html")
        if not path.is_relative_to(DJANGO_NAMES_THEM)
        and path.name.startswith("_") == bool(IS_PAGE.search(path.read_text()))
    ]

    assert misnamed == []


def test_every_piece_is_named_by_a_template_or_by_python() -> None:
    sources = [*TEMPLATES.rglob("*.html"), *(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))]
    text = "\n".join(path.read_text() for path in sources)
    pieces = {str(path.relative_to(TEMPLATES)) for path in TEMPLATES.rglob("_*.html")}

    unnamed = {name for name in pieces if f'"{name}' not in text and not name.startswith("automations/panes/")}

    assert unnamed == set()
