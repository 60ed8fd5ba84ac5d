"""What guessing passwords costs, at both login pages, and whom it must not touch."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db.models import F
from django.test import Client

from projects.models.tries import Tries

pytestmark = pytest.mark.django_db

PAGES = ("/login/", "/admin/login/")
TRIES = 5
STRANGER, HOME, ELSEWHERE = "203.0.113.9", "198.51.100.7", "192.0.2.44"
TOO_MANY = "Too many wrong sign-ins. Try again in "


@pytest.fixture
def ada(db: None) -> User:
    return User.objects.create_superuser("ada", "ada@example.com", "right-4711")


def sign_in(page: str = "/login/", name: str = "ada", password: str = "wrong", *, at: str = STRANGER,
            client: Client | None = None) -> Any:  # fmt: skip
    return (client or Client()).post(page, {"username": name, "password": password}, REMOTE_ADDR=at)


def pass_time(**much: int) -> None:
    Tries.objects.update(free_at=F("free_at") - timedelta(**much))


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize("name", ["ada", "nobody-of-this-name", "ADA", "a" * 150, "\u0130\u202e"])
def test_wrong_sign_ins_are_limited_whether_the_name_is_known_or_not(ada: User, path: str, name: str) -> None:
    answers = [sign_in(path, name) for _ in range(75)]

    assert [answer.status_code for answer in answers] == [200] * TRIES + [429] * (75 - TRIES)
    last = answers[-1]
    assert 0 < int(last["Retry-After"]) <= 300
    assert f"{TOO_MANY}5 minutes." in last.content.decode()
    assert f'value="{name}"' in last.content.decode()  # what was typed stays


def test_both_pages_have_one_limit(ada: User) -> None:
    statuses = [sign_in(PAGES[n % 2]).status_code for n in range(8)]

    assert statuses == [200] * TRIES + [429] * 3


def test_the_right_password_is_not_told_to_who_has_used_up_their_tries(ada: User) -> None:
    for _ in range(TRIES):
        sign_in()

    assert sign_in(password="right-4711").status_code == 429

    pass_time(minutes=5)
    assert sign_in(password="right-4711").status_code == 302


def test_a_clock_that_is_set_back_keeps_nobody_out_for_as_long(ada: User) -> None:
    for _ in range(TRIES):
        sign_in()
    pass_time(hours=-1)

    refused = sign_in(password="right-4711")
    pass_time(minutes=5)

    assert (refused.status_code, refused["Retry-After"]) == (429, "300")
    assert sign_in(password="right-4711").status_code == 302


def test_a_stranger_locks_nobody_out(ada: User) -> None:
    for _ in range(200):
        sign_in()

    assert sign_in(password="right-4711", at=HOME).status_code == 302


def test_guessing_from_everywhere_is_slow_and_leaves_those_in_who_have_signed_in_before(ada: User) -> None:
    browser = Client()
    assert sign_in(password="right-4711", at=HOME, client=browser).status_code == 302
    browser.post("/logout/")

    statuses = [sign_in(at=f"10.{n // 250}.{n % 250}.1").status_code for n in range(300)]

    assert statuses.count(200) == 10 * TRIES
    assert statuses[-200:] == [429] * 200
    assert sign_in(password="right-4711", at=HOME).status_code == 302  # the address is known
    assert sign_in(password="right-4711", at=ELSEWHERE, client=browser).status_code == 302  # the browser is known
    assert sign_in(name="eve", at=ELSEWHERE).status_code == 200  # other names are untouched


def test_a_known_browser_does_not_help_with_another_name(ada: User) -> None:
    User.objects.create_user("eve", "eve@example.com", "evil-4711")
    browser = Client()
    sign_in(name="eve", password="evil-4711", client=browser)
    browser.post("/logout/")

    statuses = [sign_in(client=browser).status_code for _ in range(10)]

    assert statuses == [200] * TRIES + [429] * 5


@pytest.mark.parametrize("cookie", ["", "x", "a:b:c", "{}"])
def test_a_made_up_cookie_is_no_known_browser(ada: User, cookie: str) -> None:
    browser = Client()
    browser.cookies["agentos_device_8000"] = cookie

    statuses = [sign_in(client=browser).status_code for _ in range(10)]

    assert statuses == [200] * TRIES + [429] * 5


def test_trying_one_password_with_many_names_is_limited_by_the_address(ada: User) -> None:
    statuses = [sign_in(name=f"user-{n}").status_code for n in range(60)]

    assert statuses == [200] * 50 + [429] * 10
    assert sign_in(name="user-1", at=HOME).status_code == 200


def test_addresses_of_one_ipv6_customer_count_as_one(ada: User) -> None:
    statuses = [sign_in(at=f"2001:db8:1:2::{n}").status_code for n in range(1, 11)]

    assert statuses == [200] * TRIES + [429] * 5
    assert sign_in(at="2001:db8:1:3::1").status_code == 200


def test_who_signs_in_rightly_uses_nothing_up(ada: User) -> None:
    assert {sign_in(password="right-4711").status_code for _ in range(30)} == {302}


def test_refused_tries_write_nothing_and_old_rows_go(ada: User) -> None:
    for _ in range(TRIES):
        sign_in()
    before = list(Tries.objects.order_by("pk").values_list())

    for _ in range(10):
        sign_in()
    assert list(Tries.objects.order_by("pk").values_list()) == before

    pass_time(days=1)
    sign_in(name="somebody")
    assert Tries.objects.count() == 3


def test_the_table_tells_no_names(ada: User) -> None:
    sign_in()

    assert "ada" not in str(list(Tries.objects.values_list()))


def test_who_has_no_access_to_the_administration_can_sign_in_there_as_somebody_else(ada: User) -> None:
    User.objects.create_user("eve", "eve@example.com", "evil-4711")
    browser = Client()
    sign_in(name="eve", password="evil-4711", client=browser)

    page = browser.get("/admin/", follow=True)
    assert page.redirect_chain == [("/admin/login/?next=/admin/", 302)]
    assert "eve has no access to that page" in " ".join(page.content.decode().split())

    form = {"username": "ada", "password": "right-4711", "next": "/admin/"}
    assert browser.post("/admin/login/", form)["Location"] == "/admin/"
