"""What a builder does to a draft's steps: each edit changes the definition it is given, and nothing else."""

from __future__ import annotations

import re
from typing import Any

from automations.definition import KEY_PATTERN, RESERVED_KEYS, STEP_LIMIT, ActionStep, Definition
from connectors.registry import find_action

TEMPLATE = re.compile(r"\{\{.*?\}\}|\{%.*?%\}", re.DOTALL)


class Impossible(Exception):
    """The edit cannot be made; the message says why."""


def position_of(definition: Definition, key: str) -> int:
    """Return where a step stands; raise KeyError when the draft has none of that key."""
    for position, step in enumerate(definition.steps):
        if step.key == key:
            return position
    raise KeyError(key)


def add_step(definition: Definition, position: int, connector: str, action: str) -> ActionStep:
    found = find_action(connector, action)
    if found is None:
        raise Impossible("Choose an action for the step.")
    _make_room(definition)
    key = free_key(definition, found.title)
    step = ActionStep(key=key, title=found.title, connector=connector, action=action)
    definition.steps.insert(min(max(position, 0), len(definition.steps)), step)
    return step


def duplicate_step(definition: Definition, key: str) -> Any:
    """Put a copy, with a key of its own, after a step."""
    _make_room(definition)
    position = position_of(definition, key)
    copy = definition.steps[position].model_copy(deep=True)
    copy.title = f"{copy.title or copy.key} (copy)"[:200]
    copy.key = free_key(definition, key)
    definition.steps.insert(position + 1, copy)
    return copy


def move_step(definition: Definition, key: str, by: int) -> None:
    position = position_of(definition, key)
    step = definition.steps.pop(position)
    definition.steps.insert(min(max(position + by, 0), len(definition.steps)), step)


def remove_step(definition: Definition, key: str) -> Any:
    return definition.steps.pop(position_of(definition, key))


def rename_key(definition: Definition, old: str, new: str) -> None:
    """Give a step another key, in the templates and conditions that read it too."""
    if new == old:
        return
    if not re.match(KEY_PATTERN, new) or new.endswith("\n"):
        raise Impossible(
            "Reference must start with a lower-case letter and hold only lower-case letters, digits and _, at most 64."
        )
    if new in _taken(definition):
        raise Impossible(f"“{new}” is already used." if new not in RESERVED_KEYS else f"“{new}” is reserved.")
    definition.steps[position_of(definition, old)].key = new
    for step in definition.steps:
        if isinstance(step, ActionStep):
            step.input = _reread(step.input, old, new)


def free_key(definition: Definition, wish: str) -> str:
    """Return a key like the wish that no step has."""
    base = re.sub(r"[^a-z0-9]+", "_", wish.lower()).strip("_")[:56]
    base = base if re.match(r"[a-z]", base) else f"step_{base}".strip("_")
    taken, number, key = _taken(definition), 1, base
    while key in taken:
        number += 1
        key = f"{base}_{number}"
    return key


def _taken(definition: Definition) -> set[str]:
    return {step.key for step in definition.walk()} | RESERVED_KEYS


def _make_room(definition: Definition) -> None:
    if len(definition.steps) >= STEP_LIMIT:
        raise Impossible(f"An automation has at most {STEP_LIMIT} steps.")


def _reread(value: Any, old: str, new: str, *, is_path: bool = False) -> Any:
    """Return an input in which every template and condition path that starts with the old key has the new one."""
    match value:
        case str():
            if is_path:
                return re.sub(rf"^\s*{old}(?=[.\[]|\s*$)", new, value)
            name = re.compile(rf"(?<![\w.\-\"'\[]){old}(?![\w\-\"'])")
            return TEMPLATE.sub(lambda template: name.sub(new, template[0]), value)
        case list():
            return [_reread(item, old, new) for item in value]
        case dict():
            is_comparison = {"path", "op"} <= value.keys()
            return {
                key: _reread(item, old, new, is_path=is_comparison and key == "path") for key, item in value.items()
            }
        case _:
            return value
