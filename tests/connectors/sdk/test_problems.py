"""What is wrong with an input is said in our sentences: no wording of pydantic, no name of a class."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args

import pytest
from pydantic import BaseModel, ValidationError, field_validator
from pydantic_core import PydanticKnownError, core_schema

from automations.definition import Definition
from connectors.registry import CONNECTORS
from connectors.sdk.call import JSON
from connectors.sdk.check import check_config, check_input
from connectors.sdk.conditions import Group
from connectors.sdk.problems import input_problems
from tests.support.wording import is_ours

ACTIONS = {f"{connector.key}.{action.key}": action for connector in CONNECTORS.values() for action in connector.actions}
EVENTS = {f"{connector.key}.{event.key}": event for connector in CONNECTORS.values() for event in connector.events}


@pytest.mark.parametrize(
    ("action", "raw", "sentences"),
    [
        ("http.request", {}, ["URL is empty."]),
        ("http.request", {"url": ""}, ["URL is empty."]),
        ("http.request", {"url": "ftp://x"}, ["URL must start with http:// or https://."]),
        ("http.request", {"url": "http://x", "method": "GRAB"},
         ["Method must be GET, POST, PUT, PATCH, DELETE, HEAD or OPTIONS."]),
        ("http.request", {"url": "http://x", "timeout_s": "soon"}, ["Timeout in seconds must be a number."]),
        ("http.request", {"url": "http://x", "timeout_s": 0}, ["Timeout in seconds must be at least 1."]),
        ("http.request", {"url": "http://x", "timeout_s": 121}, ["Timeout in seconds must be at most 120."]),
        ("http.request", {"url": "http://x", "follow_redirects": "maybe"}, ["Follow redirects must be true or false."]),
        ("http.request", {"url": "http://x", "headers": 1}, ["Headers must be a list."]),
        ("http.request", {"url": "http://x", "headers": [1]},
         ["Item 1 of Headers must be an object with names and values."]),
        ("http.request", {"url": "http://x", "headers": [{"name": "A"}, {"name": ""}]},
         ["Name in item 2 of Headers is empty."]),
        ("http.request", {"url": "http://x", "headers": {"a b": "c"}}, ["Headers: “a b” is not a valid header name."]),
        ("http.request", {"url": "http://x", "query": [{"name": "q", "values": "x"}]},
         ["Query parameters: “values” is not a known field."]),
        ("http.request", {"url": "http://x", "colour": "red"}, ["“colour” is not a known field."]),
        ("http.request", {"url": "http://x/{{ trigger.id"}, ["URL: `{{` without `}}`."]),
        ("response.send", {"status": 3.5}, ["Status must be a whole number."]),
        ("response.send", {"status": "9" * 5000}, ["Status has too many digits."]),
        ("wait.for", {}, ["Wait for is empty."]),
        ("wait.for", {"amount": 0}, ["Wait for must be greater than 0."]),
        ("wait.for", {"amount": 31, "unit": "days"}, ["The wait must last from 1 second to 30 days."]),
        ("wait.for", {"amount": 1, "unit": "years"}, ["Unit must be seconds, minutes, hours or days."]),
        ("email.send", {"to": "ada", "subject": "Hi"}, ["To: “ada” is not an e-mail address."]),
        ("email.send", {"to": "", "subject": "Hi"}, ["To is empty."]),
        ("email.send", {"to": "a@b.cd", "subject": "a\nb"}, ["Subject must be one line."]),
        ("email.send", {"to": "a@b.cd", "subject": "a", "text": "x" * 500_001},
         ["Text can have at most 500,000 characters."]),
        ("transform.query", {"source": {}, "query": "a["}, ["JMESPath query: The query ends too early."]),
        ("transform.pick", {"source": {}, "fields": {"total": ""}}, ["“total” in Fields to keep is empty."]),
        ("transform.pick", {"source": {}, "fields": []}, ["Fields to keep must be an object with names and values."]),
        ("condition.continue_if", {"conditions": {"all": [{"path": "a", "op": "resembles"}]}},
         ["Continue only if: “resembles” is not a known operator."]),
        ("condition.continue_if", {"conditions": {"any": [{"path": "", "op": "equals"}]}},
         ["Path in item 1 of Continue only if is empty."]),
        ("condition.continue_if", {"conditions": {"any": [{"all": [{"path": "a", "op": 1}]}]}},
         ["Op in item 1.1 of Continue only if must be text."]),
    ],
)  # fmt: skip
def test_wrong_input_is_told_with_the_name_of_its_field(
    action: str, raw: dict[str, JSON], sentences: list[str]
) -> None:
    assert [problem.sentence for problem in check_input(ACTIONS[action], raw)] == sentences


@pytest.mark.parametrize(
    ("config", "sentences"),
    [
        ({"unit": "minutes"}, ["Every is empty: write the number of minutes."]),
        ({"unit": "hours", "interval": 25}, ["Every must be from 1 to 24 hours."]),
        ({"unit": "years"}, ["Repeats must be minutes, hours, days, weeks, months or cron."]),
        ({"unit": "weeks", "interval": 1}, ["On: Choose at least one day of the week."]),
        ({"unit": "days", "interval": 1, "at": "25:00"}, ["At must be a time of day as hh:mm, from 00:00 to 23:59."]),
        ({"unit": "days", "interval": 1, "first_day": "soon"}, ["First day must be a date such as 2026-01-31."]),
        ({"unit": "days", "interval": 1, "first_day": "1999-01-01"}, ["First day must be at least 2000-01-01."]),
        ({"unit": "cron", "cron": "* * 32 * *"},
         ["Cron expression: The day of month “32” is not within 1 to 31. Write it like *, 5, 1-5, */2 or 1,3."]),
        ({"unit": "minutes", "interval": 5, "time_zone": "Mars"},
         ["Time zone: Choose a time zone from the list, such as Europe/Berlin."]),
        ({"unit": "minutes", "interval": 5, "metadata": []},
         ['Metadata must be a JSON object such as {"region": "eu"}.']),
    ],
)  # fmt: skip
def test_wrong_schedule_is_told_with_the_name_of_its_field(config: dict[str, JSON], sentences: list[str]) -> None:
    assert [problem.sentence for problem in check_config(EVENTS["schedule.fires"], config)] == sentences


CONTEXT: dict[str, Any] = {
    **dict.fromkeys(("gt", "ge", "lt", "le", "multiple_of", "min_length", "actual_length", "max_digits"), 2),
    **dict.fromkeys(("decimal_places", "whole_digits", "expected_version", "tz_expected", "tz_actual"), 2),
    **dict.fromkeys(("class_name", "class", "encoding", "encoding_error", "method_name", "attribute"), "KeyError"),
    **dict.fromkeys(("error", "field_type", "expected", "expected_tags", "expected_schemes", "tag"), "Traceback"),
    "pattern": "x", "discriminator": "kind()", "max_length": 2,
}  # fmt: skip
SPOKEN_BY_VALIDATORS = {"value_error", "missing_sentinel_error"}


@pytest.mark.parametrize("kind", sorted(set(get_args(core_schema.ErrorType)) - SPOKEN_BY_VALIDATORS))
def test_every_error_that_pydantic_knows_has_a_sentence(kind: Any) -> None:
    class Model(BaseModel):
        some_field: Any

        @field_validator("some_field")
        @classmethod
        def fails(cls, value: Any) -> Any:
            context = CONTEXT | ({"error": AssertionError("x")} if kind == "assertion_error" else {})
            raise PydanticKnownError(kind, context | ({"expected": "'a' or 'b'"} if kind == "enum" else {}))

    with pytest.raises(ValidationError) as raised:
        Model(some_field=1)

    (problem,) = input_problems(raised.value, Model)
    assert is_ours(problem.sentence.replace("Traceback", "a")), problem.sentence
    assert "ome field" in problem.sentence


HOSTILE: list[Any] = [
    None, True, 0, -1, 1e308, 10**400, 3.5, "", " ", "x", "\0", "\ud800", "\n", "a" * 2000, "{{", "{%",
    "{{ x | nope }}", "http://[", "http://a:b@c", "ftp://x", "1e999", "nan", "2026-13-01", "99:99", "* * *",
    "* * * * 9", "a@", "a@b@c.de", [], [[]], [None], [0], ["x"], ["{{"], [{}], [{"name": 1}],
    [{"name": "a\nb", "value": "\n"}], [{"name": "host"}], {}, {"": ""}, {"a": None}, {"a": {}}, {"a b": "c"},
    {"all": 1}, {"all": [1]}, {"all": [{}], "any": []}, {"all": [{"path": "..", "op": "equals"}]},
    {"all": [{"path": "a", "op": "x", "value": 1, "more": 2}]},
    {"any": [{"all": [{"any": [{"all": [{"any": [{"all": [{"path": "a", "op": "is_empty"}]}]}]}]}]}]}, {1: 2},
    {"name": []},
]  # fmt: skip


def attack(model: type[BaseModel]) -> Iterator[dict[str, Any]]:
    for value in HOSTILE:
        for name in model.model_fields:
            yield {name: value}
        yield {"unknown": value}
    if "unit" in model.model_fields:
        yield from ({"unit": unit, "interval": value, "cron": value} for unit in ("weeks", "cron") for value in HOSTILE)


MODELS: dict[str, type[BaseModel]] = {
    **{key: action.input for key, action in ACTIONS.items()},
    **{key: event.config for key, event in EVENTS.items()},
    "group": Group,
    "definition": Definition,
}


@pytest.mark.parametrize("name", MODELS)
def test_no_value_of_any_field_brings_a_librarys_wording_out(name: str) -> None:
    model, count = MODELS[name], 0

    raws: list[Any] = [*attack(model), None, 1, "x", []]
    for raw in raws:
        try:
            model.model_validate(raw)
        except ValidationError as error:
            for problem in input_problems(error, model):
                count += 1
                assert is_ours(problem.message), (raw, problem.message)
                assert is_ours(problem.sentence), (raw, problem.sentence)

    assert count > len(HOSTILE)


STEPS: list[Any] = [
    {"key": "A"}, {"key": "trigger"}, {"key": "a", "on_error": "cry"}, {"key": "a", "retry": {"times": 11}},
    {"key": "a", "kind": "dance"}, {"key": "a", "kind": "repeat", "limit": 0}, {"key": "a", "title": 1},
    {"key": "a", "time_limit_s": 0}, {"key": "a", "kind": "conditional", "branches": [{"steps": [{}]}]}, 1, {},
]  # fmt: skip


@pytest.mark.parametrize("step", STEPS)
def test_broken_definition_is_told_in_sentences(step: Any) -> None:
    with pytest.raises(ValidationError) as raised:
        Definition.model_validate({"steps": [step]})

    found = [problem.sentence for problem in input_problems(raised.value, Definition)]
    assert found == [sentence for sentence in found if is_ours(sentence)]
