"""The data picker: the values that a step can read, as trees to click on. The size of a tree is bounded."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from automations.builder.checks import step_title
from automations.builder.samples import TRIGGER, Samples
from connectors.registry import CONNECTORS
from connectors.sdk.call import JSON
from connectors.sdk.mapping import as_text

DEPTH = 6
NODES_A_SOURCE = 300
ITEMS_A_LIST = 3  # the others are of the same kind, as a rule
PREVIEW = 60  # characters
OPEN_UP_TO = 12  # members
BARE_NAME = re.compile(r"[A-Za-z_][\w-]*")  # may follow a dot in a path; every other name stands in ["..."]


@dataclass(slots=True, kw_only=True)
class Node:
    """One value: `path` leads to it, `preview` shows its beginning, or how many members it has."""

    label: str
    path: str
    preview: str
    children: list[Node] = field(default_factory=list)

    @property
    def template(self) -> str:
        return f"{{{{ {self.path} }}}}"

    @property
    def is_open(self) -> bool:
        """Return whether to show what is inside at once: two levels, while they are short."""
        return self.path.count(".") + self.path.count("[") < 2 and len(self.children) <= OPEN_UP_TO


@dataclass(slots=True, kw_only=True)
class Source:
    """The trigger, a step or the variables. `is_tested`: the values come from a test, not from a declared sample."""

    key: str
    title: str
    icon: str
    node: Node | None
    is_tested: bool


def sources(samples: Samples, key: str) -> list[Source]:
    """Return the sources that a step can read: the step before it first, the trigger and the variables last."""
    found = [_source(samples, source) for source in samples.keys_before(key)]
    node = tree("vars", samples.variables) if samples.variables else None
    return [*reversed(found), Source(key="vars", title="Variables", icon="braces", node=node, is_tested=True)]


def tree(path: str, value: JSON) -> Node:
    """Return a value as a tree whose nodes have paths that begin with `path`."""
    return _node(path, path, value, DEPTH, iter(range(NODES_A_SOURCE)))


def _source(samples: Samples, key: str) -> Source:
    value = samples.output_of(key)
    step = samples.definition.find(key)
    part = samples.definition.trigger if key == TRIGGER else step
    connector = CONNECTORS.get(getattr(part, "connector", ""))
    return Source(
        key=key,
        title="Trigger" if key == TRIGGER else step_title(step),
        icon=connector.icon if connector else "circle",
        node=tree(key, value) if value is not None else None,
        is_tested=samples.has_output(key),
    )


def _node(label: str, path: str, value: JSON, depth: int, budget: Iterator[int]) -> Node:
    """Return a node with its members; `budget` yields once for each node that the whole tree may still get."""
    node = Node(label=label, path=path, preview=_preview(value))
    if depth:
        for name, child, child_path in _members(path, value):
            if next(budget, None) is None:
                break
            node.children.append(_node(name, child_path, child, depth - 1, budget))
    return node


def _members(path: str, value: JSON) -> Iterator[tuple[str, JSON, str]]:
    """Yield label, value and path of what is in a value; no path can hold a name with a double quote in it."""
    match value:
        case dict():
            for name, child in value.items():
                if BARE_NAME.fullmatch(name):
                    yield name, child, f"{path}.{name}"
                elif '"' not in name:
                    yield name, child, f'{path}["{name}"]'
        case list():
            for index, child in enumerate(value[:ITEMS_A_LIST]):
                yield f"[{index}]", child, f"{path}[{index}]"


def _preview(value: JSON) -> str:
    match value:
        case dict():
            return f"{len(value)} field{'s' if len(value) != 1 else ''}"
        case list():
            return f"{len(value)} item{'s' if len(value) != 1 else ''}"
        case None:
            return "null"
        case str():
            return f"“{value[:PREVIEW]}{'…' if len(value) > PREVIEW else ''}”"
        case _:
            return as_text(value)
