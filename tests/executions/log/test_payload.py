"""A step's input and output: shown, coloured, shortened, masked and downloaded."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from executions import sealed_json
from executions.models import Execution, Payload, StepRun
from executions.secret_forms import Mask
from projects import sealing
from tests.support.pages import TRIGGER, text_of, url_of

pytestmark = pytest.mark.django_db

type MakeStep = Callable[..., StepRun]


def test_a_trigger_has_only_an_input(visitor: Client, failed: Execution) -> None:
    shown = text_of(
        visitor, url_of(failed, "steps/0/trigger/input/"), **{"HX-Request": "true", "HX-Request-Type": "partial"}
    )

    assert "Output" not in shown
    assert "12345678901234567890123" in shown
    assert visitor.get(url_of(failed, "steps/0/trigger/output/")).status_code == 404


def test_a_failed_step_shows_error_status_and_body(visitor: Client, failed: Execution) -> None:
    shown = text_of(
        visitor, url_of(failed, "steps/1/fetch/output/"), **{"HX-Request": "true", "HX-Request-Type": "partial"}
    )

    assert all(part in shown for part in ("answered 503.", "503", "maintenance", "Copy", "Download", "Wrap"))


def test_a_payload_is_never_markup(visitor: Client, failed: Execution) -> None:
    answer = visitor.get(
        url_of(failed, "steps/0/trigger/input/"), headers={"HX-Request": "true", "HX-Request-Type": "partial"}
    )

    assert b"<b>" not in answer.content
    assert b"&lt;b&gt;" in answer.content


def test_a_download_is_exact_and_an_attachment(visitor: Client, failed: Execution) -> None:
    answer = visitor.get(url_of(failed, "steps/0/trigger/input/?download"))

    assert json.loads(answer.content) == TRIGGER
    assert answer["Content-Type"] == "application/json"
    assert answer["Content-Disposition"] == f'attachment; filename="{failed.pk}-0-trigger-input.json"'
    assert answer["X-Content-Type-Options"] == "nosniff"


def test_secrets_are_masked_on_the_page_and_in_the_download(
    visitor: Client, failed: Execution, make_step: MakeStep
) -> None:
    text = sealed_json.sealed({"echo": "key is s3cr3t-value"}, [Mask(["s3cr3t-value"])], failed.pk)
    make_step(failed, "echo", output=text, output_bytes=len(text))

    for rest in ("steps/1/echo/output/", "steps/1/echo/output/?download"):
        shown = text_of(visitor, url_of(failed, rest))
        assert f"key is {sealing.MASK}" in shown
        assert "s3cr3t-value" not in shown
        assert sealed_json.MARK not in shown


@pytest.mark.parametrize(
    ("size", "is_coloured", "is_whole"), [(20_000, True, True), (100_000, False, True), (300_000, False, False)]
)
def test_a_payload_is_coloured_then_plain_then_an_excerpt(
    visitor: Client, failed: Execution, make_step: MakeStep, *, size: int, is_coloured: bool, is_whole: bool
) -> None:
    text = sealed_json.dumps({"text": "x" * (size - 50) + "END"})
    stored = text if is_whole else text[: sealed_json.EXCERPT]
    make_step(failed, "big", output=stored, output_bytes=len(text))
    if not is_whole:
        key: dict[str, Any] = {"attempt": 1, "key": "big", "side": "output"}
        Payload.objects.create(execution=failed, organization_id=failed.organization_id, body=text, **key)

    answer = visitor.get(
        url_of(failed, "steps/1/big/output/"), headers={"HX-Request": "true", "HX-Request-Type": "partial"}
    ).content.decode()
    download = visitor.get(url_of(failed, "steps/1/big/output/?download"))

    assert ('<span class="nt">' in answer) is is_coloured
    assert ("END" in answer) is is_whole
    assert ("shown" in answer) is not is_whole
    assert json.loads(download.content) == json.loads(text)


@pytest.mark.parametrize(
    "rest",
    [
        "steps/2/fetch/input/", "steps/1/unknown/input/", "steps/1/fetch/sideways/", "steps/1/trigger/input/",
        "steps/1/fetch/input/?iteration=%00", "steps/99999999999999999999/fetch/input/", "steps/1/trigger/output/",
    ],
)  # fmt: skip
def test_a_payload_that_is_not_there_is_not_found(visitor: Client, failed: Execution, rest: str) -> None:
    assert visitor.get(url_of(failed, rest)).status_code == 404


def test_a_payload_is_a_page_without_scripts(visitor: Client, failed: Execution) -> None:
    assert "<html" in text_of(visitor, url_of(failed, "steps/0/trigger/input/"))
