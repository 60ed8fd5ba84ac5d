"""Fixtures of the tests of Test buttons."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from automations.models import Automation
from tests.support.bench import Bench


@pytest.fixture
def bench(client: Client, builder: User, make_automation: Callable[..., Automation]) -> Callable[..., Bench]:
    client.force_login(builder)

    def make(*steps: dict[str, Any]) -> Bench:
        return Bench(client, make_automation("Bench", steps=list(steps)))

    return make
