"""The senders: several threads post numbered requests and record each answer."""

from __future__ import annotations

import http.client
import json
import threading
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from typing import Any

from chaos import plan
from chaos.scene import Scene
from harness.installation import Installation

THREADS = 12
PATIENCE_S = 120.0  # seconds for which one keyed request is repeated
AGAIN_S = 0.25
TIMEOUT_S = 60.0  # for which one request waits
BALANCER_S = 5.0  # for which a load balancer waits before it counts a machine as away
IN_DOUBT = b'"code":"in_doubt"'  # in the answer to a sender of whose request nobody knows whether it is stored


class _AnyStatus(urllib.request.HTTPErrorProcessor):
    """Return answers with an error status like any other, instead of raising."""

    def http_response(self, request: Any, response: Any) -> Any:
        return response


OPENER = urllib.request.build_opener(_AnyStatus)


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer; status 0 means that none came, or one that says so: the request may or may not be stored."""

    status: int
    execution_id: str
    at: float
    retry_after: str = ""
    sent: float = 0.0
    place: str = ""  # the machine that was asked

    @property
    def was_patient(self) -> bool:
        """Return whether the sender has waited as long as it must."""
        return bool(self.status) or not self.place or self.at - self.sent < BALANCER_S

    @property
    def is_ok(self) -> bool:
        return self.status in (200, 202, 504)  # 504: accepted, only its Response step was too slow


@dataclass(slots=True)
class Post:
    """One numbered request and its answers."""

    number: int
    kind: str
    key: str
    replies: list[Reply] = field(default_factory=list)

    @property
    def outcome(self) -> str:
        if any(reply.is_ok for reply in self.replies):
            return "ok"
        return "unknown" if any(reply.status == 0 for reply in self.replies) else "refused"

    def lie_about(self, made: float) -> Reply | None:
        """Return the answer that says "nothing was stored" of the only request under way when it was stored."""
        under_way = [reply for reply in self.replies if reply.sent <= made <= reply.at]
        is_lie = len(under_way) == 1 and under_way[0].status >= 500 and not under_way[0].is_ok
        return under_way[0] if is_lie and not any(reply.status == 0 for reply in self.replies) else None


class Driver:
    """Posts until `accepted` requests are accepted; `reach` and `rate` slow it down, so that faults meet traffic."""

    def __init__(self, scene: Scene, accepted: int) -> None:
        self.scene = scene
        self.wanted = accepted
        self.posts: list[Post] = []
        self.accepted = 0
        self.rate = 0.0  # posts a second; 0 for as fast as they go
        self._allowed = 0
        self.in_flight = 0  # requests that have been sent and not answered
        self._under_way = 0
        self._next = 0
        self._places = cycle(scene.places)
        self._change = threading.Condition()
        self._threads = [threading.Thread(target=self._post_all, daemon=True) for _ in range(THREADS)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def reach(self, accepted: int, *, within: float = 300) -> None:
        """Post until so many requests are accepted; raise RuntimeError when that takes longer than `within` seconds."""
        with self._change:
            self._allowed = min(accepted, self.wanted)
            self._change.notify_all()
            if not self._change.wait_for(lambda: self.accepted >= self._allowed, within):
                raise RuntimeError(f"only {self.accepted} of {self._allowed} accepted within {within:g} s")

    def rest(self) -> None:
        """Post no more, and wait until everything under way has been answered or given up."""
        with self._change:
            self._allowed = 0
            self._change.wait_for(lambda: not self._under_way, PATIENCE_S + TIMEOUT_S)

    def allow(self, accepted: int) -> None:
        with self._change:
            self._allowed = min(accepted, self.wanted)
            self._change.notify_all()

    def post(self, kind: str, *, key: str = "", times: int = 1, place: Installation | None = None) -> Post:
        """Post the next number, `times` at once, and record every answer; to one machine with `place`."""
        with self._change:
            number, self._next = self._next, self._next + 1
        post = Post(number, kind, key)
        with ThreadPoolExecutor(times) as pool:
            for _ in range(times):
                pool.submit(self._deliver, post, place)
        self._note(post)
        return post

    def _post_all(self) -> None:
        for number in self._numbers():
            post = Post(number, plan.kind_of(number), f"number-{number}" if plan.is_keyed(number) else "")
            self._deliver(post)
            self._note(post, is_counted=True)
            if self.rate:
                time.sleep(THREADS / self.rate)

    def _numbers(self) -> Iterator[int]:
        while True:
            with self._change:
                self._change.wait_for(lambda: self.accepted + self._under_way < self._allowed)
                self._under_way += 1
                number, self._next = self._next, self._next + 1
            yield number

    def _note(self, post: Post, *, is_counted: bool = False) -> None:
        with self._change:
            self.posts.append(post)
            if is_counted:
                self._under_way -= 1
                self.accepted += post.outcome == "ok"
            self._change.notify_all()

    def _deliver(self, post: Post, place: Installation | None = None) -> None:
        """Post a request; with a key repeat it until it is accepted, for PATIENCE_S at most, and never without one.

        The machines have turns, as behind a load balancer.
        """
        deadline = time.monotonic() + PATIENCE_S
        while True:
            reply = self._ask(post, place or next(self._places))
            post.replies.append(reply)
            if reply.is_ok or not post.key or time.monotonic() > deadline:
                break
            time.sleep(AGAIN_S)
        if not reply.is_ok:
            time.sleep(AGAIN_S)  # do not flood a server that is away

    def _ask(self, post: Post, place: Installation) -> Reply:
        body = plan.body_of(post.number, post.kind, self.scene.echo_url)
        headers = {"Content-Type": "application/json"} | ({"Idempotency-Key": post.key} if post.key else {})
        url = f"{place.url}/automations-api/run/{self.scene.made.triggers[post.kind]}"
        request = urllib.request.Request(url, json.dumps(body).encode(), headers)
        with self._change:
            self.in_flight += 1
        sent, timeout = time.time(), TIMEOUT_S if len(self.scene.places) == 1 else BALANCER_S
        try:
            with OPENER.open(request, timeout=timeout) as answer:
                said, at = answer.read(), time.time()
                if IN_DOUBT in said:
                    return Reply(0, "", at, sent=sent, place=place.name)
                found = answer.headers.get("X-Execution-Id") or _execution_id(said)
                return Reply(answer.status, found, at, answer.headers.get("Retry-After", ""), sent, place.name)
        except (OSError, http.client.HTTPException):
            return Reply(0, "", time.time(), sent=sent, place=place.name)
        finally:
            with self._change:
                self.in_flight -= 1

    def write(self, file: Path) -> None:
        """Write the history as evidence, a line for each number."""
        with file.open("w") as out:
            for post in sorted(self.posts, key=lambda post: post.number):
                replies = [[one.status, one.execution_id, round(one.at, 3), one.place] for one in post.replies]
                line = {"number": post.number, "kind": post.kind, "key": post.key, "outcome": post.outcome}
                out.write(json.dumps(line | {"replies": replies}) + "\n")


def _execution_id(text: bytes) -> str:
    try:
        return str(json.loads(text).get("execution_id", ""))
    except (ValueError, AttributeError):
        return ""
