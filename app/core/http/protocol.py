"""HTTP/1.1 on the wire: uvicorn's protocol, with limits and with problems for what never becomes a request."""

import asyncio
from collections.abc import Callable
from enum import Enum, auto
from typing import Any, Final, cast, override

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from app.core import metrics
from app.core.drain import Drain
from app.core.errors import HeadersTooLarge, MalformedRequest, Problem, RequestTimeout, UriTooLong
from app.core.http import headers, problems
from app.core.logging import access

MAX_URL_BYTES: Final = 8 * 1024
MAX_HEADER_BYTES: Final = 16 * 1024
#: Bytes of a head that may wait for its end: URL and headers, and what stands around them.
MAX_HEAD_BYTES: Final = MAX_URL_BYTES + MAX_HEADER_BYTES + 1024
HEAD_SECONDS: Final = 10.0

#: How long, in seconds and bytes, the rest of a body is read that nobody wants any more. Closing the connection at once
#: would make the kernel reset it, and the client would lose the answer that says why.
LINGER_SECONDS: Final = 10.0
LINGER_BYTES: Final = 32 * 1024 * 1024


class Reading(Enum):
    """What of a request is expected next."""

    START = auto()
    HEAD = auto()
    BODY = auto()


class HttpProtocol(HttpToolsProtocol):
    """A connection of the server."""

    url: bytes = b""
    _drain: Drain
    _refusal: Problem | None = None
    _reading = Reading.START
    _messages = 0
    _ended = False
    _header_bytes = 0
    _waiting_bytes = 0
    _discarded_bytes = 0
    _timer: asyncio.TimerHandle | None = None

    def __init__(self, config: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(config, *args, **kwargs)
        self.headers = []
        self._drain = config.app.state.drain

    # --- the connection

    @override
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        super().connection_made(transport)
        self._expire_in(HEAD_SECONDS, self._head_expired)

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    @override
    def data_received(self, data: bytes) -> None:
        if self._ended:
            return
        before, messages = self._reading, self._messages
        super().data_received(data)
        if self._reading is Reading.BODY or self._ended:
            return
        begun = self._messages - messages
        if begun and self._reading is Reading.START:
            return
        # More of a head, or bytes that begin none. Where other requests ended in the same piece, it counts from the next.
        alone = begun == 0 or (begun == 1 and before is Reading.START)
        self._wait_for_more(len(data) if alone else 0)

    def _wait_for_more(self, size: int) -> None:
        self._waiting_bytes += size
        if self._waiting_bytes > MAX_HEAD_BYTES:
            self._refuse(HeadersTooLarge())
        elif self._timer is None and self._answering() is None:
            self._expire_in(HEAD_SECONDS, self._head_expired)

    @override
    def handle_websocket_upgrade(self) -> None:
        self._closing = True  # from here on the connection is another protocol's
        super().handle_websocket_upgrade()

    def _expire_in(self, seconds: float, then: Callable[[], None]) -> None:
        self._stop_timer()
        self._timer = self.loop.call_later(seconds, then)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _head_expired(self) -> None:
        self._timer = None
        if self._reading is Reading.HEAD:
            self._refuse(RequestTimeout())
        else:
            self.transport.close()

    def _answering(self) -> RequestResponseCycle | None:
        """Return the last request that came, if it is still being answered."""
        cycle = cast("RequestResponseCycle | None", self.cycle)
        return None if cycle is None or cycle.response_complete else cycle

    # --- the parser's events

    @override
    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._reading = Reading.HEAD
        self._messages += 1
        self._header_bytes = self._waiting_bytes = self._discarded_bytes = 0

    @override
    def on_url(self, url: bytes) -> None:
        self.url += url
        if len(self.url) > MAX_URL_BYTES:
            self._refuse_while_parsing(UriTooLong())

    @override
    def on_header(self, name: bytes, value: bytes) -> None:
        self._header_bytes += len(name) + len(value) + 4
        if self._header_bytes > MAX_HEADER_BYTES:
            self._refuse_while_parsing(HeadersTooLarge())
        if self._reading is Reading.BODY:
            return  # a trailer: it came after the decisions that headers are for
        name = name.lower()
        if name == b"expect" and value.lower() == b"100-continue":
            self.expect_100_continue = True
        self.headers.append((name, value))

    @override
    def on_headers_complete(self) -> None:
        self._stop_timer()
        self._reading = Reading.BODY
        super().on_headers_complete()
        # Refused without its body, a request that waits for 100 Continue leaves open whether the body still comes.
        if (self._drain.begun or self.expect_100_continue) and (cycle := self._answering()) is not None:
            cycle.keep_alive = False

    @override
    def on_body(self, body: bytes) -> None:
        if self.cycle.response_complete:
            self._discard(len(body))
        else:
            super().on_body(body)

    @override
    def on_message_complete(self) -> None:
        self._reading = Reading.START
        if self._discarded_bytes:
            self._stop_timer()
        super().on_message_complete()

    def _discard(self, size: int) -> None:
        if self._discarded_bytes == 0:
            self._expire_in(LINGER_SECONDS, self.transport.close)
        self._discarded_bytes += size
        if self._discarded_bytes > LINGER_BYTES:
            self.transport.close()

    # --- refusals

    def _refuse_while_parsing(self, problem: Problem) -> None:
        self._refusal = problem
        raise httptools.HttpParserError(problem.title)  # ends the parsing; uvicorn calls send_400_response

    @override
    def send_400_response(self, msg: str) -> None:
        self._refuse(self._refusal or MalformedRequest("This is not HTTP as RFC 9112 has it."))

    def _refuse(self, problem: Problem) -> None:
        """Answer what never became a request, and end the connection."""
        self._ended = True
        self._stop_timer()
        cycle = self._answering()
        if cycle is None:
            self._write(problem)
        elif self._reading is not Reading.BODY:
            cycle.keep_alive = False  # an earlier request is being answered: its answer is the last one here
        elif cycle.response_started or self.pipeline:
            self.transport.close()
        else:
            cycle.disconnected = True
            cycle.message_event.set()
            self._write(problem)

    def _write(self, problem: Problem) -> None:
        request_id = headers.request_id(next((value for name, value in self.headers if name == b"x-request-id"), None))
        path = self.url.partition(b"?")[0][:MAX_URL_BYTES].decode("ascii", "replace")
        status, fields, body = problems.render(problem, request_id=request_id, instance=path)
        headers.add_security(fields, https=False)
        fields += [*self.server_state.default_headers, (b"x-request-id", request_id.encode()), (b"connection", b"close")]
        head = b"".join(b"%b: %b\r\n" % field for field in fields)
        self.transport.write(b"%b%b\r\n%b" % (STATUS_LINE[status], head, body))
        self._linger()
        metrics.observe_request("none", "OTHER", status, 0)
        access("OTHER", "none", path, status, 0, len(body), request_id, None, self.client[0] if self.client else None)

    def _linger(self) -> None:
        """Say that nothing more comes, and read what the client still sends until it stops."""
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._expire_in(LINGER_SECONDS, self.transport.close)
