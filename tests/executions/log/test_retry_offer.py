"""What the page of an execution says of a retry before the click."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from automations.models import Automation
from executions.models import Execution
from tests.support.pages import text_of, url_of

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(("attempt", "words"), [(1, "2 of 2 retries left"), (2, "1 of 2 retries left")])
def test_a_retry_says_how_many_are_left(visitor: Client, failed: Execution, *, attempt: int, words: str) -> None:
    Execution.objects.filter(pk=failed.pk).update(attempt=attempt)

    assert words in text_of(visitor, url_of(failed))


def test_at_the_limit_the_payload_can_be_copied_as_curl(
    visitor: Client, failed: Execution, automation: Automation
) -> None:
    Execution.objects.filter(pk=failed.pk).update(attempt=3)
    secret = automation.rotate_secret()

    page = text_of(visitor, url_of(failed))

    assert "Retry Execution" not in page
    assert "Both retries of this execution are used up" in page
    trigger = automation.trigger
    assert trigger is not None
    assert f"curl -X POST '{trigger.url}?from=shop' -H 'ah-http-key: <secret>'" in page
    assert """--data-raw '{"id":7,"name":"O'"'"'Hara <b>","big":12345678901234567890123}'""" in page
    assert secret not in page


@pytest.mark.parametrize(
    ("block", "sentence"),
    [
        (lambda automation: automation.deactivate(), "The automation is not active. Activate it, then retry."),
        (
            lambda automation: automation.make_trigger("http", "request"),
            "This execution holds the payload of the trigger configured before; "
            "start a new execution to check the change.",
        ),
    ],
    ids=["deactivated", "trigger replaced"],
)
def test_a_refusal_stands_on_the_page_before_the_click(
    visitor: Client, failed: Execution, automation: Automation, *, block: Callable[[Automation], Any], sentence: str
) -> None:
    block(automation)

    page = text_of(visitor, url_of(failed))

    assert sentence in page
    assert "Retry Execution" not in page
