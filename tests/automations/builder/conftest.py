from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from django.test import Client

from automations.models import Automation
from projects.ids import new_id
from projects.models import Project
from tests.support.builder import Pages


@pytest.fixture
def client(client: Client, builder: User) -> Client:
    client.force_login(builder)
    return client


@pytest.fixture
def draft(client: Client, project: Project) -> Pages:
    """Return the pages of an automation that has nothing yet."""
    uid = str(new_id())
    client.post(f"/projects/{project.pk}/automations/new/", {"uid": uid, "name": "Draft"})
    return Pages(client, Automation.objects.get(pk=uid))


@pytest.fixture
def live(client: Client, automation: Automation) -> Pages:
    return Pages(client, automation)
