"""Why an execution is Pending, on its page, in the pop-up and in the log; and the Throttle switch."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from automations.models import Automation
from executions.log import pending
from executions.models import Engine, Execution
from executions.models.pace import Pace
from executions.states import Lane, Status
from projects.models import Organization
from tests.support.markup import compact
from tests.support.pages import text_of, url_of

pytestmark = pytest.mark.django_db

type MakeExecution = Callable[..., Execution]
LATER = datetime(2099, 5, 4, 3, 2, 1, tzinfo=UTC)


@pytest.fixture
def engine(db: None) -> Engine:
    return Engine.objects.create(host="here", boot_id="b", pid=1)


@pytest.fixture
def pace(organization: Organization) -> Pace:
    """Let the organization's last throttled start be one that makes the next ones due in the far future."""
    Organization.objects.filter(pk=organization.pk).update(throttle_rate=0.5)
    return Pace.objects.create(pk=organization.pk, throttle_at=LATER - timedelta(seconds=2), direct_minute=LATER)


@pytest.fixture
def line(make_execution: MakeExecution) -> list[Execution]:
    """Return three throttled executions in the order of their start, which is not that of their ids."""
    made = [make_execution(lane=Lane.THROTTLED) for _ in range(3)]
    for execution, seconds in zip(made, (3, 1, 2), strict=True):
        execution.run_at = timezone.now() - timedelta(seconds=60 - seconds)
        execution.save()
    return [made[1], made[2], made[0]]


@pytest.mark.usefixtures("engine", "pace")
def test_page_says_place_and_expected_start_when_throttled(visitor: Client, line: list[Execution]) -> None:
    shown = text_of(visitor, url_of(line[2]))

    assert "Throttled: all throttled automations of Acme share 0.5 starts per second." in shown
    assert "<dt>Place in line</dt><dd>3</dd>" in shown
    assert "<dt>Expected start</dt><dd>04 May 2099, 03:02:05 UTC,<relative-time" in shown
    assert "The execution starts by itself" in shown


@pytest.mark.usefixtures("engine", "pace")
def test_place_counts_only_what_waits_in_the_same_line(
    visitor: Client, line: list[Execution], make_execution: MakeExecution, stranger: User
) -> None:
    Execution.objects.filter(pk=line[0].pk).update(status=Status.RUNNING)
    early = timezone.now() - timedelta(days=1)
    make_execution(lane=Lane.DIRECT, run_at=early)
    make_execution(lane=Lane.THROTTLED, run_at=early, organization_id=Organization.objects.get(name="Other").pk)

    assert "<dt>Place in line</dt><dd>2</dd>" in text_of(visitor, url_of(line[2]))


@pytest.mark.usefixtures("engine")
def test_next_in_line_starts_now_when_the_rate_has_not_been_used(visitor: Client, line: list[Execution]) -> None:
    found = pending.why_pending(line[0])

    assert found is not None
    assert found.place == 1
    assert found.expected_start is not None
    assert abs(found.expected_start - timezone.now()) < timedelta(seconds=30)


@pytest.mark.usefixtures("engine", "pace")
def test_place_is_not_counted_beyond_a_limit(
    visitor: Client, log_url: str, line: list[Execution], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pending, "PLACES", 2)
    monkeypatch.setattr(pending, "PLACES_IN_LOG", 2)

    shown = text_of(visitor, url_of(line[2]))
    assert "<dt>Place in line</dt><dd>2+</dd>" in shown
    assert "<dt>Expected start</dt><dd>after 04 May" in shown
    assert "Throttled, place 2+, starts after 04 May 2099, 03:02:05 UTC" in text_of(visitor, log_url)


@pytest.mark.usefixtures("engine", "pace")
def test_page_is_drawn_again_when_the_line_moves_on(visitor: Client, line: list[Execution]) -> None:
    address = f"/projects/{line[1].project_id}/executions/{line[1].pk}/"
    found = re.search(r"seen=([^&\"]+)", text_of(visitor, url_of(line[1])))
    assert found is not None
    seen = f"{address}?attempt=1&seen={found[1]}"
    assert visitor.get(seen, headers={"HX-Request": "true", "HX-Request-Type": "partial"}).status_code == 204

    Execution.objects.filter(pk=line[0].pk).update(status=Status.SUCCESS)

    answer = visitor.get(seen, headers={"HX-Request": "true", "HX-Request-Type": "partial"})
    assert "<dt>Place in line</dt><dd>1</dd>" in compact(answer.content.decode())


@pytest.mark.usefixtures("engine", "pace")
def test_expected_start_follows_the_rate_when_it_is_changed(
    visitor: Client, line: list[Execution], organization: Organization
) -> None:
    Organization.objects.filter(pk=organization.pk).update(throttle_rate=0.25)

    assert "Expected start</dt><dd>04 May 2099, 03:02:11 UTC" in text_of(visitor, url_of(line[2]))


@pytest.mark.usefixtures("engine")
def test_page_says_when_the_direct_starts_of_a_minute_are_used_up(
    visitor: Client, log_url: str, make_execution: MakeExecution
) -> None:
    reason = "The organization has used up its 5,000 direct starts of this minute."
    execution = make_execution(run_at=LATER, reason_code="direct_limit", reason=reason)

    shown = text_of(visitor, url_of(execution))

    assert shown.count(reason) == 1
    assert "Expected start</dt><dd>04 May 2099, 03:02:01 UTC" in shown
    assert "Direct starts used up, starts about 04 May 2099, 03:02:01 UTC" in text_of(visitor, log_url)


@pytest.mark.usefixtures("engine")
def test_the_limit_is_not_named_when_its_minute_has_come(visitor: Client, make_execution: MakeExecution) -> None:
    shown = text_of(visitor, url_of(make_execution(reason_code="direct_limit", reason="Used up.")))

    assert "Used up." not in shown
    assert "The execution waits for a free worker." in shown


@pytest.mark.usefixtures("engine")
def test_a_suspect_waits_for_a_worker_of_its_own(visitor: Client, make_execution: MakeExecution) -> None:
    shown = text_of(visitor, url_of(make_execution(suspicion=2)))

    assert "This execution waits for a separate worker, because its worker died twice." in shown


def test_no_worker_is_what_it_waits_for_first(visitor: Client, line: list[Execution]) -> None:
    shown = text_of(visitor, url_of(line[0]))

    assert "No worker is running" in shown
    assert "Place in line" not in shown


@pytest.mark.parametrize("status", [status for status in Status if status is not Status.PENDING])
def test_nothing_is_waited_for_when_it_is_not_pending(make_execution: MakeExecution, status: Status) -> None:
    assert pending.why_pending(make_execution(status=status, lane=Lane.THROTTLED)) is None


@pytest.mark.usefixtures("engine", "pace")
def test_rows_of_the_log_follow_the_line(visitor: Client, log_url: str, line: list[Execution]) -> None:
    shown = text_of(visitor, log_url)
    assert [f"place {place}, starts about" in shown for place in (1, 2, 3, 4)] == [True, True, True, False]
    rows = ",".join(f"{execution.pk}:{execution.rev}" for execution in line[1:])

    Execution.objects.filter(pk=line[0].pk).update(status=Status.SUCCESS)

    answer = visitor.get(f"{log_url}delta/?rows={rows}")
    assert "Throttled, place 1, starts about" in compact(answer.content.decode())


@pytest.mark.usefixtures("engine", "pace")
def test_log_takes_the_same_queries_when_many_wait(
    visitor: Client, log_url: str, make_execution: MakeExecution, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    for _ in range(30):
        make_execution(lane=Lane.THROTTLED)

    with django_assert_num_queries(8):
        visitor.get(log_url)


def settings_of(automation: Automation) -> str:
    return f"/projects/{automation.project_id}/automations/{automation.pk}/settings/"


SETTINGS = {"name": "Orders", "description": "", "time_limit_s": "300"}


def test_throttle_is_switched_while_live(visitor: Client, automation: Automation) -> None:
    before = automation.live_rev

    assert visitor.post(settings_of(automation), SETTINGS | {"is_throttled": "on"}).status_code == 302
    automation.refresh_from_db()
    assert (automation.is_throttled, automation.is_active) == (True, True)
    assert automation.live_rev > before  # the trigger URL must notice

    assert visitor.post(settings_of(automation), SETTINGS).status_code == 302
    automation.refresh_from_db()
    assert automation.is_throttled is False


def test_switch_says_whose_rate_it_is_and_where_it_is_set(visitor: Client, automation: Automation) -> None:
    Organization.objects.filter(pk=automation.organization_id).update(throttle_rate=2.5)

    shown = visitor.get(f"/projects/{automation.project_id}/automations/{automation.pk}/").content.decode()

    assert "all throttled automations of Acme share: 2.5 per second" in shown
    assert f'href="/settings/organization/{automation.organization_id}/#throttle"' in shown


def test_switch_says_that_a_response_step_is_never_throttled(
    visitor: Client, make_automation: Callable[..., Automation]
) -> None:
    reply = {"key": "reply", "connector": "response", "action": "send", "input": {"body": "ok"}}
    automation = make_automation("Replying", steps=[reply], uid=uuid.uuid4())

    shown = visitor.get(f"/projects/{automation.project_id}/automations/{automation.pk}/").content.decode()

    assert "This automation is never throttled, because its Response step" in shown
