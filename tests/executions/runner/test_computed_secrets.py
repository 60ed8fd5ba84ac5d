"""What is computed with a secret, and what a builder typed as one, is shown nowhere; steps still get it."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import Any
from uuid import UUID

import pytest

from executions import sealed_json
from executions.states import Status
from harness.automations import WAIT, Made, make
from harness.installation import Installation
from projects.sealing import MASK
from tests.support.stub import Stub

SECRET = "s3cr3t/Value+42"


def fields(step: str, **values: Any) -> dict[str, Any]:
    return {"key": step, "connector": "transform", "action": "fields", "input": {"fields": values}}


def query(key: str, source: str, query: str) -> dict[str, Any]:
    given = {"source": source, "query": query}
    return {"key": key, "connector": "transform", "action": "query", "input": given}


def post(key: str, **headers: str) -> dict[str, Any]:
    pairs = [{"name": name.replace("_", "-"), "value": value} for name, value in headers.items()]
    given = {"method": "POST", "url": "{{ trigger.body.url }}", "headers": pairs}
    return {"key": key, "connector": "http", "action": "request", "input": given}


def with_secret(product: Installation, steps: list[dict[str, Any]]) -> Made:
    made = make(product, {"it": steps})
    product.call("harness.factory.make_variable", str(made.project), "KEY", SECRET, is_secret=True)
    return made


def shown(made: Made, execution_id: UUID) -> str:
    """Return all that people can see of an execution's steps."""
    runs = made.step_runs(execution_id)
    texts = [sealed_json.shown(run[side] or "") for run in runs for side in ("input", "output")]
    return "\n".join([*texts, *(run["error"] for run in runs), made.read(execution_id)["reason"]])


COMPUTED = {
    "upcase": ("{{ vars.KEY | upcase }}", SECRET.upper()),
    "a part": ("{{ vars.KEY | slice: 2, 9 }}", SECRET[2:11]),
    "encoded twice": ("{{ vars.KEY | base64_encode | base64_encode }}", b64encode(b64encode(SECRET.encode())).decode()),
    "a list": ("{{ vars.KEY | split: '/' | json }}", "Value+42"),
    "in a tag": ("{% assign key = vars.KEY | replace: '3', 'e' %}key {{ key }}", SECRET.replace("3", "e")),
    "by any name": ("{{ vars[trigger.body.name] | downcase }}", SECRET.lower()),
    "beside others": ("{{ trigger.body.name | append: vars.KEY | upcase }}", f"KEY{SECRET.upper()}"),
}


@pytest.mark.parametrize(("expression", "result"), COMPUTED.values(), ids=COMPUTED)
def test_what_is_computed_with_a_secret_is_masked_there_and_later(
    product: Installation, stub: Stub, expression: str, result: str
) -> None:
    steps = [fields("shape", key=expression), post("before", x_it="a {{ shape.key }} b"), WAIT,
             post("after", x_it="{{ shape.key }}")]  # fmt: skip
    made = with_secret(product, steps)
    stub.answer(body={"echo": f"you sent {result}", "encoded": b64encode(f"me:{result}".encode()).decode()})

    execution_id = made.start("it", {"url": stub.url, "name": "KEY"})
    execution = made.wait(execution_id)

    assert execution["status"] == Status.SUCCESS, execution
    sent = [request.headers["x-it"] for request in stub.requests]
    assert all(result in text for text in sent) and len(sent) == 2
    text = shown(made, execution_id)
    assert result not in text and SECRET not in text
    assert b64encode(result.encode()).decode()[:8] not in text
    shape, before, _, after = made.step_runs(execution_id)
    assert sealed_json.shown(shape["output"]) == f'"{MASK}"'
    assert MASK in sealed_json.shown(before["input"]) and MASK in sealed_json.shown(after["output"])


INDIRECT: dict[str, list[dict[str, Any]]] = {
    "by a filter": [fields("copy", key="{{ vars.KEY }}"), fields("shape", key="{{ copy.key | upcase }}")],
    "by a query": [query("shape", "{{ vars.KEY }}", "reverse(@)")],
    "by a query of a copy": [fields("copy", key="{{ vars.KEY }}"), query("shape", "{{ copy }}", "reverse(key)")],
    "after a wait": [fields("copy", key="{{ vars.KEY }}"), WAIT, query("shape", "{{ copy.key }}", "reverse(@)")],
}


@pytest.mark.parametrize("steps", INDIRECT.values(), ids=INDIRECT)
def test_what_is_computed_with_a_copy_of_a_secret_is_masked_too(
    product: Installation, stub: Stub, steps: list[dict[str, Any]]
) -> None:
    made = with_secret(product, [*steps, WAIT, post("send", x_it="{{ shape | json }}")])

    execution_id = made.start("it", {"url": stub.url})
    execution = made.wait(execution_id)

    assert execution["status"] == Status.SUCCESS, execution
    [sent] = stub.requests
    result = next(iter(json.loads(sent.headers["x-it"]).values()))
    assert result in (SECRET.upper(), SECRET[::-1])
    assert result not in shown(made, execution_id)


@pytest.mark.parametrize(
    "expression", ["{{ trigger.body.name | upcase }}", "{{ vars.PLAIN | upcase }}", "{{ copy.name | upcase }}"]
)
def test_what_is_computed_without_a_secret_is_shown(product: Installation, expression: str) -> None:
    steps = [
        fields("copy", name="{{ trigger.body.name }}"),
        fields("shape", name=expression, kept="Bearer {{ vars.KEY }}"),
    ]
    made = with_secret(product, steps)
    product.call("harness.factory.make_variable", str(made.project), "PLAIN", "ada")

    execution_id = made.start("it", {"name": "ada"})

    assert made.wait(execution_id)["status"] == Status.SUCCESS
    output = json.loads(sealed_json.shown(made.step_runs(execution_id)[1]["output"]))
    assert output == {"name": "ADA", "kept": f"Bearer {MASK}"}


def test_a_header_that_holds_a_secret_is_masked_wherever_it_came_from(product: Installation, stub: Stub) -> None:
    headers = {"Authorization": "Bearer {{ trigger.body.token }}", "X_Plain": "{{ trigger.body.token }}"}
    made = make(product, {"it": [post("send", **headers)]})

    execution_id = made.start("it", {"url": stub.url, "token": "a-token-of-the-sender"})
    assert made.wait(execution_id)["status"] == Status.SUCCESS

    recorded = json.loads(made.step_runs(execution_id)[0]["input"])["headers"]
    assert recorded == [{"name": "Authorization", "value": MASK}, {"name": "X-Plain", "value": "a-token-of-the-sender"}]
    assert stub.requests[0].headers["authorization"] == "Bearer a-token-of-the-sender"


TYPED = {
    "Authorization": "Bearer typed-t0ken-0815",
    "authorization": f"Basic {b64encode(b'ada:typed-passw0rd').decode()}",
    "X-Api-Key": "typed-t0ken-0815",
    "api_key": "typed-t0ken-0815",
    "X-Auth-Token": "typed-t0ken-0815",
    "Cookie": "session=typed-t0ken-0815; theme=dark-blue",
    "Ocp-Apim-Subscription-Key": "typed-t0ken-0815",
}


BODIES: dict[str, Any] = {
    "object": ("json", {"grant": {"client_secret": "typed-t0ken-0815", "scope": "read-all-of-it"}}),
    "form": ("form", "client_secret=typed-t0ken-0815\nscope=read-all-of-it"),
    "pairs": ("form", {"password": "typed-t0ken-0815", "scope": "read-all-of-it"}),
}


@pytest.mark.parametrize(("kind", "body"), BODIES.values(), ids=BODIES)
def test_a_secret_that_was_typed_into_a_body_or_beside_a_template_is_masked(
    product: Installation, stub: Stub, kind: str, body: Any
) -> None:
    step = post("send", Authorization="Token beside-t0ken-4711{{ trigger.body.name }}")
    step["input"] |= {"body_type": kind, "body": body}
    made = make(product, {"it": [step]})
    stub.answer(body={"echo": "typed-t0ken-0815, beside-t0ken-4711 and read-all-of-it"})

    execution_id = made.start("it", {"url": stub.url, "name": "x"})

    assert made.wait(execution_id)["status"] == Status.SUCCESS
    assert b"typed-t0ken-0815" in stub.requests[0].body
    text = shown(made, execution_id)
    assert "t0ken" not in text and text.count("read-all-of-it") == 2


@pytest.mark.parametrize(("name", "value"), TYPED.items(), ids=TYPED)
def test_a_secret_that_was_typed_into_a_step_is_masked_and_still_sent(
    product: Installation, stub: Stub, name: str, value: str
) -> None:
    step = post("send", **{name: value, "Accept": "text/typed", "Idempotency_Key": "typed-is-plain"})
    made = make(product, {"it": [step, WAIT, fields("copy", said="{{ send.body.echo }}")]})
    secret = "typed-passw0rd" if "Basic" in value else "typed-t0ken-0815"
    stub.answer(body={"echo": f"got {secret} of {value}"})

    execution_id = made.start("it", {"url": stub.url})
    execution = made.wait(execution_id)

    assert execution["status"] == Status.SUCCESS
    assert stub.requests[0].headers[name.replace("_", "-").lower()] == value
    text = shown(made, execution_id)
    assert secret not in text and value not in text
    assert "text/typed" in text and "typed-is-plain" in text
