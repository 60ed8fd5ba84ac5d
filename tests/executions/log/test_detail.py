from __future__ import annotations

import html
import json
import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries, Settings

from automations.models import Automation, Version
from executions import sealed_json as encoding
from executions.models import Engine, Execution, Payload, StepRun
from executions.states import Status, StepStatus
from projects import sealing

pytestmark = pytest.mark.django_db

type MakeExecution = Callable[..., Execution]
type MakeStep = Callable[..., StepRun]

TRIGGER: dict[str, Any] = {
    "method": "POST", "query": {"from": "shop"}, "headers": {"content-type": "application/json"},
    "body": {"id": 7, "name": "O'Hara <b>", "big": 12345678901234567890123},
}  # fmt: skip


@pytest.fixture
def visitor(client: Client, builder: User) -> Client:
    client.force_login(builder)
    return client


@pytest.fixture
def make_step() -> MakeStep:
    def make(execution: Execution, key: str, **fields: Any) -> StepRun:
        now = timezone.now()
        values: dict[str, Any] = {
            "execution": execution, "key": key, "attempt": 1, "organization_id": execution.organization_id,
            "position": 1, "status": StepStatus.SUCCESS, "connector": "http", "action": "request", "title": key.title(),
            "started_at": now, "finished_at": now + timedelta(milliseconds=40), "input": "{}", "input_bytes": 2,
        }  # fmt: skip
        return StepRun.objects.create(**values | fields)

    return make


@pytest.fixture
def failed(make_execution: MakeExecution, make_step: MakeStep) -> Execution:
    now = timezone.now()
    execution = make_execution(
        status=Status.FAILED, reason_code="http_status", reason="Step “Fetch” failed: answered 503.",
        started_at=now, finished_at=now + timedelta(milliseconds=40), steps=1, connectors="http",
    )  # fmt: skip
    text = encoding.dumps(TRIGGER)
    make_step(
        execution, "trigger", attempt=0, position=0, title="Trigger", action="request", input=text,
        input_bytes=len(text),
    )  # fmt: skip
    output = '{"status":503,"body":"maintenance"}'
    make_step(
        execution, "fetch", status=StepStatus.FAILED, error="answered 503.", error_code="http_status",
        is_external=True, output=output, output_bytes=len(output),
    )  # fmt: skip
    return execution


def url_of(execution: Execution, rest: str = "") -> str:
    return f"/projects/{execution.project_id}/executions/{execution.pk}/{rest}"


def text_of(client: Client, url: str, **headers: str) -> str:
    answer = client.get(url, headers=headers)
    assert answer.status_code == 200, url
    return re.sub(r"\s+", " ", html.unescape(answer.content.decode()))


@pytest.mark.parametrize("status", [Status.PAUSED, Status.FAILED])
def test_an_execution_whose_version_cannot_be_read_is_shown_all_the_same(
    visitor: Client, make_execution: MakeExecution, status: Status
) -> None:
    execution = make_execution(status=status, reason="Its version cannot be read by this release.")
    Version.objects.update(definition={"format": 2})

    assert execution.reason in text_of(visitor, url_of(execution))


def test_the_pop_up_and_the_page_are_one_partial(visitor: Client, failed: Execution) -> None:
    page = text_of(visitor, url_of(failed))
    fragment = text_of(visitor, url_of(failed), **{"HX-Request": "true", "HX-Request-Type": "partial"})

    assert "<!doctype html>" in page
    assert "<!doctype html>" not in fragment
    for part in (f'id="detail-{failed.pk}"', 'id="step-fetch"', 'aria-label="Code"', "Retry Execution", "2 of 2 left"):
        assert part in page
        assert part in fragment


def test_restored_history_is_a_whole_page(visitor: Client, failed: Execution) -> None:
    headers = {"HX-Request": "true", "HX-History-Restore-Request": "true"}

    assert "<!doctype html>" in text_of(visitor, url_of(failed), **headers)


def test_a_failure_says_why_and_what_to_do(visitor: Client, failed: Execution, settings: Settings) -> None:
    settings.SUPPORT_EMAIL = "help@example.com"

    page = text_of(visitor, url_of(failed))

    assert "Step “Fetch” failed: answered 503." in page
    assert "The cause lies outside AgentOS. When the other side is well again, retry." in page
    assert f"mailto:help@example.com?subject=Execution%20{failed.pk}" in page


def test_support_is_not_offered_when_the_cause_is_the_builders(
    visitor: Client, failed: Execution, settings: Settings
) -> None:
    settings.SUPPORT_EMAIL = "help@example.com"
    StepRun.objects.filter(execution_id=failed.pk).update(is_external=False)

    page = text_of(visitor, url_of(failed))

    assert "Contact support" not in page
    assert "Repair the step in the builder, publish the change, then retry." in page


def test_a_success_says_so_and_offers_no_retry(visitor: Client, make_execution: MakeExecution) -> None:
    page = text_of(visitor, url_of(make_execution(status=Status.SUCCESS)))

    assert "Executed successfully, attempt 1" in page
    assert "Retry Execution" not in page


@pytest.mark.parametrize(("attempt", "words"), [(1, "2 of 2 left"), (2, "1 of 2 left")])
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
        (lambda automation: automation.deactivate(), "The automation is not active: activate it, then retry."),
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


def test_every_attempt_stays_readable(visitor: Client, failed: Execution, builder: User, make_step: MakeStep) -> None:
    failed.retry(builder)
    Execution.objects.filter(pk=failed.pk).update(status=Status.SUCCESS)
    make_step(failed, "fetch", attempt=2, title="Fetch again")

    second, first = text_of(visitor, url_of(failed)), text_of(visitor, url_of(failed, "?attempt=1"))

    assert "Executed successfully, attempt 2" in second
    assert "by builder" in second
    assert "Fetch again" in second
    assert "Step “Fetch” failed: answered 503." in first
    assert "Fetch again" not in first
    assert "Retry Execution" not in first


@pytest.mark.parametrize("attempt", ["0", "2", "-1", "x", "9" * 40])
def test_an_attempt_that_never_was_is_not_found(visitor: Client, failed: Execution, attempt: str) -> None:
    assert visitor.get(url_of(failed, f"?attempt={attempt}")).status_code == 404


def test_pending_says_that_no_worker_runs(visitor: Client, make_execution: MakeExecution) -> None:
    assert "No worker is running: start the cluster" in text_of(visitor, url_of(make_execution()))


def test_pending_says_that_it_waits_when_workers_are_busy(visitor: Client, make_execution: MakeExecution) -> None:
    Engine.objects.create(host="here", boot_id="b", pid=1)

    assert "Waits for a free worker" in text_of(visitor, url_of(make_execution()))


def test_a_dead_workers_beat_is_not_believed(visitor: Client, make_execution: MakeExecution) -> None:
    Engine.objects.create(host="here", boot_id="b", pid=1, beat_at=timezone.now() - timedelta(seconds=11))

    assert "No worker is running" in text_of(visitor, url_of(make_execution()))


@pytest.mark.parametrize("status", Status, ids=lambda status: status.name)
def test_only_what_is_under_way_asks_again(visitor: Client, make_execution: MakeExecution, status: Status) -> None:
    page = text_of(visitor, url_of(make_execution(status=status)))

    assert ('hx-trigger="every 2s"' in page) is (status in (Status.PENDING, Status.RUNNING, Status.PAUSED))


def test_asking_again_is_empty_until_something_changes(
    visitor: Client, make_execution: MakeExecution, make_step: MakeStep
) -> None:
    execution = make_execution(status=Status.RUNNING)
    again = re.search(r'hx-get="([^"]+seen=[^"]+)"', text_of(visitor, url_of(execution)))
    assert again

    assert visitor.get(again[1], headers={"HX-Request": "true", "HX-Request-Type": "partial"}).status_code == 204
    make_step(execution, "fetch")
    assert visitor.get(again[1], headers={"HX-Request": "true", "HX-Request-Type": "partial"}).status_code == 200


def test_steps_that_were_not_reached_are_named(visitor: Client, make_execution: MakeExecution) -> None:
    page = text_of(visitor, url_of(make_execution(status=Status.REJECTED)))

    assert re.search(r"Fetch</span><span class=\"end\">Not run", page)


def test_the_page_asks_no_more_for_more_steps(
    visitor: Client, failed: Execution, make_step: MakeStep, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    for number in range(20):
        make_step(failed, f"step_{number}", position=number + 2)

    with django_assert_num_queries(6) as asked:
        visitor.get(url_of(failed))

    statements = [query["sql"] for query in asked.captured_queries]
    assert not any('"input"' in sql or "executions_payload" in sql for sql in statements)


def test_an_execution_is_not_for_others(client: Client, failed: Execution, stranger: User) -> None:
    urls = [url_of(failed), url_of(failed, "steps/0/trigger/input/"), url_of(failed, "steps/0/trigger/input/?download")]
    assert [client.get(url).status_code for url in urls] == [302, 302, 302]
    client.force_login(stranger)

    assert [client.get(url).status_code for url in urls] == [404, 404, 404]


# --- payloads


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
    text = encoding.dumps(encoding.sealed({"echo": "key is s3cr3t-value"}, ["s3cr3t-value"]))
    make_step(failed, "echo", output=text, output_bytes=len(text))

    for rest in ("steps/1/echo/output/", "steps/1/echo/output/?download"):
        shown = text_of(visitor, url_of(failed, rest))
        assert f"key is {sealing.MASK}" in shown
        assert "s3cr3t-value" not in shown
        assert "gAAAA" not in shown


@pytest.mark.parametrize(
    ("size", "is_coloured", "is_whole"), [(20_000, True, True), (100_000, False, True), (300_000, False, False)]
)
def test_a_payload_is_coloured_then_plain_then_an_excerpt(
    visitor: Client, failed: Execution, make_step: MakeStep, *, size: int, is_coloured: bool, is_whole: bool
) -> None:
    text = encoding.dumps({"text": "x" * (size - 50) + "END"})
    stored = text if is_whole else text[: encoding.EXCERPT]
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
    assert "<!doctype html>" in text_of(visitor, url_of(failed, "steps/0/trigger/input/"))
