"""The stylesheets: small, all of them linked, and nothing in them that no page can have."""

from __future__ import annotations

import json
import re
from pathlib import Path

import brotli
from django.conf import settings
from pygments import highlight  # type: ignore[import-untyped]
from pygments.formatters import HtmlFormatter  # type: ignore[import-untyped]
from pygments.lexers import JsonLexer  # type: ignore[import-untyped]

from executions.states import Status

ROOT = Path(settings.BASE_DIR)
STYLESHEETS = sorted((ROOT / "static" / "css").glob("*.css"))
TEMPLATES = [path.read_text() for path in (ROOT / "templates").rglob("*.html")]
PACKAGES = ("agentos_site", "executions", "automations", "projects")
PYTHON = [path.read_text() for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
SCRIPTS = [path.read_text() for path in (ROOT / "static" / "js").glob("*.js")]
MOST_BYTES = 12 * 1024
MOST_LINES = 300

COMMENT_OR_TEXT = re.compile(r'/\*.*?\*/|"[^"]*"|url\([^)]*\)', re.DOTALL)
CLASS = re.compile(r"\.(-?[a-zA-Z_][\w-]*)")
TAG = re.compile(r"\{%.*?%\}")
ATTRIBUTE = re.compile(r'class="((?:\{[{%].*?[}%]\}|[^"])*)"')
OF_THE_PAGE = re.compile(r"\{% block page_class %\}(.*?)\{% endblock")
OF_AN_ICON = re.compile(r'\{% icon [^%]*"([\w-]+)" %\}')
OF_A_WIDGET = re.compile(r'"class": "([^"]*)"')
BY_SCRIPT = re.compile(r'(?:className: |classList\.\w+\()"([\w -]+)"')
OF_OTHERS = {"errorlist", "nonfield", "helptext", "htmx-request"}  # Django's forms, htmx


def css() -> str:
    return "".join(path.read_text() for path in STYLESHEETS)


def words(texts: list[str], *patterns: re.Pattern[str]) -> set[str]:
    found = (match for text in texts for pattern in patterns for match in pattern.findall(text))
    return {word for match in found for word in TAG.sub(" ", match).split()}


def classes_of_payloads() -> set[str]:
    """Return the classes that colour JSON of every kind."""
    sample = json.dumps({"text": "", "list": [1, -1.5e9, True, None]})
    html: str = highlight(sample, JsonLexer(), HtmlFormatter(nowrap=True))
    return words([html], ATTRIBUTE)


def possible_classes() -> set[str]:
    in_templates = words(TEMPLATES, ATTRIBUTE, OF_THE_PAGE, OF_AN_ICON)
    of_statuses = {word.partition("{{")[0] + status.code for word in in_templates if "{{" in word for status in Status}
    in_python = words(PYTHON, ATTRIBUTE, OF_A_WIDGET)
    return in_templates | of_statuses | in_python | words(SCRIPTS, BY_SCRIPT) | classes_of_payloads() | OF_OTHERS


def test_every_class_of_the_stylesheets_can_be_on_a_page() -> None:
    styled = set(CLASS.findall(COMMENT_OR_TEXT.sub("", css())))

    assert styled - possible_classes() == set()


def test_every_custom_property_is_set_and_used() -> None:
    text = css()

    assert set(re.findall(r"(--[\w-]+):", text)) == set(re.findall(r"var\((--[\w-]+)", text))


def test_every_stylesheet_is_linked() -> None:
    linked = re.findall(r'\{% static "css/([\w.]+)" %\}', (ROOT / "templates" / "_head.html").read_text())

    assert sorted(linked) == [path.name for path in STYLESHEETS]
    assert linked[0] == "base.css", "it names the order of the layers"


def test_the_stylesheets_are_small() -> None:
    assert len(brotli.compress(css().encode())) <= MOST_BYTES
    assert [path.name for path in STYLESHEETS if len(path.read_text().splitlines()) > MOST_LINES] == []
