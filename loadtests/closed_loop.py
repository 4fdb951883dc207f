"""A small closed-loop HTTP client: every connection sends its next request when the last was answered.

For measuring what a request costs the server, not what it feels like to a client: that is what the Locust scenarios are for.
It spends little itself, most of all on uvloop, so that the server is what limits it.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import cast, override

#: How long an answer may take beyond the end.
PATIENCE_SECONDS = 30


def anything(_body: bytes) -> bool:
    """Accept any body."""
    return True


@dataclass(frozen=True, slots=True)
class Request:
    """What one connection sends over and over, and what it expects.

    Attributes:
        raw: The request as ``encode`` makes it.
        status: The status expected.
        accepts: Tells whether an answer's body is right.
    """

    raw: bytes
    status: int = 200
    accepts: Callable[[bytes], bool] = anything


@dataclass(slots=True)
class Tally:
    """What came back.

    Attributes:
        seconds: From the first request to the last answer.
        latencies: Seconds of each answer, in the order in which they came.
        unexpected: Statuses of the answers with another status than the expected one.
        wrong: Bodies that were not right.
    """

    seconds: float = 0
    latencies: list[float] = field(default_factory=list[float])
    unexpected: list[int] = field(default_factory=list[int])
    wrong: list[bytes] = field(default_factory=list[bytes])

    @property
    def answered(self) -> int:
        """Requests answered."""
        return len(self.latencies)

    @property
    def per_second(self) -> float:
        """Requests answered per second."""
        return self.answered / self.seconds

    def percentile(self, share: float) -> float:
        """Return the latency in seconds below which a share (0 to 1) of the answers came."""
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


class _Connection(asyncio.Protocol):
    """One connection that repeats its request until the deadline; answers are told apart by their Content-Length."""

    def __init__(self, request: Request, deadline: float, tally: Tally) -> None:
        self._request = request
        self._status = b"%d" % request.status
        self._deadline = deadline
        self._tally = tally
        self._buffer = b""
        self._sent = 0.0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.WriteTransport", transport)  # create_connection makes no other
        self._send()

    def _send(self) -> None:
        self._sent = perf_counter()
        self._transport.write(self._request.raw)

    @override
    def data_received(self, data: bytes) -> None:
        if self._buffer:
            data = self._buffer + data
        end = data.find(b"\r\n\r\n")
        if end < 0 or len(data) < (whole := end + 4 + _content_length(data[:end])):
            self._buffer = data
            return
        self._buffer = b""
        self._take(data[9:12], data[end + 4 : whole])
        if perf_counter() < self._deadline:
            self._send()
        else:
            self._transport.close()

    def _take(self, status: bytes, body: bytes) -> None:
        self._tally.latencies.append(perf_counter() - self._sent)
        if status != self._status:
            self._tally.unexpected.append(int(status))
        elif not self._request.accepts(body):
            self._tally.wrong.append(body)

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        if self.done.done():
            return
        if perf_counter() < self._deadline:
            self.done.set_exception(ConnectionError("the server closed a connection"))
        else:
            self.done.set_result(None)


def _content_length(head: bytes) -> int:
    name = head.lower().find(b"\r\ncontent-length:")
    if name < 0:
        return 0
    end = head.find(b"\r\n", name + 2)
    return int(head[name + 17 : end if end >= 0 else None])


def encode(method: str, path: str, token: str | None = None, body: bytes = b"") -> bytes:
    """Return an HTTP/1.1 request."""
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", "Accept: application/json", "User-Agent: closed-loop"]
    if token is not None:
        lines.append(f"Authorization: Bearer {token}")
    if body:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, "", ""]).encode() + body


async def load(port: int, requests: Sequence[Request], *, seconds: float) -> Tally:
    """Send requests over and over to a port of this machine, one connection each, and return what came back.

    Args:
        port: Where the server listens on 127.0.0.1.
        requests: What each connection sends.
        seconds: How long to go on; every request is sent at least once.

    Raises:
        ConnectionError: if the server closes a connection before the end.
        TimeoutError: if answers are missing ``PATIENCE_SECONDS`` after the end.
    """
    loop = asyncio.get_running_loop()
    tally = Tally()
    started = perf_counter()
    deadline = started + seconds
    opened: list[_Connection] = []
    for request in requests:
        _, protocol = await loop.create_connection(lambda request=request: _Connection(request, deadline, tally), "127.0.0.1", port)
        opened.append(protocol)
    async with asyncio.timeout(seconds + PATIENCE_SECONDS):
        await asyncio.gather(*(protocol.done for protocol in opened))
    tally.seconds = perf_counter() - started
    return tally
