"""HTTP/1.1 on the wire: uvicorn's protocol, with limits and with problems for what never becomes a request."""

import asyncio
from collections.abc import Callable
from enum import Enum, auto
from itertools import chain
from typing import TYPE_CHECKING, Any, ClassVar, Final, cast, override

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from app.core import metrics
from app.core.drain import Drain
from app.core.errors import HeadersTooLarge, MalformedRequest, Problem, RequestTimeout, UriTooLong
from app.core.http import headers, problems
from app.core.http.compile import HEADERS
from app.core.http.direct import Direct, encode
from app.core.logging import access

if TYPE_CHECKING:
    from app.core.http.dispatch import Dispatch

MAX_URL_BYTES: Final = 8 * 1024
MAX_HEADER_BYTES: Final = 16 * 1024
#: Bytes of a head that may wait for its end: URL and headers, and what stands around them.
MAX_HEAD_BYTES: Final = MAX_URL_BYTES + MAX_HEADER_BYTES + 1024
HEAD_SECONDS: Final = 10.0

#: How long, in seconds and bytes, the rest of a body is read that nobody wants any more. Closing the connection at once
#: would make the kernel reset it, and the client would lose the answer that says why.
LINGER_SECONDS: Final = 10.0
LINGER_BYTES: Final = 32 * 1024 * 1024


_METHODS: Final = {method.encode(): method for method in ("GET", "POST", "PUT", "PATCH", "DELETE")}


class _Every:
    """What stands in every answer of this process, as uvicorn has it and encoded."""

    fields: ClassVar[object] = None
    encoded: ClassVar[bytes] = b""


class Reading(Enum):
    """What of a request is expected next."""

    START = auto()
    HEAD = auto()
    BODY = auto()


class HttpProtocol(HttpToolsProtocol):
    """A connection of the server."""

    url: bytes = b""
    _drain: Drain
    _dispatch: "Dispatch"
    #: The request that may be answered directly, until it is started.
    _direct: Direct | None = None
    _idle_since: float | None = None
    _keep_alive_timer: asyncio.TimerHandle | None = None
    _refusal: Problem | None = None
    _reading = Reading.START
    _messages = 0
    _ended = False
    _waiting_bytes = 0
    _discarded_bytes = 0
    _timer: asyncio.TimerHandle | None = None

    def __init__(self, config: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(config, *args, **kwargs)
        self.headers = []
        self._drain = config.app.state.drain
        self._dispatch = config.app.middleware_stack

    # --- the connection

    @override
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        super().connection_made(transport)
        self._expire_in(HEAD_SECONDS, self._head_expired)

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        if self._keep_alive_timer is not None:
            self._keep_alive_timer.cancel()
            self._keep_alive_timer = None
        super().connection_lost(exc)

    @override
    def data_received(self, data: bytes) -> None:
        if self._ended:
            return
        before, messages = self._reading, self._messages
        self._idle_since = None
        try:
            cast("Any", self.parser).feed_data(data)
        except httptools.HttpParserError:
            self.send_400_response("")
        except httptools.HttpParserUpgrade:
            if self._should_upgrade():
                self.handle_websocket_upgrade()
            else:
                self._unsupported_upgrade_warning()
        if (direct := self._direct) is not None:
            self._direct = None
            self._begin(direct)
        if self._reading is Reading.BODY or self._ended:
            return
        begun = self._messages - messages
        if begun and self._reading is Reading.START:
            return
        # More of a head, or bytes that begin none. Where other requests ended in the same piece, it counts from the next.
        alone = begun == 0 or (begun == 1 and before is Reading.START)
        self._wait_for_more(len(data) if alone else 0)

    def _begin(self, direct: Direct) -> None:
        """Answer a request directly if it has arrived as a whole, else by ASGI."""
        if direct.disconnected:  # refused meanwhile
            return
        if not direct.whole:
            self._hand_to_asgi(direct)
            return
        task = asyncio.Task(self._dispatch.direct(self._scope_of(direct), direct, self), loop=self.loop, eager_start=True)
        if not task.done():
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)

    def _hand_to_asgi(self, direct: Direct) -> None:
        self.cycle = None  # type: ignore[assignment]  # pyright: ignore[reportAttributeAccessIssue]  # as before the first request
        self.scope = cast("Any", self._new_scope())
        super().on_headers_complete()
        if direct.body:
            super().on_body(direct.body)
        self.cycle.keep_alive = self.cycle.keep_alive and direct.keep_alive

    def _scope_of(self, direct: Direct) -> dict[str, Any]:
        return self._new_scope() | {
            "headers": direct.headers,
            "method": direct.method,
            "path": direct.path,
            "raw_path": direct.path.encode(),
            "query_string": direct.query,
            HEADERS: direct.given,
        }

    def _new_scope(self) -> dict[str, Any]:
        return {
            "type": "http",
            "asgi": {"version": self.asgi_version, "spec_version": "2.3"},
            "http_version": "1.1",
            "server": self.server,
            "client": self.client,
            "scheme": self.scheme,
            "root_path": self.root_path,
            "headers": self.headers,
            "state": self.app_state.copy(),
        }

    def _find_direct(self, given: dict[bytes, bytes]) -> Direct | None:
        """Return the request whose headers have arrived, if it is simple enough to be answered directly."""
        url, parser = self.url, cast("Any", self.parser)
        raw_path, _, query = url.partition(b"?")
        if b"%" in raw_path or b"#" in url or not url.startswith(b"/") or not url.isascii():
            return None
        method = _METHODS.get(parser.get_method())
        if method is None or self.expect_100_continue or self._answering() is not None or parser.should_upgrade():
            return None
        path = raw_path.decode()
        entry, segments = self._dispatch.find(method, path)
        if entry is None or entry.plan is None:
            return None
        keep_alive = parser.get_http_version() != "1.0" and parser.should_keep_alive() and not self._drain.begun
        return Direct(entry, segments, method, path, query, self.headers, given, keep_alive)

    def answer(self, direct: Direct, answer: bytes) -> None:
        """Send the answer to a request that is answered directly."""
        direct.response_complete = True
        if direct.disconnected:
            return
        self.transport.write(answer)
        if not direct.keep_alive:
            self.transport.close()
        self.on_response_complete()

    @property
    def every_answer(self) -> bytes:
        """Fields of every answer, encoded: the date, which uvicorn renews every second."""
        fields = self.server_state.default_headers
        if fields is not _Every.fields:
            _Every.fields, _Every.encoded = fields, encode(fields)
        return _Every.encoded

    def asgi_cycle(self, direct: Direct, scope: dict[str, Any]) -> RequestResponseCycle:
        """Return what sends an answer in pieces, in place of a request that was begun directly."""
        cycle = RequestResponseCycle(
            scope=cast("Any", scope),
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=self.access_log,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=False,
            keep_alive=direct.keep_alive,
            on_response=self.on_response_complete,
        )
        cycle.more_body, cycle.disconnected = False, direct.disconnected
        if cast("Any", self.cycle) is direct:
            self.cycle = cycle
        return cycle

    @override
    def on_response_complete(self) -> None:
        """Read on, begin with a request that waits, or wait for the next.

        One timer per connection looks now and then how long it has been idle; uvicorn arms one for every answer.
        """
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            cycle, app = self.pipeline.pop()
            self._start_asgi_task(cycle, app)
            return
        self._idle_since = self.loop.time()
        if self._keep_alive_timer is None:
            self._keep_alive_timer = self.loop.call_later(self.timeout_keep_alive, self._look_for_idleness)

    @override
    def _unset_keepalive_if_required(self) -> None:
        self._idle_since = None

    def _look_for_idleness(self) -> None:
        since = self._idle_since
        left = self.timeout_keep_alive if since is None else since + self.timeout_keep_alive - self.loop.time()
        if left <= 0:
            self._keep_alive_timer = None
            self.timeout_keep_alive_handler()
        else:
            self._keep_alive_timer = self.loop.call_later(left, self._look_for_idleness)

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
        self.url = b""
        self.expect_100_continue = False
        self.headers = []
        self._reading = Reading.HEAD
        self._messages += 1
        self._waiting_bytes = self._discarded_bytes = 0

    @override
    def on_url(self, url: bytes) -> None:
        self.url += url
        if len(self.url) > MAX_URL_BYTES:
            self._refuse_while_parsing(UriTooLong())

    @override
    def on_header(self, name: bytes, value: bytes) -> None:
        if self._reading is Reading.HEAD:  # later it is a trailer, after the decisions that headers are for
            self.headers.append((name.lower(), value))

    @override
    def on_headers_complete(self) -> None:
        if self._timer is not None:
            self._stop_timer()
        self._reading = Reading.BODY
        # What waits for the end of a head is bounded before (``_wait_for_more``), whatever it is made of.
        if 4 * len(self.headers) + sum(map(len, chain.from_iterable(self.headers))) > MAX_HEADER_BYTES:
            self._refuse_while_parsing(HeadersTooLarge())
        given = dict(self.headers)
        self.expect_100_continue = given.get(b"expect", b"").lower() == b"100-continue"
        direct = self._find_direct(given)
        if direct is not None:
            self._direct = direct
            self.cycle = cast("Any", direct)
            return
        self.scope = cast("Any", self._new_scope())
        super().on_headers_complete()
        # Refused without its body, a request that waits for 100 Continue leaves open whether the body still comes.
        if (self._drain.begun or self.expect_100_continue) and (cycle := self._answering()) is not None:
            cycle.keep_alive = False

    @override
    def on_body(self, body: bytes) -> None:
        if self._direct is not None and cast("Any", self.cycle) is self._direct:
            self._direct.body += body
        elif self.cycle.response_complete:
            self._discard(len(body))
        else:
            super().on_body(body)

    @override
    def on_message_complete(self) -> None:
        self._reading = Reading.START
        if self._discarded_bytes:
            self._stop_timer()
        if self._direct is not None and cast("Any", self.cycle) is self._direct:
            self._direct.whole = True
        else:
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
