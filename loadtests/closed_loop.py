"""A small closed-loop HTTP client: every connection sends its next request when the last was answered.

For measuring what a request costs the server, not what it feels like to a client: that is what the Locust scenarios are for.
"""

import asyncio
from dataclasses import dataclass, field
from typing import override


@dataclass(slots=True)
class Tally:
    """What came back: requests answered, and those whose status was not the expected one."""

    answered: int = 0
    unexpected: list[int] = field(default_factory=list[int])


class _Connection(asyncio.Protocol):
    """One connection that repeats one request until ``deadline``, with answers told apart by their Content-Length."""

    def __init__(self, request: bytes, status: int, deadline: float, tally: Tally) -> None:
        self._request = request
        self._status = b"%d" % status
        self._deadline = deadline
        self._tally = tally
        self._loop = asyncio.get_running_loop()
        self._buffer = b""
        self.done: asyncio.Future[None] = self._loop.create_future()

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101  # create_connection makes no other
        self._transport = transport
        transport.write(self._request)

    @override
    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, separator, rest = self._buffer.partition(b"\r\n\r\n")
        if not separator:
            return
        if len(rest) < _content_length(head):
            return
        self._buffer = b""
        self._tally.answered += 1
        if head[9:12] != self._status:
            self._tally.unexpected.append(int(head[9:12]))
        if self._loop.time() < self._deadline:
            self._transport.write(self._request)
        else:
            self._transport.close()

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.done.set_result(None)


def _content_length(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line[15:])
    return 0


def encode(method: str, path: str, token: str | None = None, body: bytes = b"") -> bytes:
    """Return an HTTP/1.1 request."""
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", "Accept: application/json", "User-Agent: profile"]
    if token is not None:
        lines.append(f"Authorization: Bearer {token}")
    if body:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, "", ""]).encode() + body


async def load(port: int, request: bytes, *, status: int, seconds: float, connections: int = 16) -> Tally:
    """Send ``request`` over and over to a port of this machine and return what came back.

    Args:
        port: Where the server listens on 127.0.0.1.
        request: As ``encode`` makes it.
        status: The status expected.
        seconds: How long to go on.
        connections: Requests under way at once.

    Raises:
        TimeoutError: if answers are missing 30 seconds after the end.
    """
    loop = asyncio.get_running_loop()
    tally = Tally()
    deadline = loop.time() + seconds

    def connection() -> _Connection:
        return _Connection(request, status, deadline, tally)

    opened = [await loop.create_connection(connection, "127.0.0.1", port) for _ in range(connections)]
    async with asyncio.timeout(seconds + 30):
        await asyncio.gather(*(protocol.done for _, protocol in opened))
    return tally
