"""The line for password hashes: so many at a time, in order, and no page that waits for long."""

from __future__ import annotations

import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
from django.contrib.auth.hashers import check_password, make_password
from django.contrib.auth.models import User
from django.test import Client
from pytest_django import Settings

from harness.installation import Installation
from harness.processes import until
from projects.accounts import hashing
from projects.accounts.hashing import KNOWN, STRANGERS, Busy, Line, Patience

PLACES = STRANGERS.places


def in_thread(function: Callable[[], Any]) -> Future[Any]:
    done: Future[Any] = Future()

    def run() -> None:
        try:
            done.set_result(function())
        except BaseException as error:
            done.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return done


class Served:
    """Somebody who is served until told to go."""

    def __init__(self, line: Line, caller: str, patience: Patience = STRANGERS) -> None:
        self.begun, self.may_go = threading.Event(), threading.Event()
        self.line, self.caller, self.patience = line, caller, patience
        self.done = in_thread(self._stay)

    def _stay(self) -> None:
        with self.line.turn(self.caller, self.patience):
            self.begun.set()
            assert self.may_go.wait(20)


def test_so_many_at_a_time_and_in_the_order_of_coming() -> None:
    line = Line(2)
    people = []
    for n in range(6):
        people.append(Served(line, f"10.0.0.{n}"))
        until(lambda n=n: len(line) == n + 1, what="the next one stands in the line")  # type: ignore[misc]

    for n, one in enumerate(people):
        assert one.begun.wait(5)
        assert [other.begun.is_set() for other in people].count(True) <= n + 2
        one.may_go.set()
        one.done.result(5)
    assert len(line) == 0


def test_callers_take_turns() -> None:
    line = Line(1)
    people = []
    for n, caller in enumerate(["flood"] * 3 + ["one", "two"]):
        people.append(Served(line, caller))
        until(lambda n=n: len(line) == n + 1, what="the next one stands in the line")  # type: ignore[misc]

    assert [one.caller for one in line.waiting[STRANGERS]] == ["flood", "one", "two", "flood"]
    for one in people:
        one.may_go.set()
    assert {one.done.result(5) for one in people} == {None}


def test_a_full_line_and_more_than_half_of_it_are_refused_at_once() -> None:
    line = Line(2)
    greedy = [Served(line, "10.0.0.1") for _ in range(PLACES * line.at_once // 2)]
    until(lambda: len(line) == PLACES * line.at_once // 2, what="half of the line is taken")

    with pytest.raises(Busy), line.turn("10.0.0.1"):
        pass
    others = [Served(line, f"10.0.1.{n}") for n in range(PLACES * line.at_once // 2)]
    until(lambda: len(line) == PLACES * line.at_once, what="the line is full")
    with pytest.raises(Busy), line.turn("10.0.2.1"):
        pass

    for one in greedy + others:
        one.may_go.set()
    assert {one.done.result(5) for one in greedy + others} == {None}


def test_the_known_and_strangers_take_turns_in_places_of_their_own() -> None:
    line = Line(1)
    people = [Served(line, f"10.0.0.{n}") for n in range(PLACES)]
    until(lambda: len(line) == PLACES, what="the strangers' line is full")
    for n in range(KNOWN.places):
        people.append(Served(line, f"user-{n}", KNOWN))
        until(lambda n=n: len(line) == PLACES + n + 1, what="the known one stands")  # type: ignore[misc]
    order = []

    while len(line):
        (served,) = line.serving
        order.append(served.patience)
        next(one for one in people if one.caller == served.caller).may_go.set()
        until(lambda served=served: served not in line.serving, what="the next one is served")  # type: ignore[misc]

    assert order[:8] == [STRANGERS, KNOWN] * 4
    assert {one.done.result(5) for one in people} == {None}


def test_who_stands_too_long_leaves_the_line() -> None:
    hasty = Patience(places=8, wait_s=0.05)
    line = Line(1, [STRANGERS, hasty])
    served = Served(line, "10.0.0.1")
    assert served.begun.wait(5)

    with pytest.raises(Busy), line.turn("10.0.0.2", hasty):
        pass

    served.may_go.set()
    served.done.result(5)
    with line.turn("10.0.0.2"), line.turn("10.0.0.2"):  # one's own turn holds for all hashes in it
        assert len(line) == 1
    assert len(line) == 0


def test_its_hashes_are_djangos(settings: Settings) -> None:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.PBKDF2PasswordHasher"]
    djangos = make_password("secret")
    settings.PASSWORD_HASHERS = ["projects.accounts.hashing.Hasher"]

    assert check_password("secret", djangos) and not check_password("Secret", djangos)


@pytest.mark.django_db
def test_a_sign_in_while_the_line_is_full_is_told_so_and_uses_nothing_up(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.PASSWORD_HASHERS = ["projects.accounts.hashing.Hasher"]
    User.objects.create_user("ada", "ada@example.com", "right-4711")
    line = Line(1)
    monkeypatch.setattr(hashing, "line", line)
    people = [Served(line, f"10.0.0.{n}") for n in range(PLACES * line.at_once)]
    until(lambda: len(line) == PLACES * line.at_once, what="the line is full")
    form = {"username": "ada", "password": "right-4711"}

    answers = [Client().post("/login/", form) for _ in range(10)]

    assert {answer.status_code for answer in answers} == {503}
    assert answers[0]["Retry-After"] == "5"
    assert "AgentOS is checking many passwords right now." in answers[0].content.decode()
    for one in people:
        one.may_go.set()
        one.done.result(5)
    assert Client().post("/login/", form).status_code == 302


@pytest.mark.django_db(transaction=True)
def test_strangers_do_not_keep_a_known_browser_from_signing_in(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.PASSWORD_HASHERS = ["projects.accounts.hashing.Hasher"]
    User.objects.create_user("ada", "ada@example.com", "right-4711")
    browser, form = Client(), {"username": "ada", "password": "right-4711"}
    assert browser.post("/login/", form).status_code == 302
    browser.post("/logout/")
    line = Line(1)
    monkeypatch.setattr(hashing, "line", line)
    strangers = [Served(line, f"10.0.0.{n}") for n in range(PLACES)]
    until(lambda: len(line) == PLACES, what="the strangers' line is full")

    answer = in_thread(lambda: browser.post("/login/", form))
    until(lambda: len(line) == PLACES + 1, what="the known browser stands in the line")
    next(one for one in strangers if one.begun.is_set()).may_go.set()

    assert answer.result(20).status_code == 302
    assert sum(one.may_go.is_set() for one in strangers) == 1
    for one in strangers:
        one.may_go.set()
        one.done.result(5)


@pytest.mark.django_db
def test_any_other_page_that_has_no_turn_says_so(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.PASSWORD_HASHERS = ["projects.accounts.hashing.Hasher"]
    monkeypatch.setattr(hashing, "line", Line(0))
    staff = Client()
    staff.force_login(User.objects.create_superuser("root"))
    form = {"username": "new", "usable_password": "true", "password1": "long-4711", "password2": "long-4711"}

    answer = staff.post("/admin/auth/user/add/", form)

    assert (answer.status_code, answer["Retry-After"]) == (503, "5")
    assert not User.objects.filter(username="new").exists()


@pytest.mark.parametrize("name", ["user-{n}", "one"])
def test_64_sign_ins_at_once_leave_the_pages_alone(server: Installation, name: str) -> None:
    jar = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
    html = jar.open(f"{server.url}/login/").read().decode()
    token = html.partition('name="csrfmiddlewaretoken" value="')[2].partition('"')[0]

    def sign_in(n: int) -> tuple[int, str]:
        form = {"csrfmiddlewaretoken": token, "username": name.format(n=n), "password": "wrong"}
        try:
            answer = jar.open(f"{server.url}/login/", urllib.parse.urlencode(form).encode(), timeout=30)
        except urllib.error.HTTPError as error:
            return error.code, error.headers.get("Retry-After", "")
        return answer.status, ""

    with ThreadPoolExecutor(64) as threads:
        answers = list(threads.map(sign_in, range(64)))
        assert server.get("/login/")[0] == 200

    statuses = [status for status, _ in answers]
    assert set(statuses) <= {200, 429, 503} and 200 in statuses
    assert {after for status, after in answers if status == 503} <= {"5"}
    if name == "one":  # many guesses at the same moment have no more tries than one after the other
        assert statuses.count(200) <= 5
