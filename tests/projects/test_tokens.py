from __future__ import annotations

import re

import pytest
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.test import Client

from projects.models import ApiToken


@pytest.fixture
def client(client: Client, builder: User) -> Client:
    client.force_login(builder)
    return client


def made(client: Client, name: str = "CI") -> str:
    """Make a token on the page and return its text, as shown there."""
    page = client.post("/settings/", {"name": name}, follow=True).content.decode()
    shown = re.search(r'id="new-token">([^<]+)<', page)
    assert shown
    return shown[1]


def test_token_is_shown_once(client: Client, builder: User) -> None:
    text = made(client)

    token = ApiToken.objects.find(text)
    assert token
    assert token.user == builder
    assert text not in client.get("/settings/").content.decode()


def test_token_is_nowhere_stored_in_the_clear(client: Client) -> None:
    client.post("/settings/", {"name": "CI"})

    sessions = [str(session.get_decoded()) for session in Session.objects.all()]
    assert "aos_" not in str(list(ApiToken.objects.values("digest")))
    assert not any("aos_" in session for session in sessions)


def test_revoked_token_is_refused(client: Client) -> None:
    text = made(client)

    client.post(f"/settings/tokens/{ApiToken.objects.get().pk}/revoke/")

    assert ApiToken.objects.find(text) is None
    assert "CI" not in re.findall(r"<strong>([^<]+)</strong>", client.get("/settings/").content.decode())


def test_token_of_another_cannot_be_revoked(client: Client, stranger: User) -> None:
    token, _ = ApiToken.objects.make(stranger, "Theirs")

    assert client.post(f"/settings/tokens/{token.pk}/revoke/").status_code == 404
    assert "Theirs" not in client.get("/settings/").content.decode()
    token.refresh_from_db()
    assert token.revoked_at is None


def test_token_is_not_revoked_by_get(client: Client, builder: User) -> None:
    token, _ = ApiToken.objects.make(builder, "CI")

    assert client.get(f"/settings/tokens/{token.pk}/revoke/").status_code == 405
    token.refresh_from_db()
    assert token.revoked_at is None


@pytest.mark.parametrize("name", ["", " ", "x" * 101, "a\nb", "\x00"])
def test_bad_name_makes_no_token(client: Client, name: str) -> None:
    assert client.post("/settings/", {"name": name}).status_code == 422
    assert not ApiToken.objects.exists()
