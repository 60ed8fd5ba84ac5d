"""The kinds of field that inputs are made of, and what may stand in them once templates are rendered."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from connectors.sdk.mapping import as_text
from connectors.sdk.problems import quoted

HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,200}")
# Visible ASCII, spaces and tabs: a line break would begin another header, other characters servers read differently.
HEADER_VALUE = re.compile(r"[\t\x20-\x7e]*")


class Input(BaseModel):
    """The base of every input: a field that it does not know is refused, so that a typing error shows.

    A field's `title` is its label; `description`, `examples` and the limits go into the form and the documentation.
    `json_schema_extra` chooses the form's widget (`text`, `textarea`, `number`, `select`, `switch`, `pairs`, `fields`,
    `list`, `checkboxes`, `json`, `conditions`) and may hide the field under *Advanced*. A validator raises ValueError
    with a whole sentence: the builder reads it as it is.

        class OrderInput(Input):
            id: Text = Field(title="Order id", min_length=1, json_schema_extra={"widget": "text"})
    """

    # Errors never quote the input: it may hold a secret. Infinity and NaN cannot be stored as JSON.

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, hide_input_in_errors=True)


def text_of(value: Any) -> Any:
    """Return a number, truth value, list or object as text; `Text` fields are made with it.

    Needed because a field that is one expression, such as `{{ trigger.body.id }}`, keeps the value's type.
    """
    return as_text(value)


Text = Annotated[str, BeforeValidator(text_of)]


class Pair(Input):
    """A name and a value, such as a header or a query parameter."""

    name: Text = Field(min_length=1, max_length=500)
    value: Text = Field("", max_length=100_000)


def pairs_of(value: Any) -> Any:
    """Return an object as the list of pairs that it stands for, and null or an empty text as an empty list.

    So a builder may give headers row by row in the form, or as one expression: `{{ trigger.body.headers }}`.
    """
    if isinstance(value, dict):
        return [{"name": name, "value": item} for name, item in value.items()]
    return [] if value in (None, "") else value


PAIRS = BeforeValidator(pairs_of)
Pairs = Annotated[list[Pair], PAIRS, Field(max_length=200)]


def sendable(*, without: frozenset[str]) -> AfterValidator:
    """Return a check of one header: its name, its value, and that it is none of `without` (lower-case names).

        Headers = Annotated[list[Annotated[Pair, sendable(without=FORBIDDEN_HEADERS)]], PAIRS, Field(max_length=200)]

    It raises ValueError.
    """

    # The value is never quoted: it may be a secret.
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
