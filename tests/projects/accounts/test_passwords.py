"""Changing one's own password, and setting a forgotten one by the link of an e-mail."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from pytest_django import Settings

from projects.accounts import hashing, reset
from projects.accounts.hashing import Line
from projects.models import ApiToken
from projects.models.tries import Tries
from tests.support.smtp import Smtp

OLD, NEW = "old-password-1", "new-password-2"
PAGE, ASK = "/settings/password/", "/password/forgotten/"


@pytest.fixture
def ada(db: None) -> User:
    return User.objects.create_user("ada", "ada@example.com", OLD)


@pytest.fixture
def client(client: Client, ada: User) -> Client:
    client.force_login(ada)
    return client


def change(client: Client, old: str = OLD, new: str = NEW, again: str | None = None, **more: Any) -> Any:
    form = {"old_password": old, "new_password1": new, "new_password2": new if again is None else again}
    return client.post(PAGE, form | more)


def text_of(answer: Any) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", answer.content.decode()).split())


# --- one's own


def test_a_changed_password_ends_all_other_sessions(client: Client, ada: User) -> None:
    elsewhere = Client()
    elsewhere.force_login(ada)

    answer = change(client)

    assert answer["Location"] == "/settings/"
    assert "Password changed. You are signed out everywhere else." in text_of(client.get("/settings/"))
    assert elsewhere.get("/settings/")["Location"].startswith("/login/")
    ada.refresh_from_db()
    assert ada.check_password(NEW) and not ada.check_password(OLD)


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ({"old": "wrong"}, "Present password is wrong."),
        ({"old": ""}, "Present password is empty."),
        ({"new": ""}, "New password is empty."),
        ({"new": "short-1"}, "New password has too few characters: it needs at least 8."),
        ({"new": "12345678901"}, "New password has digits only"),
        ({"new": "password123"}, "New password is one of the most common ones"),
        ({"new": "ada@example.com"}, "New password is too much like your name or e-mail address."),
        ({"again": "another-one-3"}, "The two new passwords differ."),
        ({"revoked": ["4711"]}, "one of them is not yours or is revoked already"),
    ],
)
def test_a_bad_form_names_the_field_and_the_rule_and_changes_nothing(
    client: Client, ada: User, form: dict[str, Any], words: str
) -> None:
    ApiToken.objects.make(ada, "CI")

    answer = change(client, **form)

    assert answer.status_code == 422
    assert words in text_of(answer)
    ada.refresh_from_db()
    assert ada.check_password(OLD)
    assert client.get("/settings/").status_code == 200


def test_tokens_are_listed_and_the_chosen_ones_revoked(client: Client, ada: User, stranger: User) -> None:
    kept, _ = ApiToken.objects.make(ada, "Backup")
    known, text = ApiToken.objects.make(ada, "Laptop")
    theirs, _ = ApiToken.objects.make(stranger, "Theirs")
    page = text_of(client.get(PAGE))
    assert "Backup" in page and "Laptop" in page and "never used" in page and "Theirs" not in page

    assert change(client, revoked=[theirs.pk]).status_code == 422
    page = change(client, old="wrong", revoked=[known.pk]).content.decode()
    assert re.findall(r'value="(\d+)"[^>]*checked', page) == [str(known.pk)]  # stays chosen
    change(client, revoked=[known.pk])

    assert ApiToken.objects.find(text) is None
    assert set(ApiToken.objects.usable()) == {kept, theirs}
    assert "1 API token is revoked." in text_of(client.get("/settings/"))


def test_guessing_the_present_password_is_limited(client: Client, ada: User) -> None:
    statuses = [change(client, old="wrong").status_code for _ in range(8)]

    assert statuses == [422] * 5 + [429] * 3
    assert change(client).status_code == 429


def test_the_administration_has_no_page_of_its_own_for_it(client: Client, ada: User) -> None:
    for answer in (
        client.get("/admin/password_change/"),
        client.post("/admin/password_change/", {"old_password": "x"}),
    ):
        assert answer["Location"] == PAGE


def test_a_full_line_of_hashes_changes_nothing(
    client: Client, ada: User, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hashing, "line", Line(0))

    answer = change(client)

    assert (answer.status_code, answer["Retry-After"]) == (503, "5")
    assert not Tries.objects.exists()


# --- a forgotten one


@pytest.fixture
def mails(smtp: Smtp, settings: Settings) -> Iterator[Smtp]:
    options = {"host": "127.0.0.1", "port": smtp.port, "timeout": 5, "total_s": 10}
    settings.MAILERS = {"default": {"BACKEND": "projects.smtp.Backend", "OPTIONS": options}}
    settings.MAILERS["notices"] = settings.MAILERS["default"]
    settings.BASE_URL = "https://agentos.example.com"
    yield smtp
    reset.post.waiting.join()


def ask(address: str = "ada@example.com", *, at: str = "203.0.113.9", **headers: Any) -> Any:
    return Client().post(ASK, {"email": address}, REMOTE_ADDR=at, **headers)


def link_of(mails: Smtp, number: int = 1) -> str:
    text = mails.wait_for(number)[-1].message.get_content()
    found = re.search(r"https://agentos\.example\.com(/password/new/\S+)", text)
    assert found, text
    return found[1]


def follow(client: Client, link: str) -> str:
    answer = client.get(link)
    return str(answer["Location"]) if answer.status_code == 302 else ""


@pytest.mark.django_db(transaction=True)
def test_a_link_sets_the_password_once_and_ends_all_sessions(client: Client, ada: User, mails: Smtp) -> None:
    _, token = ApiToken.objects.make(ada, "CI")
    assert ask()["Location"] == "/password/forgotten/sent/"
    link = link_of(mails)
    assert mails.mails[0].recipients == ["ada@example.com"]
    guest = Client()
    form = follow(guest, link)
    assert "For the account ada." in text_of(guest.get(form)) and "CI (aos_" in text_of(guest.get(form))

    assert guest.post(form, {"new_password1": "short", "new_password2": "short"}).status_code == 422
    revoked = {"revoked": [ApiToken.objects.get().pk]}
    answer = guest.post(form, {"new_password1": NEW, "new_password2": NEW} | revoked)

    assert answer["Location"] == "/login/"
    assert "Your password is set. Sign in with it. 1 API token is revoked." in text_of(guest.get("/login/"))
    assert ApiToken.objects.find(token) is None
    assert client.get("/settings/")["Location"].startswith("/login/")
    assert "This link does not work" in text_of(Client().get(link))
    assert guest.post("/login/", {"username": "ada", "password": NEW}).status_code == 302


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("host", ["testserver", "127.0.0.1"])
def test_the_link_never_names_the_requests_host(ada: User, mails: Smtp, host: str) -> None:
    ask(HTTP_HOST=host, HTTP_X_FORWARDED_HOST="evil.example")

    assert "evil" not in mails.wait_for(1)[0].raw.decode()
    assert link_of(mails).startswith("/password/new/")


@pytest.mark.django_db(transaction=True)
def test_known_and_unknown_addresses_get_the_same_answer(ada: User, mails: Smtp) -> None:
    User.objects.create_user("gone", "gone@example.com", OLD, is_active=False)
    User.objects.create_user("outside", "outside@example.com")  # without a password

    answers = [
        ask(address, at=f"203.0.113.{n}")
        for n, address in enumerate(
            ("nobody@example.com", "gone@example.com", "outside@example.com", "ADA@example.com")
        )
    ]

    assert len({(answer.status_code, answer["Location"]) for answer in answers}) == 1
    link_of(mails)
    reset.post.waiting.join()
    assert [mail.recipients for mail in mails.mails] == [["ada@example.com"]]


@pytest.mark.django_db(transaction=True)
def test_one_address_gets_few_e_mails_and_one_sender_asks_seldom(ada: User, mails: Smtp) -> None:
    statuses = [ask().status_code for _ in range(8)]
    for n in range(20):
        assert ask(at=f"203.0.113.{n + 10}").status_code == 302

    assert statuses == [302] * 5 + [429] * 3
    mails.wait_for(3)
    reset.post.waiting.join()
    assert len(mails.mails) == 3


@pytest.mark.django_db(transaction=True)
def test_a_mail_server_that_does_not_answer_holds_no_page(ada: User, mails: Smtp) -> None:
    with mails.holding():
        answers = [ask(at=f"203.0.113.{n}") for n in range(3)]
        assert {answer.status_code for answer in answers} == {302}
        assert reset.post.waiting.unfinished_tasks
    link_of(mails)


@pytest.mark.django_db
@pytest.mark.parametrize("address", ["", "ada", "a@b@c", "x" * 300 + "@example.com"])
def test_what_is_no_address_is_told_so(address: str) -> None:
    answer = ask(address)

    assert answer.status_code == 422
    assert "E-mail address" in text_of(answer)


@pytest.mark.django_db
@pytest.mark.parametrize("link", ["MQ/abc-def", "!!/x", "MQ/set-password", "OTk5OTk/abc-def"])
def test_a_made_up_link_says_that_it_does_not_work(ada: User, link: str) -> None:
    answer = Client().get(f"/password/new/{link}/")

    assert answer.status_code == 200
    assert "This link does not work" in text_of(answer)


@pytest.mark.django_db(transaction=True)
def test_a_link_ends_after_an_hour(ada: User, mails: Smtp, settings: Settings) -> None:
    ask()
    link = link_of(mails)
    settings.PASSWORD_RESET_TIMEOUT = -1

    assert "This link does not work" in text_of(Client().get(link))
