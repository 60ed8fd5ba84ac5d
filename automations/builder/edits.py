"""Edits of a draft's steps: each changes the definition that it is given, and nothing else.

The builder works on the steps at the top; it shows those inside a path, but does not change them.
"""

from __future__ import annotations

import re
from typing import Any

from automations.definition import KEY_PATTERN, RESERVED_KEYS, STEP_LIMIT, ActionStep, Definition
from connectors.registry import find_action

TEMPLATE = re.compile(r"\{\{.*?\}\}|\{%.*?%\}", re.DOTALL)


class Impossible(Exception):
    """The edit cannot be made; the message tells the builder why."""


def position_of(definition: Definition, key: str) -> int:
    """Return the index of a step; raise KeyError when no step has that key."""
    for position, step in enumerate(definition.steps):
        if step.key == key:
            return position
    raise KeyError(key)


def add_step(definition: Definition, position: int, connector: str, action: str) -> ActionStep:
    """Insert a new step at an index, or at the nearest end; raise Impossible for an unknown action or a full draft."""
    found = find_action(connector, action)
    if found is None:
        raise Impossible("Choose an action for the step.")
    _refuse_when_full(definition)
    key = free_key(definition, found.title)
    step = ActionStep(key=key, title=found.title, connector=connector, action=action)
    definition.steps.insert(min(max(position, 0), len(definition.steps)), step)
    return step


def duplicate_step(definition: Definition, key: str) -> Any:
    """Put a copy, with a key of its own, after a step; raise Impossible when the draft is full, KeyError without it."""
    _refuse_when_full(definition)
    position = position_of(definition, key)
    copy = definition.steps[position].model_copy(deep=True)
    copy.title = f"{copy.title or copy.key} (copy)"[:200]  # the longest title of `definition.StepPart`
    copy.key = free_key(definition, key)
    definition.steps.insert(position + 1, copy)
    return copy


def move_step(definition: Definition, key: str, by: int) -> None:
    """Move a step up (-1) or down (1), at the ends not at all; raise KeyError when no step has that key."""
    position = position_of(definition, key)
    step = definition.steps.pop(position)
    definition.steps.insert(min(max(position + by, 0), len(definition.steps)), step)


def remove_step(definition: Definition, key: str) -> Any:
    """Take a step out and return it; raise KeyError when no step has that key. Steps that read it get a warning."""
    return definition.steps.pop(position_of(definition, key))


def rename_key(definition: Definition, old: str, new: str) -> None:
    """Give a step another key, also in the templates and conditions that read it.

    Raise Impossible for a key that is malformed, taken or reserved, KeyError when no step has the old one.
    """
    if new == old:
        return
    if not re.match(KEY_PATTERN, new) or new.endswith("\n"):  # `$` also matches before a final line break
        raise Impossible(
            "Reference must start with a lower-case letter and hold only lower-case letters, digits and _, at most 64."
        )
    if new in _taken(definition):
        is_reserved = new in RESERVED_KEYS
        raise Impossible(
            f"The reference “{new}” is reserved." if is_reserved else f"Another step already has the reference “{new}”."
        )
    definition.steps[position_of(definition, old)].key = new
    for step in definition.steps:
        if isinstance(step, ActionStep):
            step.input = _rekeyed(step.input, old, new)


def free_key(definition: Definition, wish: str) -> str:
    """Return a key that no step has, as much like the wish as a key can be."""
    base = re.sub(r"[^a-z0-9]+", "_", wish.lower()).strip("_")[:56]  # of 64, room for "step_" and a number
    base = base if re.match(r"[a-z]", base) else f"step_{base}".strip("_")
    taken, number, key = _taken(definition), 1, base
    while key in taken:
        number += 1
        key = f"{base}_{number}"
    return key


def _taken(definition: Definition) -> set[str]:
    return {step.key for step in definition.walk()} | RESERVED_KEYS


def _refuse_when_full(definition: Definition) -> None:
    if len(definition.steps) >= STEP_LIMIT:
        raise Impossible(f"An automation has at most {STEP_LIMIT} steps.")


def _rekeyed(value: Any, old: str, new: str, *, is_path: bool = False) -> Any:
    """Return an input whose templates and condition paths read the new key wherever they read the old one."""
    match value:
        case str():
            if is_path:
                return re.sub(rf"^\s*{old}(?=[.\[]|\s*$)", new, value)
            # A whole name at the start of a path: not a part of another name, not a field (x.old), not quoted text.
            name = re.compile(rf"(?<![\w.\-\"'\[]){old}(?![\w\-\"'])")
            return TEMPLATE.sub(lambda template: name.sub(new, template[0]), value)
        case list():
            return [_rekeyed(item, old, new) for item in value]
        case dict():
            is_comparison = {"path", "op"} <= value.keys()
            return {
                key: _rekeyed(item, old, new, is_path=is_comparison and key == "path") for key, item in value.items()
            }
        case _:
            return value
