"""Data that strangers choose costs its own execution, and nobody else's.

Each test runs beside another organization's e-mail and call that must never be repeated.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from executions.states import Status
from harness.automations import EMAIL, Made, call, make
from harness.installation import Installation
from tests.support.smtp import Smtp
from tests.support.stub import Stub

SLOW = "{% for i in (1..9999) %}" + "{% if i == 0 %}{% endif %}" * 300 + "{% endfor %}"


def template(text: str) -> list[dict[str, Any]]:
    return [{"key": "make", "connector": "transform", "action": "template", "input": {"template": text}}]


def query(expression: str) -> list[dict[str, Any]]:
    given = {"source": "{{ trigger.body.x }}", "query": expression}
    return [{"key": "find", "connector": "transform", "action": "query", "input": given}]


def conditions(count: int) -> dict[str, Any]:
    return {"any": [{"path": "trigger.body", "op": "contains", "value": f"z{number}"} for number in range(count)]}


def only_if(count: int) -> list[dict[str, Any]]:
    given = {"conditions": conditions(count)}
    return [{"key": "only_if", "connector": "condition", "action": "continue_if", "input": given}]


def doubled(times: int) -> list[dict[str, Any]]:
    """Return steps of which each puts the output of the one before twice into its own."""
    sources = ["trigger.body", *(f"s{number}" for number in range(times))]
    return [
        {"key": f"s{number}", "connector": "transform", "action": "fields",
         "input": {"fields": dict.fromkeys("ab", "{{ " + source + " }}")}}
        for number, source in enumerate(sources[:-1])
    ]  # fmt: skip


READ = template("{{ call.body }}!")
HOSTILE: dict[str, list[dict[str, Any]]] = {
    "answer": [call(), *READ],
    "date": template("{{ trigger.body.x | date: '%Y' }}"),
    "replace": template("{{ trigger.body.text | replace: '@', trigger.body.name }}"),
    "join": template("{{ trigger.body.list | join: trigger.body.name }}"),
    "slow": template(SLOW),
    "loops": template("{% for i in (1..9999) %}{% if i == 0 %}{% endif %}{% endfor %}" * 150),
    "tags": template("{{ trigger.body.x | strip_html | escape_once | url_encode | size }}"),
    "22": query("|".join(["[@,@]"] * 22)),
    "27": query("|".join(["[@,@]"] * 27)),
    "compared": query("|".join(["[@,@]"] * 26) + "|@ == [@[0], @[1]]"),
    "sorted": query("|".join(["[@,@][]"] * 19) + "|sort_by(@, &to_string(@))"),
    "conditions": only_if(100),
    "too many conditions": only_if(1000),
    "doubled": doubled(40),
}
SPACES, NAME = " " * 1_000_000, "n" * 2200


@pytest.fixture(scope="session")
def hostile(shared_product: Installation) -> Made:
    return make(shared_product, HOSTILE)


@pytest.fixture(scope="session")
def neighbour(shared_product: Installation) -> Made:
    return make(shared_product, {"once": [call(if_interrupted="never_repeat")], "email": [EMAIL]})


@contextmanager
def beside(neighbour: Made, stub: Stub, smtp: Smtp) -> Iterator[None]:
    """Have calls and e-mails of a neighbour under way, and check that each is done exactly once."""
    stub.answer(path="/slow", delay=2)
    engines = neighbour.installation.query("SELECT id FROM executions_engine WHERE NOT is_quarantine")
    ids = [neighbour.start("once", {"url": f"{stub.url}/slow", "n": number}) for number in range(3)]
    stub.wait_for(3)
    yield
    ids += [neighbour.start("email") for _ in range(3)]
    ended = [neighbour.wait(id, within=60) for id in ids]
    assert {(one["status"], one["claim"]) for one in ended} == {(Status.SUCCESS, 1)}
    assert len([one for one in stub.requests if one.path == "/slow"]) == 3
    assert len(smtp.mails) == 3
    assert neighbour.installation.query("SELECT id FROM executions_engine WHERE NOT is_quarantine") == engines


def big(text: str) -> dict[str, Any]:
    return {"x": text}


CASES: dict[str, tuple[str, dict[str, Any], Status, str]] = {
    "date over a megabyte of spaces": ("date", big(SPACES), Status.SUCCESS, ""),
    "replace": ("replace", {"text": "@" * 900_000, "name": NAME}, Status.FAILED, "mapping_error"),
    "join": ("join", {"list": ["@"] * 400_000, "name": NAME}, Status.FAILED, "mapping_error"),
    "loops in loops": ("slow", {}, Status.FAILED, "compute_time"),
    "loops after loops": ("loops", {}, Status.FAILED, "compute_time"),
    "much HTML": ("tags", big('<a x="&' * 10_000), Status.SUCCESS, ""),
    "22 levels": ("22", big("x"), Status.FAILED, "too_large_to_compute"),
    "27 levels": ("27", big("x"), Status.FAILED, "too_large_to_compute"),
    "26 levels, compared": ("compared", big("x"), Status.FAILED, "too_large_to_compute"),
    "19 levels, sorted": ("sorted", {"x": [["x"] * 20] * 20}, Status.FAILED, "too_large_to_compute"),
    "100 conditions": ("conditions", big("x" * 2_500_000), Status.SUCCESS, "condition_ended"),
    "1,000 conditions": ("too many conditions", big("x" * 2_500_000), Status.FAILED, "invalid_input"),
    "40 steps that double": ("doubled", big("x"), Status.FAILED, "mapping_error"),
}


@pytest.mark.parametrize("case", CASES)
def test_hostile_data_ends_its_own_execution_alone(
    hostile: Made, neighbour: Made, stub: Stub, smtp: Smtp, case: str
) -> None:
    name, body, status, code = CASES[case]

    with beside(neighbour, stub, smtp):
        ended = hostile.wait(hostile.start(name, body), within=60)

    # A slow machine reaches the limit of time before that of memory.
    codes = {code, "compute_time"} if code == "too_large_to_compute" else {code}
    assert (ended["status"], ended["claim"]) == (status, 1), ended["reason"]
    assert ended["reason_code"] in codes, ended["reason"]


@pytest.mark.parametrize(
    ("kind", "body", "read"),
    [
        ("text/plain; charset=punycode", b"a" * 200_000 + b"-" + b"a" * 200_000, None),
        ("text/plain; charset=unicode_escape", rb"\N{DIGIT ONE}" * 50_000, None),
        ("application/json", b"[" * 1000 + b"]" * 1000, None),
        ("application/json", b'{"a":' * 5_000 + b"1" + b"}" * 5_000, None),
        ("application/json", b"[" + b"[]," * 1_500_000 + b"[]]", "mapping_error"),
    ],
    ids=["punycode", "unicode_escape", "1,000 levels", "5,000 levels", "1,500,000 lists"],
)
def test_hostile_answer_is_read_as_text(
    hostile: Made, neighbour: Made, stub: Stub, smtp: Smtp, kind: str, body: bytes, read: str | None
) -> None:
    stub.answer(body=body, path="/hostile", headers={"Content-Type": kind})

    with beside(neighbour, stub, smtp):
        ended = hostile.wait(hostile.start("answer", {"url": f"{stub.url}/hostile"}), within=60)

    assert (ended["reason_code"], ended["claim"]) == (read or "", 1), ended["reason"]
    assert ended["status"] == (Status.FAILED if read else Status.SUCCESS)


@pytest.mark.parametrize(("count", "status", "code"), [(100, 200, ""), (1000, 422, "conditions_not_computed")])
def test_conditions_of_a_trigger_are_bounded(
    product: Installation, neighbour: Made, stub: Stub, smtp: Smtp, count: int, status: int, code: str
) -> None:
    trigger = {"conditions": conditions(count)}
    made = make(product, {"guarded": template("x")}, trigger=trigger)

    with beside(neighbour, stub, smtp):
        answers = [made.post("guarded", big("x" * 2_500_000)) for _ in range(4)]

    assert {answered for answered, _ in answers} == {status}
    assert {answer.get("error", {}).get("code", "") for _, answer in answers} == {code}
