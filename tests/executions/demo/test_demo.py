from __future__ import annotations

import json
import re
import stat
from io import StringIO
from pathlib import Path

import pytest
from django.conf import settings
from django.contrib.auth import authenticate
from django.contrib.auth.models import User
from django.core.management import call_command

from executions.demo.definitions import DEFINITIONS
from executions.models import Attempt, Execution
from executions.states import Status
from projects.models import ApiToken, UsageDay, UsageMonth

pytestmark = pytest.mark.django_db
FILE = Path(settings.DATA_DIR) / "demo.json"


@pytest.fixture(autouse=True)
def _fresh_file() -> None:
    FILE.unlink(missing_ok=True)


def demo(*arguments: str) -> str:
    output = StringIO()
    call_command("demo", *arguments, stdout=output)
    return output.getvalue()


def test_json_holds_what_scripts_need_and_works() -> None:
    made = json.loads(demo("--json"))

    assert set(made["automations"]) == set(DEFINITIONS)
    assert all(re.search(r"/automations-api/run/[0-9a-f]{32}$", a["trigger_url"]) for a in made["automations"].values())
    assert all(authenticate(**login) for login in made["users"].values())
    assert ApiToken.objects.find(made["token"])
    assert stat.S_IMODE(FILE.stat().st_mode) == 0o600


def test_a_second_run_changes_nothing() -> None:
    first = demo("--json")
    executions = set(Execution.objects.values_list("id", flat=True))

    assert demo("--json") == first
    assert set(Execution.objects.values_list("id", flat=True)) == executions


def test_a_changed_password_is_made_anew() -> None:
    demo()
    builder = User.objects.get(username="builder")
    builder.set_password("changed")
    builder.save()

    assert authenticate(**json.loads(demo("--json"))["users"]["builder"])


def test_the_past_has_every_status_that_lasts_and_its_usage() -> None:
    demo()

    assert set(Execution.objects.values_list("status", flat=True)) == set(Status) - {Status.PENDING, Status.RUNNING}
    counted = Execution.objects.filter(is_counted=True).count()
    assert sum(UsageDay.objects.values_list("count", flat=True)) == counted
    assert sum(UsageMonth.objects.values_list("reserved", flat=True)) == counted
    assert Attempt.objects.count() == 2


def test_words_hold_a_line_to_paste() -> None:
    words = demo()

    line = r"^curl -H 'Content-Type: application/json' -H 'ah-http-key: \S+' -d '\{.+\}' http\S+$"
    assert re.search(line, words, re.M)
