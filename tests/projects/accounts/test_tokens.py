"""The expiry of API tokens, and their last use."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db.models import F
from django.test import Client
from django.utils import timezone

from projects.models import ApiToken

OLD = "old-password-1"


@pytest.fixture
def ada(db: None) -> User:
    return User.objects.create_user("ada", "ada@example.com", OLD)


@pytest.fixture
def client(client: Client, ada: User) -> Client:
    client.force_login(ada)
    return client


def text_of(answer: Any) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", answer.content.decode()).split())


@pytest.mark.parametrize(("choice", "days"), [("30", 30), ("90", 90), ("365", 365), ("0", None), ("", 90)])
def test_a_token_expires_when_its_maker_says(client: Client, ada: User, choice: str, days: int | None) -> None:
    client.post("/settings/", {"name": "CI", "expires": choice})

    token = ApiToken.objects.get()
    assert token.expires_at is None if days is None else token.expires_at is not None
    if token.expires_at and days:
        assert abs(token.expires_at - timezone.now() - timedelta(days=days)) < timedelta(minutes=1)
    assert ("Never expires" in text_of(client.get("/settings/"))) is (days is None)


@pytest.mark.parametrize("choice", ["1", "-1", "36500", "x", "\x00"])
def test_another_time_is_refused(client: Client, choice: str) -> None:
    assert client.post("/settings/", {"name": "CI", "expires": choice}).status_code == 422
    assert not ApiToken.objects.exists()


def test_an_expired_token_is_told_so_and_listed(client: Client, ada: User) -> None:
    token, text = ApiToken.objects.make(ada, "CI", expires_at=timezone.now() + timedelta(days=30))
    answer = Client().get("/v1/projects", headers={"authtoken": text})
    assert answer.json()["error"]["code"] == "organization_missing"

    ApiToken.objects.update(expires_at=F("expires_at") - timedelta(days=30))

    answer = Client().get("/v1/projects", headers={"authtoken": text})
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "token_expired")
    assert "Expired" in text_of(client.get("/settings/"))
    token.revoke()
    assert Client().get("/v1/projects", headers={"authtoken": text}).json()["error"]["code"] == "token_invalid"


def test_the_last_use_is_noted_once_an_hour(ada: User, client: Client) -> None:
    token, text = ApiToken.objects.make(ada, "CI")

    def use() -> Any:
        Client().get("/v1/projects", headers={"authtoken": text})
        token.refresh_from_db()
        return token.last_used_at

    first = use()
    assert first is not None and use() == first
    ApiToken.objects.update(last_used_at=F("last_used_at") - timedelta(hours=2))
    assert use() > first
    assert "last used" in text_of(client.get("/settings/"))
