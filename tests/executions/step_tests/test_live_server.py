"""A test that takes too much, on a real web server: the server answers others meanwhile and stays as large as it is."""

from __future__ import annotations

import re
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from http.cookiejar import CookieJar
from pathlib import Path
from urllib.parse import urlencode

import pytest

from harness.automations import make
from harness.installation import Installation
from harness.processes import descendants


def query(expression: str) -> list[dict[str, object]]:
    return [{"key": "find", "connector": "transform", "action": "query", "input": {"source": "x", "query": expression}}]


class Browser:
    """A person who is signed in."""

    def __init__(self, url: str, name: str) -> None:
        self.url = url
        self.opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))
        self.post("/login/", "/login/", username=name, password=name)

    def get(self, path: str) -> str:
        with self.opener.open(self.url + path, timeout=60) as answer:
            return str(answer.read().decode())

    def post(self, page: str, path: str, **fields: str) -> str:
        """Post with the token of a page; return the page that follows."""
        token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', self.get(page))
        assert token
        data = urlencode({"csrfmiddlewaretoken": token[1], **fields}).encode()
        with self.opener.open(urllib.request.Request(self.url + path, data), timeout=60) as answer:
            return str(answer.read().decode())


def peak(pid: int) -> int:
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) if found else 0


TOO_LONG = "The query took longer than"  # a slow machine may meet this limit first


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("|".join(["[@,@]"] * 27), "The value is larger than 20 MB."),
        ("|".join(["[@,@][]"] * 24), "A list of the query has more than 1,000,000 items."),
    ],
)
def test_server_answers_others_while_a_test_takes_too_much(server: Installation, expression: str, words: str) -> None:
    made = make(server, {"dear": query(expression)}, owner="ada")
    browser = Browser(server.url, "ada")
    root = f"/projects/{made.project}/automations/{made.automations['dear']}/steps/find/"
    browser.get(root)
    assert server.web is not None
    pids = [server.web.pid, *descendants(server.web.pid)]
    before = max(map(peak, pids))

    with ThreadPoolExecutor(1) as person:
        tested = person.submit(browser.post, root, f"{root}test/")
        asked = 0
        while not tested.done():
            assert urllib.request.urlopen(f"{server.url}/healthz", timeout=5).status == 200
            asked += 1

    assert any(limit in tested.result() for limit in (words, TOO_LONG))
    assert asked > 5
    assert max(map(peak, pids)) - before < 60 * 1024  # kilobytes
