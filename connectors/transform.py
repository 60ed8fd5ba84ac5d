"""Transform: shapes data, acts on nothing."""

from __future__ import annotations

from typing import Any

import jmespath
from jmespath.exceptions import JMESPathError
from pydantic import BaseModel, ConfigDict, Field

from connectors.call import JSON, Action, Call, Connector, StepError

QUERY_LIMIT = 2000


class FieldsInput(BaseModel):
    model_config = ConfigDict(extra="forbid")

    fields: dict[str, Any] = Field(
        title="Fields",
        description="A name and a value each; a value may use data of earlier steps.",
        examples=[{"name": "{{ trigger.body.customer.name | upcase }}"}],
        json_schema_extra={"widget": "fields"},
    )


class TemplateInput(BaseModel):
    model_config = ConfigDict(extra="forbid")

    template: Any = Field(
        title="Template",
        description="Text with {{ … }} where data goes (Liquid).",
        examples=["Order {{ trigger.body.id }} of {{ trigger.body.customer.name }}"],
        json_schema_extra={"widget": "textarea"},
    )


class QueryInput(BaseModel):
    model_config = ConfigDict(extra="forbid")

    source: Any = Field(title="Source", examples=["{{ trigger.body }}"], json_schema_extra={"widget": "text"})
    query: str = Field(
        title="JMESPath query",
        min_length=1,
        max_length=QUERY_LIMIT,
        examples=["items[?price > `10`].name"],
        json_schema_extra={"widget": "text"},
    )


class PickInput(BaseModel):
    model_config = ConfigDict(extra="forbid")

    source: Any = Field(title="Source", examples=["{{ trigger.body }}"], json_schema_extra={"widget": "text"})
    fields: dict[str, str] = Field(
        title="Fields to keep",
        description="The new name and the field of the source that it takes; dots reach inside.",
        examples=[{"customer": "customer.name"}],
        json_schema_extra={"widget": "fields"},
    )


async def fields(call: Call[FieldsInput]) -> JSON:
    return dict(call.input.fields)


async def template(call: Call[TemplateInput]) -> JSON:
    return {"value": call.input.template}


async def query(call: Call[QueryInput]) -> JSON:
    return {"value": _search(call.input.query, call.input.source)}


async def pick(call: Call[PickInput]) -> JSON:
    return {name: _search(path, call.input.source) for name, path in call.input.fields.items()}


def _search(expression: str, source: JSON) -> JSON:
    if len(expression) > QUERY_LIMIT:
        raise StepError(f"The query is longer than {QUERY_LIMIT} characters.", code="invalid_query")
    try:
        found: JSON = jmespath.search(expression, source)
    except JMESPathError as error:
        raise StepError(f"The query cannot be used: {str(error).splitlines()[0]}", code="invalid_query") from None
    except RecursionError:
        raise StepError("The query is nested too deeply.", code="invalid_query") from None
    return found


CONNECTOR = Connector(
    key="transform",
    title="Transform",
    icon="shuffle",
    summary="Set, template, query or pick data for later steps.",
    actions=(
        Action(
            key="fields",
            title="Set fields",
            summary="Make an object from values of earlier steps.",
            input=FieldsInput,
            run=fields,
            sample={"name": "ADA LOVELACE"},
        ),
        Action(
            key="template",
            title="Text from a template",
            summary="Write a text with data in it.",
            input=TemplateInput,
            run=template,
            sample={"value": "Order A-17 of Ada Lovelace"},
        ),
        Action(
            key="query",
            title="Query with JMESPath",
            summary="Find, filter and reshape inside an object or list.",
            input=QueryInput,
            run=query,
            sample={"value": ["first", "second"]},
        ),
        Action(
            key="pick",
            title="Pick and rename fields",
            summary="Keep some fields of an object, under names of your choice.",
            input=PickInput,
            run=pick,
            sample={"customer": "Ada Lovelace"},
        ),
    ),
)
