"""What a server sends, on its way to the parser: in small pieces, in turn with others', and within bounds.

aiohttp parses all that one read brought at once and bounds neither the interim answers nor the framing: an endless
stream of `HTTP/1.1 103` held an engine's loop for seconds. It has no setting for it; its version is pinned.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import Any

from aiohttp.client_exceptions import ClientPayloadError
from aiohttp.client_proto import ResponseHandler
from aiohttp.helpers import set_exception

from connectors.outbound.asking import asker
from connectors.sdk.call import StepError

PIECE = 16_384  # bytes parsed at once: 3 ms at most, when each chunk has one byte
HEAD_PIECE = 2_048  # dearer: a hundred interim answers
TURN_S = 0.002  # seconds of one round of the loop for all that arrives
HEAD_LIMIT = 256 * 1024  # bytes of all heads of one answer
INTERIM_LIMIT = 20
FRAMES_LIMIT = 1024 * 1024  # bytes of chunk sizes, extensions and trailers, beyond as many as the body has

HEAD_TOO_LARGE = f"The head of the answer is larger than {HEAD_LIMIT // 1024} KB."
TOO_MANY_INTERIM = f"The service sent more than {INTERIM_LIMIT} interim answers (status 1xx) before its answer."
SWITCHED = "The service switched to another protocol, which the request did not ask for."
TOO_MUCH_FRAMING = "The answer is wrapped in more bytes of chunk sizes and extensions than it carries."


class Turns:
    """TURN_S of each round of one loop, for the organizations in turn, and for each one's connections in turn."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.lines: dict[str, deque[ArrivingAnswer]] = {}
        self._is_due = False

    def ask(self, organization: str, answer: ArrivingAnswer) -> None:
        """Let the answer take a piece when its turn comes."""
        self.lines.setdefault(organization, deque()).append(answer)
        if not self._is_due:
            self._is_due = True
            self.loop.call_soon(self._serve)

    def _serve(self) -> None:
        ends_at = time.monotonic() + TURN_S
        while self.lines and time.monotonic() < ends_at:
            organization = next(iter(self.lines))
            line = self.lines.pop(organization)
            answer = line.popleft()
            if line:
                self.lines[organization] = line  # behind the others
            if answer.take_piece():
                self.ask(organization, answer)
        self._is_due = bool(self.lines)
        if self.lines:
            self.loop.call_soon(self._serve)


class ArrivingAnswer(ResponseHandler):
    """One connection; it reads no further while what it has read waits for its turn."""

    def __init__(self, loop: asyncio.AbstractEventLoop, turns: Turns) -> None:
        super().__init__(loop)
        self._turns = turns
        self._organization = ""
        self._is_asked = False
        self._is_waiting = False  # for its turn
        self._unparsed = b""
        self._lost: tuple[BaseException | None] | None = None  # told to aiohttp once everything is parsed
        self._body: Any = None  # of the final answer, once its head has come
        self._interim = 0
        self._bytes = 0  # parsed of the heads, then of the body

    def set_response_params(self, **options: Any) -> None:
        """Begin with the answer of the next request."""
        self._organization = asker.get()
        self._is_asked = True
        self._body = None
        self._interim = self._bytes = 0
        super().set_response_params(**options)

    def data_received(self, data: bytes) -> None:
        if not data:  # aiohttp goes on with the rest of a piece
            super().data_received(data)
        elif not self._is_asked or self._is_complete:
            self._refuse_more()
        elif self.transport is not None:
            self._unparsed += data
            if len(self._unparsed) > PIECE:
                self._pause_transport_reading()
            self._wait()

    def feed_data(self, data: Any, size: int = 0) -> None:
        """Take a head from the parser; only the final one goes on to the request."""
        message, body = data
        if self._body is not None:
            self._should_close = True  # a second answer, which nobody asked for
        elif 100 <= message.code < 200:
            self._interim += 1
        else:
            self._body, self._bytes = body, 0
            super().feed_data(data, size)

    def take_piece(self) -> bool:
        """Parse one piece; return whether another one may follow."""
        size = PIECE if self._body is not None else HEAD_PIECE
        if self.transport is None and self._lost is None:
            self._unparsed = b""
        elif self._unparsed and not self._reading_paused:
            piece, self._unparsed = self._unparsed[:size], self._unparsed[size:]
            self._bytes += len(piece)
            super().data_received(piece)
            self._check()
        if self._unparsed and self._is_complete:
            self._refuse_more()
        self._is_waiting = bool(self._unparsed) and not self._reading_paused
        if not self._unparsed:
            self._go_on()
        return self._is_waiting

    def connection_lost(self, exc: BaseException | None) -> None:
        self._lost = (exc,)
        if not self._is_waiting:
            self._go_on()

    def close(self) -> None:
        self._unparsed = b""
        super().close()

    def abort(self) -> None:
        self._unparsed = b""
        super().abort()

    def set_exception(self, exc: BaseException, *cause: BaseException) -> None:
        """Tell the reader of the body, too: aiohttp leaves it waiting after a parse error."""
        super().set_exception(exc, *cause)
        if self._body is not None and not self._body.is_eof() and self._body.exception() is None:
            set_exception(self._body, exc if isinstance(exc, StepError) else ClientPayloadError(str(exc)))

    @property
    def _is_complete(self) -> bool:
        return self._body is not None and self._body.is_eof()

    def _wait(self) -> None:
        if not self._is_waiting:
            self._is_waiting = True
            self._turns.ask(self._organization, self)

    def _resume_transport_reading(self) -> None:
        if self._unparsed:
            self._wait()
        else:
            super()._resume_transport_reading()

    def _go_on(self) -> None:
        """Read on once all that was read is parsed, or tell aiohttp that the connection ended."""
        if self._lost is not None:
            if self._unparsed and self.transport is not None:
                return  # the reader is behind, and asks for more
            (exc,), self._lost = self._lost, None
            super().connection_lost(exc)
        elif not (self._reading_paused or self._buffer_paused):
            super()._resume_transport_reading()

    def _check(self) -> None:
        """Fail the answer when it exceeds a bound."""
        if self._exception is not None:
            self._unparsed = b""
        elif self._interim > INTERIM_LIMIT:
            self._fail(TOO_MANY_INTERIM, "bad_response")
        elif self._upgraded:
            self._fail(SWITCHED, "bad_response")
        elif self._body is None and self._bytes > HEAD_LIMIT:
            self._fail(HEAD_TOO_LARGE, "too_large")
        elif self._body is None or self._body.is_eof():
            return
        elif self._bytes - 2 * self._body.total_bytes > FRAMES_LIMIT:
            self._fail(TOO_MUCH_FRAMING, "bad_response")

    def _fail(self, text: str, code: str) -> None:
        self._unparsed = b""
        self._parser = None  # its view of the end would replace this error
        self.set_exception(StepError(text, code=code, external=True, unknown=True))
        if self.transport is not None:
            self.transport.abort()

    def _refuse_more(self) -> None:
        """Close a connection on which the server sends what nobody asked for; an answer before that stays valid."""
        self._unparsed = b""
        self._should_close = True
        self._pause_transport_reading()
        if not len(self) and self.transport is not None:  # else its reader closes it
            self.transport.close()
