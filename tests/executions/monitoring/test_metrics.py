"""/metrics: who may read it, that it is the text format, and that it tells what is so."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries, Settings

from automations.models import Automation
from executions.models import Engine, Execution, Measure, Outcome, ReceiptDay
from executions.monitoring import histograms, prometheus
from executions.states import Lane, Status
from executions.store import measures
from harness.automations import TRANSFORM, make
from harness.installation import Installation
from harness.processes import until
from projects.ids import new_id
from projects.models import Project, UsageDay, this_month
from tests.support.exposition import Metrics

TOKEN = "opens-the-metrics"
BEARER = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture
def scrape(db: None, client: Client, settings: Settings) -> Callable[[], Metrics]:
    settings.METRICS_TOKEN = TOKEN

    def get() -> Metrics:
        answer = client.get("/metrics", headers=BEARER)
        assert (answer.status_code, answer["Content-Type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
        return Metrics(answer.content.decode())

    return get


# --- who may


@pytest.mark.django_db
def test_metrics_have_no_address_until_a_token_is_configured(client: Client, settings: Settings) -> None:
    settings.METRICS_TOKEN = ""

    assert client.get("/metrics", headers={"Authorization": "Bearer "}).status_code == 404


@pytest.mark.django_db
@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer wrong", f"Basic {TOKEN}", TOKEN, f"Bearer {TOKEN}x", "Bearer ü"]
)
def test_metrics_are_refused_to_who_does_not_know_the_token(client: Client, settings: Settings, header: str) -> None:
    settings.METRICS_TOKEN = TOKEN

    answer = client.get("/metrics", headers={"Authorization": header} if header else {})

    assert (answer.status_code, answer["WWW-Authenticate"]) == (401, 'Bearer realm="metrics"')
    assert b"agentos_" not in answer.content and TOKEN.encode() not in answer.content


# --- what they tell


def test_an_empty_installation_tells_zeros(scrape: Callable[[], Metrics]) -> None:
    told = scrape()

    assert told.kinds["agentos_executions_total"] == "counter"
    assert told.labels("agentos_executions_total", "status") == {"success", "failed", "rejected", "partially_executed"}
    assert told.labels("agentos_queue_depth", "lane") == {"sync", "direct", "throttled"}
    assert told.value("agentos_paused") == told.value("agentos_queue_oldest_age_seconds", lane="direct") == 0


def test_executions_and_requests_are_summed_over_days_and_shards(
    scrape: Callable[[], Metrics], project: Project, automation: Automation
) -> None:
    for shard in range(3):
        of = {"organization": project.organization, "day": this_month() - timedelta(days=shard), "shard": shard}
        UsageDay.objects.create(project=project, automation_id=automation.pk, status=Status.FAILED, count=5, **of)
        ReceiptDay.objects.create(automation=automation, outcome=Outcome.DUPLICATE, count=7, **of)

    told = scrape()

    assert told.value("agentos_executions_total", status="failed") == 15
    assert told.value("agentos_requests_total", outcome="duplicate") == 21


def test_queue_tells_depth_and_age_of_each_lane_and_who_is_paused(
    scrape: Callable[[], Metrics], make_execution: Callable[..., Execution]
) -> None:
    hour = timedelta(hours=1)
    make_execution(lane=Lane.DIRECT, run_at=timezone.now() - hour)
    make_execution(lane=Lane.DIRECT, run_at=timezone.now() + hour)
    make_execution(lane=Lane.THROTTLED)
    make_execution(lane=Lane.SYNC, suspicion=2)
    for _ in range(4):
        make_execution(lane=Lane.DIRECT, status=Status.PAUSED, run_at=timezone.now() - 2 * hour)
    make_execution(lane=Lane.DIRECT, status=Status.PAUSED, run_at=timezone.now() + hour)
    make_execution(status=Status.SUCCESS)

    told = scrape()

    assert [told.value("agentos_queue_depth", lane=lane) for lane in ("sync", "direct", "throttled")] == [1, 5, 1]
    assert told.value("agentos_queue_oldest_age_seconds", lane="direct") == pytest.approx(7200, abs=60)
    assert told.value("agentos_queue_oldest_age_seconds", lane="throttled") == pytest.approx(60, abs=60)
    assert told.value("agentos_paused") == 5


def test_a_long_queue_is_counted_up_to_a_bound(
    scrape: Callable[[], Metrics], make_execution: Callable[..., Execution], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measures, "COUNTED", 4)
    for _ in range(6):
        make_execution(status=Status.PAUSED)  # whose time has come before
        make_execution()
        make_execution(status=Status.PAUSED, run_at=timezone.now() + timedelta(hours=1))

    told = scrape()

    assert told.value("agentos_queue_depth", lane="direct") == told.value("agentos_paused") == 4


def test_engines_are_told_by_machine_and_process(scrape: Callable[[], Metrics]) -> None:
    now = timezone.now()
    Engine.objects.create(host="one", pid=7, boot_id="", running=3, rss_kb=2, held_kb=5, beat_at=now)
    Engine.objects.create(host="two", pid=7, boot_id="", beat_at=now - timedelta(minutes=5))
    Engine.objects.create(host="one", pid=7, boot_id="", running=1, started_at=now - timedelta(days=1))

    told = scrape()

    assert told.value("agentos_engine_up", engine="one:7") == 1
    assert told.value("agentos_engine_up", engine="two:7") == 0
    assert told.value("agentos_engine_running", engine="one:7") == 3
    assert told.value("agentos_engine_rss_bytes", engine="one:7") == 2048
    assert told.value("agentos_engine_held_bytes", engine="one:7") == 5120
    assert told.value("agentos_engine_beat_age_seconds", engine="two:7") == pytest.approx(300, abs=60)


def test_organizations_that_use_most_are_told_by_id_and_the_others_together(
    scrape: Callable[[], Metrics], make_execution: Callable[..., Execution], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prometheus, "TOLD", 2)
    ids = [new_id() for _ in range(4)]
    for number, holders in enumerate(({ids[0]: 5, ids[1]: 2}, {ids[1]: 9, ids[2]: 1})):
        told = json.dumps({str(organization): slots for organization, slots in holders.items()})
        Engine.objects.create(host="one", pid=number, boot_id="", running=20, holders=told)
    for count, organization in zip((1, 3, 2), ids, strict=False):
        for _ in range(count):
            make_execution(organization_id=organization)
    make_execution(organization_id=ids[3], lane=Lane.THROTTLED)

    metrics = scrape()

    def told_of(name: str) -> dict[str, float]:
        labels = metrics.labels(name, "organization")
        return {label: metrics.value(name, organization=label) for label in labels}

    assert told_of("agentos_organization_slots") == {str(ids[1]): 11, str(ids[0]): 5, "other": 24}
    assert told_of("agentos_organization_waiting") == {str(ids[1]): 3, str(ids[2]): 2, "other": 1}


def test_labels_are_escaped(scrape: Callable[[], Metrics]) -> None:
    Engine.objects.create(host='a"b\\c\nd', pid=1, boot_id="")

    assert scrape().labels("agentos_engine_up", "engine") == {r"a\"b\\c\nd:1"}


def test_metrics_ask_the_same_few_questions_however_much_there_is(
    scrape: Callable[[], Metrics],
    make_execution: Callable[..., Execution],
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    for _ in range(20):
        make_execution()

    with django_assert_num_queries(11):
        scrape()


# --- histograms


def test_what_processes_observed_is_added_up(scrape: Callable[[], Metrics]) -> None:
    for _ in range(2):  # two processes
        histogram = histograms.Histogram(histograms.STEPS.name)
        for seconds in (0.0005, 0.001, 0.02, 1000):
            histogram.observe("http", seconds)
        histogram.observe("wait", 3)
        histogram.save()

    told = scrape()

    name = "agentos_step_duration_seconds"
    assert told.labels(f"{name}_count", "connector") == {"http", "wait"}
    bounds = ("0.001", "0.01", "0.025", "300", "+Inf")
    assert [told.value(f"{name}_bucket", connector="http", le=bound) for bound in bounds] == [4, 4, 6, 6, 8]
    assert told.value(f"{name}_sum", connector="http") == pytest.approx(2000.043)


@pytest.mark.django_db
def test_an_observation_is_saved_once() -> None:
    histogram = histograms.Histogram("test")
    for _ in range(3):
        histogram.observe("a", 0.1)
        histogram.save()
    histogram.save()

    assert list(Measure.objects.filter(name="test").values_list("bucket", "count")) == [(6, 3)]


# --- a running product


def test_metrics_of_a_running_product_tell_what_it_did(installation: Installation) -> None:
    installation.settings["METRICS_TOKEN"] = TOKEN
    installation.start()
    made = make(installation, {"transform": [TRANSFORM]})
    for number in range(5):
        assert made.post("transform", {"name": f"secret-{number}"})[0] == 202
    until(lambda: _scrape(installation)[1].value("agentos_executions_total", status="success") == 5, what="all counted")
    assert installation.cluster and installation.web
    installation.cluster.terminate()  # each process adds at its end what it has not yet

    text, told = _scrape(installation)
    assert told.value("agentos_step_duration_seconds_count", connector="transform") == 5
    assert told.value("agentos_requests_total", outcome="executed") == 5
    assert told.labels("agentos_engine_up", "engine") == set()
    assert "secret" not in text and TOKEN not in text

    installation.web.terminate()
    installation.start_web()
    assert _scrape(installation)[1].value("agentos_accept_duration_seconds_count") == 5


def _scrape(installation: Installation) -> tuple[str, Metrics]:
    request = urllib.request.Request(f"{installation.url}/metrics", headers=BEARER)
    with urllib.request.urlopen(request, timeout=10) as answer:
        text = answer.read().decode()
    return text, Metrics(text)
