"""What a compute child can do: each job is a function of plain JSON, and so are its result and its failure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from connectors.sdk import exact_json, mapping
from connectors.sdk.budget import TooLarge
from connectors.sdk.call import JSON, StepError
from connectors.sdk.conditions import Group, judge
from connectors.sdk.query import search

RESULT_BYTES = 40_000_000  # of JSON text; a control character takes six

JOBS: dict[str, Callable[..., JSON]] = {
    "render": mapping.render,
    "search": search,
    "judge": lambda group, scope: judge(Group.model_validate(group), scope),
}
TOO_LARGE = "too_large_to_compute"


def request(job: str, arguments: tuple[JSON, ...]) -> bytes:
    """Return a job as JSON text for a child."""
    return exact_json.dumps([job, list(arguments)])


def perform(text: bytes) -> bytes:
    """Do the job of a request, in the child, and return its outcome as JSON text."""
    try:
        job, arguments = cast(tuple[str, list[JSON]], exact_json.loads(text))
    except ValueError:  # a request is always JSON: orjson says so when its memory is refused
        raise MemoryError from None
    outcome: JSON
    try:
        outcome = {"value": JOBS[job](*arguments)}
    except mapping.MappingError as error:
        outcome = {"missing": error.path, "message": str(error)}
    except StepError as error:
        outcome = {"code": error.code, "message": error.message}
    except TooLarge as error:
        outcome = {"code": TOO_LARGE, "message": str(error)}
    written = exact_json.dumps(outcome)
    if len(written) > RESULT_BYTES:
        return exact_json.dumps({"code": TOO_LARGE, "message": "The result is larger than 40 MB."})
    return written


def result_of(text: bytes) -> JSON:
    """Return the value of an outcome, or raise the failure that the job ended with."""
    outcome = cast(dict[str, Any], exact_json.loads(text))
    if "value" in outcome:
        return cast(JSON, outcome["value"])
    if "missing" in outcome:
        raise mapping.MappingError(outcome["message"], outcome["missing"])
    raise StepError(outcome["message"], code=outcome["code"])
