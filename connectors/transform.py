"""Transform: shapes data, acts on nothing."""

from __future__ import annotations

from typing import Annotated, Any

from jmespath.exceptions import JMESPathError
from pydantic import AfterValidator, Field

from connectors.sdk.call import JSON, Action, Call, Connector, Failure
from connectors.sdk.fields import Input
from connectors.sdk.query import compiled
from connectors.sdk.sentences import query_sentence

QUERY_LIMIT = 2000  # characters: it is read between the steps of other executions
INVALID_QUERY = Failure("invalid_query", "The query cannot be applied to this source.")


def _checked(query: str) -> str:
    try:
        compiled(query)
    except (JMESPathError, RecursionError, ValueError) as error:
        raise ValueError(query_sentence(error)) from None
    return query


Query = Annotated[str, Field(min_length=1, max_length=QUERY_LIMIT), AfterValidator(_checked)]


class FieldsInput(Input):
    fields: dict[str, Any] = Field(
        title="Fields",
        description="A name and a value per row. A value can use data from earlier steps.",
        examples=[{"name": "{{ trigger.body.customer.name | upcase }}"}],
        json_schema_extra={"widget": "fields"},
    )


class TemplateInput(Input):
    template: Any = Field(
        title="Template",
        description="Text with {{ … }} where data belongs, in the language Liquid.",
        examples=["Order {{ trigger.body.id }} of {{ trigger.body.customer.name }}"],
        json_schema_extra={"widget": "textarea"},
    )


class QueryInput(Input):
    source: Any = Field(title="Source", examples=["{{ trigger.body }}"], json_schema_extra={"widget": "text"})
    query: Query = Field(
        title="JMESPath query",
        examples=["items[?price > `10`].name"],
        json_schema_extra={"widget": "text"},
    )


class PickInput(Input):
    source: Any = Field(title="Source", examples=["{{ trigger.body }}"], json_schema_extra={"widget": "text"})
    fields: dict[str, Query] = Field(
        title="Fields to keep",
        description="The new name, and the field of the source. Dots reach into objects.",
        examples=[{"customer": "customer.name"}],
        json_schema_extra={"widget": "fields"},
    )


# The rendered input is the output already: the work was done before these run.
async def fields(call: Call[FieldsInput]) -> JSON:
    return dict(call.input.fields)


async def template(call: Call[TemplateInput]) -> JSON:
    return {"value": call.input.template}


async def query(call: Call[QueryInput]) -> JSON:
    return {"value": await call.compute.search(call.input.query, call.input.source)}


async def pick(call: Call[PickInput]) -> JSON:
    return {name: await call.compute.search(path, call.input.source) for name, path in call.input.fields.items()}


CONNECTOR = Connector(
    key="transform",
    title="Transform",
    icon="shuffle",
    summary="Shape data for later steps.",
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
            summary="Write a text that contains data.",
            input=TemplateInput,
            run=template,
            sample={"value": "Order A-17 of Ada Lovelace"},
        ),
        Action(
            key="query",
            title="Query with JMESPath",
            summary="Find, filter and reshape data in an object or list.",
            input=QueryInput,
            run=query,
            sample={"value": ["first", "second"]},
            errors=(INVALID_QUERY,),
            computes=True,
        ),
        Action(
            key="pick",
            title="Pick and rename fields",
            summary="Keep some fields of an object, under names of your choice.",
            input=PickInput,
            run=pick,
            sample={"customer": "Ada Lovelace"},
            errors=(INVALID_QUERY,),
            computes=True,
        ),
    ),
)
