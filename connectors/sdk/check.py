"""Checks a step's input at save: what holds `{{` as a template, the rest by the action's model."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import ValidationError

from connectors.sdk import mapping
from connectors.sdk.call import JSON, Action, Event
from connectors.sdk.problems import Problem, input_problems, label_of


def check_input(action: Action[Any], raw: dict[str, JSON]) -> list[Problem]:
    """Return what is wrong with a step's input as the builder typed it, templates and all; empty when nothing is.

    A field that holds a template is checked for its syntax only: its value is not known before the step runs.
    """
    found = [
        Problem(loc, wrong, label_of(action.input, loc))
        for loc, text in _texts(raw, ())
        if _is_template(text) and (wrong := mapping.problems(text)) is not None
    ]
    try:
        action.input.model_validate(raw)
    except ValidationError as error:
        problems = input_problems(error, action.input)
        found += [problem for problem in problems if not _leads_to_template(raw, problem.loc)]
    return found


def check_config(event: Event, raw: dict[str, JSON]) -> list[Problem]:
    """Return what is wrong with a trigger's settings, in which nothing is a template."""
    try:
        event.config.model_validate(raw)
    except ValidationError as error:
        return list(input_problems(error, event.config))
    return []


def _is_template(value: object) -> bool:
    return isinstance(value, str) and ("{{" in value or "{%" in value)


def _texts(value: JSON, loc: tuple[str | int, ...]) -> Iterator[tuple[tuple[str | int, ...], str]]:
    match value:
        case str():
            yield loc, value
        case dict():
            for key, item in value.items():
                yield from _texts(item, (*loc, key))
        case list():
            for index, item in enumerate(value):
                yield from _texts(item, (*loc, index))


def _leads_to_template(raw: JSON, loc: tuple[str | int, ...]) -> bool:
    """Return whether the complaint is about a template, whose value is known only at run time."""
    value: Any = raw
    for part in loc:
        if _is_template(value):
            return True
        try:
            value = value[part]
        except (KeyError, IndexError, TypeError):
            return False
    # The complaint is about the whole, such as a list that is too short: a template in it may become anything.
    return any(_is_template(text) for _, text in _texts(value, ()))
