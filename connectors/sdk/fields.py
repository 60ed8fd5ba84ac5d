"""The kinds of field that inputs are made of, and what may stand in them once templates are rendered."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from connectors.sdk.mapping import as_text
from connectors.sdk.problems import quoted

HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,200}")
HEADER_VALUE = re.compile(r"[\t\x20-\x7e]*")


class Input(BaseModel):
    """The input of an action: a field that it does not know is refused, so that a typing error shows."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, hide_input_in_errors=True)


def text_of(value: Any) -> Any:
    """Return numbers, truth values and objects as text: a field that is one expression keeps the value's type."""
    return as_text(value)


Text = Annotated[str, BeforeValidator(text_of)]


class Pair(Input):
    name: Text = Field(min_length=1, max_length=500)
    value: Text = Field("", max_length=100_000)


def pairs_of(value: Any) -> Any:
    """Return `{name: value}` as the list of pairs that it stands for, and nothing at all as none."""
    if isinstance(value, dict):
        return [{"name": name, "value": item} for name, item in value.items()]
    return [] if value in (None, "") else value


PAIRS = BeforeValidator(pairs_of)
Pairs = Annotated[list[Pair], PAIRS, Field(max_length=200)]


def sendable(*, without: frozenset[str]) -> AfterValidator:
    """Return a check of one header; its value is never quoted, it may be a secret."""

    def check(header: Pair) -> Pair:
        if not HEADER_NAME.fullmatch(header.name):
            raise ValueError(f"{quoted(header.name)} is not a valid header name.")
        if header.name.lower() in without:
            raise ValueError(f"The header {header.name} cannot be set here.")
        if not HEADER_VALUE.fullmatch(header.value):
            raise ValueError(
                f"The value of {header.name} has a line break or another character that headers cannot hold."
            )
        return header

    return AfterValidator(check)
