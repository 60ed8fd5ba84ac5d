"""Data mapping: what a field becomes, what is missing, and templates that would eat the engine."""

from __future__ import annotations

import time

import pytest

from connectors.sdk.call import JSON
from connectors.sdk.mapping import MISSING, MappingError, mentions, problems, render, resolve

SCOPE: dict[str, JSON] = {
    "trigger": {
        "body": {
            "id": 7, "title": "Hello", "total": 12.5, "tenth": 0.1, "none": None, "yes": True, "tags": ["a", "b"],
            "nested": {"k": "é"}, "a key": 1, "template": "{{ vars.SECRET }}", "big": "<" * 900_000,
            "rows": [{"i": i} for i in range(5000)],
        }
    },
    "vars": {"SECRET": "s3cret"},
    "self": {"x": 1},
}  # fmt: skip


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("plain", "plain"), ("{{ trigger.body.id }}", 7), ("{{trigger.body.tags}}", ["a", "b"]),
        ("{{ trigger.body.tags[1] }}", "b"), ('{{ trigger.body["a key"] }}', 1), ("{{ trigger.body.none }}", None),
        ("{{ trigger.body.yes }}", True), ("{{ trigger.body.nested }}", {"k": "é"}),
        ("{{ trigger.body.tags.size }}", 2),
        ("{{ trigger.body.total | times: 1.2 }}", 15),
        ("{{ trigger.body.tenth | plus: 0.2 }}", 0.3),
        ("{{ trigger.body.title | upcase }}", "HELLO"), ("{{ trigger.body.id | append: '' }}", "7"),
        ("n {{ trigger.body.id }}", "n 7"), ("{{ trigger.body.nested }}!", '{"k":"é"}!'),
        ("<{{ trigger.body.none }}>", "<>"),
        ("{{ trigger.body.yes }}.", "true."), ("{{ trigger.body.template }}", "{{ vars.SECRET }}"),
        ("x{{ trigger.body.template }}", "x{{ vars.SECRET }}"), ("t{{ self.x }}", "t1"),
        ('{{ trigger.body.nope | default: "d" }}', "d"), ('-{{ trigger.body.nope | default: "d" }}', "-d"),
        ("{% if trigger.body.yes %}y{% else %}n{% endif %}", "y"),
        ("{% for t in trigger.body.tags %}{{ t }};{% endfor %}", "a;b;"),
        ("{{ trigger.body.nested | json }}", '{"k":"é"}'),
    ],
)  # fmt: skip
def test_field_becomes_its_value(text: str, value: JSON) -> None:
    rendered = render(text, SCOPE)

    assert rendered == value
    assert type(rendered) is type(value)


def test_templates_are_rendered_wherever_they_stand() -> None:
    value: JSON = {"a": ["{{ trigger.body.id }}", {"b": "{{ trigger.body.title }}!"}], "c": 1}

    assert render(value, SCOPE) == {"a": [7, {"b": "Hello!"}], "c": 1}


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("{{ trigger.body.nope }}", "trigger.body.nope"), ("x {{ trigger.body.nope }}", "trigger.body.nope"),
        ("{{ nope }}", "nope"), ("{{ trigger.body.tags[7] }}", "trigger.body.tags[7]"),
        ("{{ trigger.body.nope | upcase }}", "trigger.body.nope"), ("{{ trigger.__class__ }}", "trigger.__class__"),
        ("{{ trigger.body.title.__globals__ }}", "trigger.body.title.__globals__"),
        ("{% if trigger.body.nope %}{% endif %}", "trigger.body.nope"),
    ],
)  # fmt: skip
def test_missing_path_is_an_error_that_names_it(text: str, path: str) -> None:
    with pytest.raises(MappingError, match="is missing") as raised:
        render(text, SCOPE)

    assert raised.value.path == path


BOMBS = [
    "{{ (1..100000000) }}", "{{ (1..100000000) | sum }}", '{{ (1..100000000) | join: "," }}',
    "{% for i in (1..100000000) %}{% endfor %}", "x{{ (1..100000000) }}",
    '{% assign a = "xx" %}{% for i in (1..60) %}{% assign a = a | append: a %}{% endfor %}',
    "{% assign a = 99999999 %}{% for i in (1..60) %}{% assign a = a | times: a %}{% endfor %}",
    "{% assign a = 2.5 %}{% for i in (1..60) %}{% assign a = a | times: a %}{% endfor %}",
    '{% assign a = "a,b" | split: "," %}{% for i in (1..60) %}{% assign a = a | concat: a %}{% endfor %}',
    '{{ trigger.body.big | replace: "<", "<<<<<<<<<" }}', "{{ trigger.body.big }}{{ trigger.body.big }}",
    "{{ trigger.body.rows | uniq }}", "{{ trigger.body.id | divided_by: 0 }}",
    '{{ "' + "9" * 5000 + '" | times: 9 }}',
]  # fmt: skip


@pytest.mark.parametrize("text", BOMBS)
def test_bomb_is_an_error_before_it_hurts(text: str) -> None:
    started = time.process_time()

    with pytest.raises(MappingError):
        render(text, SCOPE)

    assert time.process_time() - started < 1.5


@pytest.mark.parametrize(
    "text",
    [
        "{{ a", "{{ a | nofilter }}", '{% include "x" %}{{ a }}', "{% if %}{{ a }}", "{{ }}", "{{" + "(" * 5000 + "}}",
        "{{ a" + "[" * 3000 + "]" * 3000 + " }}", "a" * 10_001 + "{{ a }}", "{% liquid echo 1 %}{{ a }}",
    ],
)  # fmt: skip
def test_syntax_problem_is_found_at_save(text: str) -> None:
    assert problems(text)


def test_syntax_problem_says_where_it_is() -> None:
    assert problems("a\n{% include 'x' %}") == "Line 2: `{% include %}` is not a known tag."


def test_sound_template_has_no_problem() -> None:
    assert problems("{{ trigger.body.a | upcase }}") is None


def test_paths_resolve_to_their_value_or_to_missing() -> None:
    assert resolve("trigger.body.tags[0]", SCOPE) == "a"
    assert resolve("trigger.body.nope.deeper", SCOPE) is MISSING
    assert mentions(["{{ vars.SECRET }}"], "vars")
    assert not mentions("vars in plain text", "vars")
