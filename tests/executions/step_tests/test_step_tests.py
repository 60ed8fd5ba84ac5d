"""The builder's Test of triggers and steps: real calls that count nothing."""

from __future__ import annotations

import json
import resource
from collections.abc import Callable
from typing import Any

import pytest
from django.core import mail
from pytest_django import Settings

from automations.models import StepTest
from executions.models import Execution
from projects.models import Project, UsageDay, UsageMonth, Variable
from tests.support.bench import Bench, step
from tests.support.stub import Stub

pytestmark = pytest.mark.django_db(transaction=True)  # e-mail is counted from a thread of its own

SECRET = "a-secret-nobody-may-see"


def add_secret(project: Project) -> None:
    variable = Variable(project=project, key="API_TOKEN", is_secret=True)
    variable.value = SECRET
    variable.save()


def test_a_step_of_an_installation_that_keeps_quiet_calls_nothing(
    settings: Settings, bench: Callable[..., Bench], stub: Stub
) -> None:
    settings.QUIET = True
    it = bench(step("http", "request", {"method": "GET", "url": stub.url}))

    assert "keeps quiet" in it.test("tested").error
    assert not stub.requests


def test_step_really_calls_and_counts_nothing(bench: Callable[..., Bench], stub: Stub) -> None:
    stub.answer(200, {"id": 7})
    it = bench(step("http", "request", {"method": "POST", "url": f"{stub.url}/orders", "body_type": "json",
                                         "body": {"total": "{{ trigger.body.total }}"}}))  # fmt: skip

    result = it.test("tested")

    assert result.is_success
    assert json.loads(result.output)["body"] == {"id": 7}
    assert stub.requests[0].json() == {"total": 100}
    assert not Execution.objects.exists()
    assert not UsageDay.objects.exists()
    assert not UsageMonth.objects.exclude(reserved=0).exists()


def test_secret_reaches_the_service_and_nobody_else(bench: Callable[..., Bench], stub: Stub, project: Project) -> None:
    add_secret(project)
    stub.answer(200, {"you_sent": SECRET})
    headers = [{"name": "X-Key", "value": "{{ vars.API_TOKEN }}"}]
    it = bench(step("http", "request", {"url": stub.url + "/", "headers": headers}))

    result = it.test("tested")

    assert stub.requests[0].headers["x-key"] == SECRET
    assert SECRET not in result.input + result.output + result.error
    assert "{{ vars.API_TOKEN }}" in result.input
    assert SECRET not in it.page("steps/tested/")


def test_failed_call_says_why_and_keeps_the_answer(bench: Callable[..., Bench], stub: Stub) -> None:
    stub.answer(404, {"message": "no such order"})
    it = bench(step("http", "request", {"url": stub.url + "/", "fail_on_error_status": True}))

    result = it.test("tested")

    assert not result.is_success
    assert json.loads(result.output)["status"] == 404
    page = it.page("steps/tested/")
    assert "no such order" in page
    assert 'data-status="failed"' in page


def test_private_address_is_refused_in_a_test_too(bench: Callable[..., Bench]) -> None:
    result = bench(step("http", "request", {"url": "http://169.254.169.254/"})).test("tested")

    assert not result.is_success
    assert result.output == ""


def test_output_of_a_test_is_the_sample_of_later_steps(bench: Callable[..., Bench], stub: Stub) -> None:
    stub.answer(200, {"customer": {"name": "Grace"}})
    fetch = step("http", "request", {"url": stub.url + "/"}, key="fetch")
    it = bench(fetch, step("transform", "template", {"template": "Dear {{ fetch.body.customer.name }}"}))

    it.test("fetch")

    assert json.loads(it.test("tested").output)["value"] == "Dear Grace"
    assert 'data-insert="fetch.body.customer.name"' in it.page("steps/tested/")


def test_missing_path_is_named(bench: Callable[..., Bench]) -> None:
    result = bench(step("transform", "template", {"template": "{{ trigger.body.absent }}"})).test("tested")

    assert not result.is_success
    assert "trigger.body.absent" in result.error


def test_changed_step_makes_itself_and_what_reads_it_untested(bench: Callable[..., Bench]) -> None:
    first = step("transform", "fields", {"fields": {"a": 1}}, key="first")
    reads = step("transform", "template", {"template": "{{ first.a }}"}, key="reads")
    apart = step("transform", "template", {"template": "first"}, key="apart")
    it = bench(first, reads, apart)
    for key in ("trigger", "first", "reads", "apart"):
        it.test(key, {"method": "POST", "content_type": "application/json", "body": "{}"})
    assert it.page("activate/").count("Not tested") == 0

    definition = it.automation.definition
    definition.steps[0].input["fields"]["a"] = 2  # type: ignore[union-attr]
    it.automation.save_draft(definition, rev=it.automation.draft_rev)

    page = it.page("activate/")
    assert page.count("Not tested since the last change.") == 2 * 2  # in the list, and on the step's card
    assert 'id="node-apart" data-state="tested"' in page


@pytest.mark.parametrize(
    ("tested", "words"),
    [
        (step("wait", "for", {"amount": 3, "unit": "days"}), "The test does not wait."),
        (
            step("condition", "continue_if", {"conditions": {"all": [{"path": "trigger.body.id", "op": "is_empty"}]}}),
            "would end here as a Success",
        ),
        (step("response", "send", {"status": 201, "body": {"ok": True}}), "A test answers nobody."),
    ],
)  # fmt: skip
def test_step_that_steers_an_execution_says_what_it_would_do(
    bench: Callable[..., Bench], tested: dict[str, Any], words: str
) -> None:
    result = bench(tested).test("tested")

    assert result.is_success
    assert words in result.error


def test_email_is_really_sent(bench: Callable[..., Bench]) -> None:
    it = bench(step("email", "send", {"to": "ada@example.com", "subject": "Hello", "text": "{{ trigger.body.id }}"}))

    assert it.test("tested").is_success
    assert mail.outbox[0].to == ["ada@example.com"]
    assert mail.outbox[0].body == "A-17"


def test_unfinished_step_says_what_is_missing(bench: Callable[..., Bench]) -> None:
    result = bench(step("http", "request", {})).test("tested")

    assert not result.is_success
    assert "url" in result.error.lower()


def test_slow_service_ends_the_test_in_time(
    bench: Callable[..., Bench], stub: Stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("executions.step_tests.run.TIME_LIMIT_S", 0.2)
    stub.answer(200, {}, delay=1.5)

    result = bench(step("http", "request", {"url": stub.url + "/"})).test("tested")

    assert not result.is_success
    assert "The step gave no result within 0.2 s" in result.error


def test_test_button_saves_the_form_first(bench: Callable[..., Bench]) -> None:
    it = bench(step("transform", "template", {"template": "old"}))
    form = {"rev": str(it.automation.draft_rev), "step-key": "renamed", "step-on_error": "stop",
            "step-retry_times": "0", "step-retry_backoff_s": "5", "input-template": "new"}  # fmt: skip

    answer = it.client.post(it.root + "steps/tested/test/", form)

    assert answer.headers["Location"].endswith("/steps/renamed/#test-result")
    assert json.loads(StepTest.objects.get(step_key="renamed").output)["value"] == "new"


def test_what_a_test_computes_with_a_secret_keeps_its_shape_and_shows_nothing(
    bench: Callable[..., Bench], project: Project
) -> None:
    add_secret(project)
    shape = step("transform", "fields", {"fields": {"key": "{{ vars.API_TOKEN | upcase }}", "id": "7"}})
    again = step("email", "send", {"to": "{{ vars.API_TOKEN | upcase }}", "subject": "Hello"}, key="again")
    mixed = bench(shape, again)

    assert json.loads(mixed.test("tested").output) == {"key": "••••••••", "id": "••••••••"}
    refused = mixed.test("again")
    assert not refused.is_success and "e-mail address" in refused.error
    for test in StepTest.objects.filter(automation=mixed.automation):
        assert SECRET.upper() not in test.input + test.output + test.error


def test_a_test_masks_a_secret_that_was_typed(bench: Callable[..., Bench], stub: Stub) -> None:
    stub.answer(body={"echo": "Bearer typed-t0ken-0815", "id": 7})
    call = {"method": "GET", "url": stub.url, "headers": {"Authorization": "Bearer typed-t0ken-0815"}}

    test = bench(step("http", "request", call)).test("tested")

    assert stub.requests[0].headers["authorization"] == "Bearer typed-t0ken-0815"
    assert json.loads(test.output)["body"] == {"echo": "••••••••", "id": 7}
    assert "typed-t0ken" not in test.input + test.output + test.error


@pytest.mark.parametrize(
    ("action", "given", "words"),
    [
        ("query", {"source": "x", "query": "|".join(["[@,@]"] * 27)}, "The value is larger than 20 MB."),
        (
            "template",
            {"template": "{% for i in (1..9999) %}" + "{% if i == 0 %}{% endif %}" * 300 + "{% endfor %}"},
            "The template took longer than 2 s.",
        ),
    ],
)
def test_step_that_takes_too_much_is_told_in_words_and_takes_nothing_here(
    bench: Callable[..., Bench], action: str, given: dict[str, Any], words: str
) -> None:
    tested = bench(step("transform", action, given))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    found = tested.test("tested")

    assert (found.is_success, found.error) == (False, words)
    assert words in tested.page("steps/tested/")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50 * 1024  # kilobytes
