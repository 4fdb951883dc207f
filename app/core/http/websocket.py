"""The server's side of a WebSocket (RFC 6455): uvicorn's protocol, tightened for connections that only send.

Sending through ASGI costs a task switch and a frame's encoding per peer. A peer of live events takes the same bytes as a
thousand others, so the protocol offers itself to the application as an extension of the scope (``frames.Connection``).
"""

import logging
from http import HTTPStatus
from typing import Any, Final, override

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.datastructures import Headers
from websockets.frames import CloseCode, Frame
from websockets.http11 import Request, Response
from websockets.server import ServerProtocol

from app.core.errors import MalformedRequest, MethodNotAllowed, Problem
from app.core.http import headers, problems
from app.core.http.frames import EXTENSION

#: Clients have nothing to say; what is longer closes the connection with 1009.
MAX_MESSAGE_BYTES: Final = 4096
PING_INTERVAL_SECONDS: Final = 20.0
PING_TIMEOUT_SECONDS: Final = 20.0
#: Seconds a peer has to answer a close, and a dead one until its buffers are dropped.
CLOSE_TIMEOUT_SECONDS: Final = 5.0
#: Bytes that may wait in the process for a peer, beyond what the kernel took.
MAX_BACKLOG_BYTES: Final = 2**20

# uvicorn logs every connection with its query, where the ticket is; the access log has the path.
logger = logging.getLogger("app.websocket")
logger.setLevel(logging.WARNING)


class _Handshake(ServerProtocol):
    """Refuses a malformed handshake with a problem. Takes no compression: it would cost each peer a context and the CPU of its own copy."""

    @override
    def accept(self, request: Request) -> Response:
        response = super().accept(request)
        return response if response.status_code == HTTPStatus.SWITCHING_PROTOCOLS else _refusal(request, response)


def _refusal(request: Request, refused: Response) -> Response:
    detail = (refused.body or b"").decode().strip()
    problem: Problem = MalformedRequest(detail)
    if refused.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        problem = MethodNotAllowed(detail, headers={"Allow": "GET"})
    given = request.headers.get_all("X-Request-ID")
    request_id = headers.request_id(given[0].encode("latin-1") if given else None)
    status, raw, body = problems.render(problem, request_id=request_id, instance=request.path.partition("?")[0])
    headers.add_security(raw, https=False)
    raw += [(b"connection", b"close"), (b"x-request-id", request_id.encode())]
    return Response(status, HTTPStatus(status).phrase, Headers([(name.decode(), value.decode("latin-1")) for name, value in raw]), body)


class WebSocketProtocol(WebSocketsSansIOProtocol):
    """A WebSocket connection of the server."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.logger = logger
        self.conn = _Handshake(max_size=MAX_MESSAGE_BYTES, logger=logger)
        self.ping_interval, self.ping_timeout = PING_INTERVAL_SECONDS, PING_TIMEOUT_SECONDS
        self.close_timeout = CLOSE_TIMEOUT_SECONDS
        self._lagging = False
        self._open = False

    def push(self, frame: bytes) -> None:
        """Send a whole frame, or close the connection (1013) where the peer lags too far behind."""
        if not self._open:
            return
        self.transport.write(frame)
        if self._lagging and self.transport.get_write_buffer_size() > MAX_BACKLOG_BYTES:
            self.close(CloseCode.TRY_AGAIN_LATER, "too slow; resume with last_event_id")

    def close(self, code: int, reason: str) -> None:
        """Start the closing handshake. A peer that does not answer in time is cut off, its unread frames dropped."""
        if not self._open:
            return
        self._open = False
        self.close_sent = True
        self.stop_keepalive()
        self.conn.send_close(code, reason)
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.queue.put_nowait({"type": "websocket.disconnect", "code": code, "reason": reason})
        self.close_timer = self.loop.call_later(CLOSE_TIMEOUT_SECONDS, self.transport.abort)

    async def drained(self) -> None:
        """Wait until the peer keeps up again, or is gone."""
        await self.writable.wait()

    @override
    def handle_connect(self, event: Request) -> None:
        super().handle_connect(event)
        if self.response.status_code == HTTPStatus.SWITCHING_PROTOCOLS:
            extensions: dict[str, Any] = self.scope.setdefault("extensions", {})
            extensions[EXTENSION] = self

    @override
    async def send(self, message: Any) -> None:
        await super().send(message)
        if message["type"] == "websocket.accept":
            self._open = self.handshake_complete and not self.disconnected
        elif self.close_sent and self.initial_response is not None:
            self.handshake_complete = True  # refused: uvicorn would complain that nothing was answered

    @override
    def pause_writing(self) -> None:
        self._lagging = True
        super().pause_writing()

    @override
    def resume_writing(self) -> None:
        self._lagging = False
        super().resume_writing()

    @override
    def handle_close(self, event: Frame) -> None:
        self._open = False
        super().handle_close(event)
        self._cut_off_later()

    @override
    def handle_parser_exception(self) -> None:
        self._open = False
        super().handle_parser_exception()
        self._cut_off_later()

    @override
    def keepalive_timeout(self) -> None:
        self._open = False
        super().keepalive_timeout()
        self._cut_off_later()

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._open = False
        super().connection_lost(exc)

    @override
    def shutdown(self) -> None:
        if self._open:
            self.close(CloseCode.SERVICE_RESTART, "restarting; resume with last_event_id")
        else:
            super().shutdown()
            self._cut_off_later()

    def _cut_off_later(self) -> None:
        """Drop what a peer leaves unread: a closing transport would wait for it until TCP gives up."""
        self.loop.call_later(CLOSE_TIMEOUT_SECONDS, self.transport.abort)
