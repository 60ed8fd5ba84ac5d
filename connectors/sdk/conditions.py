"""Conditions: comparisons of a path with a value, in groups of all or any. A missing path counts as absent (null)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, field_validator, model_validator

from connectors.sdk import mapping
from connectors.sdk.budget import TooLarge, spend, weight
from connectors.sdk.call import JSON
from connectors.sdk.language import as_text as text_of
from connectors.sdk.operators import OPERATORS
from connectors.sdk.problems import quoted
from connectors.sdk.reads import part_of

DEPTH_LIMIT = 5  # each level is a recursion, in the form and at run time
MEMBER_LIMIT = 100  # comparisons and groups; each may go over the whole body of a request
TOO_MANY = f"There can be at most {MEMBER_LIMIT} conditions, those inside groups included."
COMPARE = 200  # units of one comparison


class _Reader:
    """Finds the values of paths for one evaluation, and writes each of them out as text once at most."""

    def __init__(self, scope: Mapping[str, JSON]) -> None:
        self.scope = scope
        self.texts: dict[str, str] = {}

    def read(self, path: str, value: Any, *, as_text: bool) -> Any:
        """Return the value found, null where it is missing, once the comparison with `value` is paid for."""
        spend(COMPARE + weight(value))
        found: Any = self.texts.get(path) if as_text else None
        if found is None:
            found = mapping.resolve(path, self.scope)
            if isinstance(found, mapping.Missing):
                return None
            if as_text and isinstance(found, dict):
                spend(weight(found))
                found = self.texts[path] = text_of(found)
        if isinstance(found, str):
            spend(len(found))
        elif isinstance(found, list) and as_text:
            spend(weight(found) + len(found) * weight(value))
        return found


class Comparison(BaseModel):
    """A path, a key of OPERATORS and a value: `{"path": "trigger.body.total", "op": "greater_than", "value": 9}`."""

    model_config = ConfigDict(extra="forbid")

    path: str = Field(min_length=1, max_length=500)
    op: str
    value: Any = None

    @field_validator("op")
    @classmethod
    def op_is_known(cls, op: str) -> str:
        if op not in OPERATORS:
            raise ValueError(f"{quoted(op)} is not a known operator.")
        return op

    @field_validator("path")
    @classmethod
    def path_is_readable(cls, path: str) -> str:
        bare = path.strip().removeprefix("{{").removesuffix("}}").strip()
        if not mapping.PATH.fullmatch(bare):
            raise ValueError(f"{quoted(bare)} is not a path. Write one such as trigger.body.type.")
        return bare

    def holds(self, reader: _Reader) -> bool:
        operator = OPERATORS[self.op]
        return operator.holds(reader.read(self.path, self.value, as_text=operator.of_text), self.value)

    def in_words(self) -> str:
        operator = OPERATORS[self.op]
        return f"{self.path} {operator.label}" + (f" “{text_of(self.value)[:100]}”" if operator.needs_value else "")


def _kind(member: Any) -> str:
    is_comparison = isinstance(member, Comparison) or (
        isinstance(member, dict) and ("path" in member or "op" in member)
    )
    return "comparison" if is_comparison else "group"


type Member = Annotated[Annotated[Comparison, Tag("comparison")] | Annotated[Group, Tag("group")], Discriminator(_kind)]


class Group(BaseModel):
    """Comparisons and groups of them: `{"all": [...]}` or `{"any": [...]}`; an empty group holds."""

    model_config = ConfigDict(extra="forbid")

    all: list[Member] | None = None
    any: list[Member] | None = None

    @model_validator(mode="after")
    def shape_is_bounded(self) -> Group:
        if self.all is not None and self.any is not None:
            raise ValueError("A group of conditions has either “all” or “any”, not both.")
        if self.depth > DEPTH_LIMIT:
            raise ValueError(f"Groups of conditions can be nested at most {DEPTH_LIMIT} deep.")
        return self

    @property
    def mode(self) -> Literal["all", "any"]:
        return "any" if self.any is not None else "all"

    @property
    def members(self) -> list[Comparison | Group]:
        return (self.any if self.any is not None else self.all) or []

    @property
    def depth(self) -> int:
        return 1 + max((member.depth for member in self.members if isinstance(member, Group)), default=0)

    @property
    def size(self) -> int:
        """Return the number of its comparisons and groups, with those inside them."""
        return sum(1 + (member.size if isinstance(member, Group) else 0) for member in self.members)

    def holds(self, reader: _Reader) -> bool:
        results = (member.holds(reader) for member in self.members)
        if not self.members:
            return True
        # These are Python's own any and all: inside a method the fields are reached by self only.
        return any(results) if self.mode == "any" else all(results)

    def in_words(self) -> str:
        joiner = " or " if self.mode == "any" else " and "
        return joiner.join(
            f"({member.in_words()})" if isinstance(member, Group) else member.in_words() for member in self.members
        )


def holds(group: Group, scope: Mapping[str, JSON]) -> bool:
    """Return whether the conditions hold over what templates read; a path that is missing counts as null.

    What it costs is the caller's to bound, as with `connectors.sdk.mapping.render`.

    holds(Group.model_validate({"any": [{"path": "vars.MODE", "op": "equals", "value": "on"}]}), call.scope)
    """
    return group.holds(_Reader(scope))


def explain(group: Group, scope: Mapping[str, JSON]) -> str:
    """Return in a sentence what did not hold; the values found are not quoted, because they may be secret."""
    if group.mode == "any":
        return f"None of these conditions holds: {group.in_words()}."
    reader = _Reader(scope)
    failed = next((member for member in group.members if not member.holds(reader)), None)
    return f"This condition does not hold: {failed.in_words()}." if failed else "All conditions hold."


def checked_size(group: Group) -> Group:
    """Return the conditions; raise ValueError for more than may be computed.

    Not part of the model: a stored definition with more of them can still be read, and fails only where it is used.
    """
    if group.size > MEMBER_LIMIT:
        raise ValueError(TOO_MANY)
    return group


def judge(group: Group, scope: Mapping[str, JSON]) -> str:
    """Return why the conditions do not hold, empty when they do; raise TooLarge for more than may be computed."""
    if group.size > MEMBER_LIMIT:
        raise TooLarge(TOO_MANY)
    return "" if holds(group, scope) else explain(group, scope)


def needed(group: Group, scope: Mapping[str, JSON]) -> dict[str, JSON]:
    """Return what of the scope the conditions read."""
    return part_of(scope, (mapping.parts_of(path) for path in _paths(group)))


def _paths(group: Group) -> Iterator[str]:
    for member in group.members:
        if isinstance(member, Group):
            yield from _paths(member)
        else:
            yield member.path
