"""What the browser gets: vendored files as published, icons that exist, templates that keep the content policy."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import pytest
from django.conf import settings

from connectors.registry import CONNECTORS
from projects.templatetags import ui
from tools import icons

STATIC = Path(settings.BASE_DIR) / "static"
VENDOR = STATIC / "vendor"
TEMPLATES = sorted((Path(settings.BASE_DIR) / "templates").rglob("*.html"))
FORBIDDEN = {
    "an inline style": re.compile(r"\sstyle\s*=|<style\b", re.IGNORECASE),
    "an inline handler": re.compile(r"<[^>]*\son[a-z]+\s*=", re.IGNORECASE),
    "an inline script": re.compile(r"<script\b(?![^>]*\ssrc=)", re.IGNORECASE),
    "text marked safe": re.compile(r"\|\s*safe\b"),
    "an htmx handler": re.compile(r"\shx-on\b"),
    "values that htmx would evaluate": re.compile(r"hx-(?:vals|headers|confirm)[\w:]*\s*=\s*[\"'](?:js|javascript):"),
}
ICON = re.compile(r"\{% icon \"([\w-]+)\"|\|default:\"([\w-]+)\"")


def vendored() -> dict[str, str]:
    return {
        path: sha for entry in json.loads((VENDOR / "vendor.json").read_text()) for path, sha in entry["sha256"].items()
    }


def named_icons() -> set[str]:
    in_tags = {tag for path in TEMPLATES for tag in re.findall(r"\{% icon [^%]*%\}", path.read_text())}
    in_templates = {name for tag in in_tags for found in ICON.findall(tag) for name in found if name}
    return in_templates | {connector.icon for connector in CONNECTORS.values()} | set(ui.STATUS_ICONS.values())


def drawn_icons() -> set[str]:
    return set(re.findall(r'<symbol id="([\w-]+)"', icons.SPRITE.read_text()))


@pytest.mark.parametrize("path", sorted(vendored()))
def test_vendored_file_is_the_published_one(path: str) -> None:
    assert hashlib.sha256((VENDOR / path).read_bytes()).hexdigest() == vendored()[path]


def test_no_vendored_file_is_without_its_hash() -> None:
    present = {str(path.relative_to(VENDOR)) for path in VENDOR.glob("*/*")}

    assert present == set(vendored())


def test_no_script_names_a_source_map() -> None:
    assert [path.name for path in STATIC.rglob("*.js") if b"sourceMappingURL" in path.read_bytes()] == []


@pytest.mark.parametrize("rule", FORBIDDEN)
def test_no_template_breaks_the_content_policy(rule: str) -> None:
    assert [path.name for path in TEMPLATES if FORBIDDEN[rule].search(path.read_text())] == []


def test_every_named_icon_is_in_the_sprite() -> None:
    assert named_icons() - drawn_icons() == set()


def test_every_icon_of_the_sprite_is_named() -> None:
    assert drawn_icons() == set(icons.drawings())


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [(0, "0 ms"), (8, "8 ms"), (999.6, "1.0 s"), (1200, "1.2 s"), (59_990, "1 min"), (123_000, "2 min 3 s")],
)
def test_duration_is_written_as_people_say_it(milliseconds: float, text: str) -> None:
    assert ui.duration(milliseconds) == text
