"""Text that looks like a sealed value, sent by strangers, remote servers and builders: it is text and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from harness.automations import WAIT, call, make
from harness.installation import Installation
from tests.support.stub import Stub

OLD = "\ue000sealed:AAAA\ue001"
FORGED = [
    OLD,
    "\ue000",
    "\ue000\ue000",
    "\ue000=AgAAAA\ue000",
    "\ue0002\ue000",
    "\ue000AgAAAA\ue000 and \ue000sealed:",
    "\\ue000sealed:AAAA\\ue001",
    "\uf8ff\ue001\U000f0000",
]
ECHO = {"key": "reply", "connector": "response", "action": "send", "input": {"body": "{{ trigger.body }}"}}


def stored_secret(installation: Installation, project: Any) -> str:
    """Give the project a secret variable; return its ciphertext, as a backup or a look into the database shows it."""
    installation.call("harness.factory.make_variable", str(project), "TOKEN", "s3cr3t-value", is_secret=True)
    sql = "SELECT encrypted FROM projects_variable WHERE project_id = %s"
    return str(installation.query(sql, [project])[0]["encrypted"])


def test_a_forged_seal_in_a_reply_stops_nobodys_replies(product: Installation) -> None:
    forger = make(product, {"forged": [{**ECHO, "input": {"body": OLD}}]})
    other = make(product, {"echo": [ECHO]})

    assert forger.post("forged") == (200, OLD)
    assert other.post("echo", {"x": 1}) == (200, {"x": 1})


@pytest.mark.parametrize("text", FORGED)
def test_a_sender_gets_back_what_it_sent(product: Installation, text: str) -> None:
    made = make(product, {"echo": [ECHO], "later": [WAIT, ECHO]})
    body = {"x": text, text: [text, {"in": f"a{text}b{text}"}]}

    assert made.post("echo", body) == (200, body)
    assert made.post("later", body) == (200, body)  # read again from the database, by another claim


def test_a_stored_secret_pasted_into_a_request_is_not_opened(product: Installation) -> None:
    owner = make(product, {"echo": [ECHO]})
    thief = make(product, {"echo": [ECHO], "later": [WAIT, ECHO]})
    encrypted = stored_secret(product, owner.project)

    for text in (f"\ue000sealed:{encrypted}\ue001", f"\ue000{encrypted}\ue000", f"\ue000={encrypted}\ue000"):
        for name in ("echo", "later"):
            assert thief.post(name, {"x": text}) == (200, {"x": text})


@pytest.mark.parametrize("text", FORGED)
def test_a_variable_and_a_builders_field_stay_text(product: Installation, text: str) -> None:
    shape = {"key": "shape", "connector": "transform", "action": "fields",
             "input": {"fields": {"typed": text, "variable": "{{ vars.ODD }}", text: "x{{ vars.ODD }}"}}}  # fmt: skip
    reply = {"key": "reply", "connector": "response", "action": "send", "input": {"body": "{{ shape }}"}}
    made = make(product, {"say": [shape, WAIT, reply]})
    product.call("harness.factory.make_variable", str(made.project), "ODD", text)
    product.call("harness.factory.make_variable", str(made.project), "TOKEN", "s3cr3t-value", is_secret=True)

    assert made.post("say") == (200, {"typed": text, "variable": text, text: f"x{text}"})


@pytest.mark.parametrize("text", FORGED)
def test_what_a_remote_server_answers_stays_text(product: Installation, stub: Stub, text: str) -> None:
    reply = {"key": "reply", "connector": "response", "action": "send", "input": {"body": "{{ call.body }}"}}
    made = make(product, {"relay": [call(), WAIT, reply]})
    stub.answer(body={"said": text, text: text}, path="/said")

    assert made.post("relay", {"url": stub.url + "/said"}) == (200, {"said": text, text: text})
