"""A service on loopback that remembers every request and answers as told."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from harness.processes import until


@dataclass(frozen=True, slots=True)
class StubRequest:
    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]  # names in lower case
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(slots=True)
class StubAnswer:
    status: int = 200
    body: bytes = b"{}"
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0
    hold: threading.Event | None = None  # until which it waits
    times: int | None = None  # how often, then the answer given before it


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 512  # five, and a kernel that drops the others' first packet, would cost them seconds


class Stub:
    """`stub.answer(...)` sets what comes back, for all paths or one; `stub.requests` is what came."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.server = Server(("127.0.0.1", 0), self._handler())
        threading.Thread(target=self.server.serve_forever, name="stub", daemon=True).start()
        self.clear()

    @property
    def port(self) -> int:
        return int(self.server.server_address[1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def clear(self) -> None:
        with self._lock:
            self.requests: list[StubRequest] = []
            self.answers: list[tuple[str | None, StubAnswer]] = [(None, StubAnswer())]

    def answer(
        self,
        status: int = 200,
        body: Any = None,
        *,
        path: str | None = None,
        headers: dict[str, str] | None = None,
        delay: float = 0,
        hold: threading.Event | None = None,
        times: int | None = None,
    ) -> None:
        """Answer so from now on (or `times` times), after `delay` seconds and once `hold` is set.

        Anything but bytes and text is sent as JSON.
        """
        raw = body if isinstance(body, bytes) else body.encode() if isinstance(body, str) else json.dumps(body).encode()
        kind = {"Content-Type": "application/json"} if not isinstance(body, (bytes, str)) else {}
        with self._lock:
            self.answers.append((path, StubAnswer(status, raw, kind | (headers or {}), delay, hold, times)))

    def wait_for(self, count: int, *, within: float = 15) -> list[StubRequest]:
        until(lambda: len(self.requests) >= count, within=within, what=f"{count} requests at the stub")
        return list(self.requests)

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def receive(self, request: StubRequest) -> StubAnswer:
        with self._lock:
            self.requests.append(request)
            for path, answer in reversed(self.answers):
                if path not in (None, request.path) or answer.times == 0:
                    continue
                if answer.times is not None:
                    answer.times -= 1
                return answer
        return StubAnswer(404)

    def _handler(stub) -> type[BaseHTTPRequestHandler]:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self) -> None:
                address = urlsplit(self.path)
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                headers = {name.lower(): value for name, value in self.headers.items()}
                answer = stub.receive(StubRequest(self.command, address.path, parse_qs(address.query), headers, body))
                time.sleep(answer.delay)
                if answer.hold:
                    answer.hold.wait(60)
                self.send_response(answer.status)
                for name, value in {"Content-Length": str(len(answer.body)), **answer.headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(answer.body)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = do_OPTIONS = handle_any

            def handle(self) -> None:
                try:
                    super().handle()
                except OSError:
                    pass  # the caller gave up, which some tests want

            def log_message(self, format: str, *args: Any) -> None: ...

        return Handler
