"""Live events: one user's events to a thousand sockets, and what a delivery costs the API."""

import asyncio
import base64
import json
import os
import zlib
from typing import Any, Final, cast, override

from app.core.descriptors import allow_descriptors
from loadtests.bench.errors import BenchError
from loadtests.bench.figures import MICROSECONDS, Fanout, Spread
from loadtests.bench.machine import cpu_seconds
from loadtests.bench.people import Connection, Person
from loadtests.bench.stack import Stack

SOCKETS: Final = 1000
EVENTS: Final = 200
#: Between two events: each comes by itself, which is what costs most.
PAUSE_SECONDS: Final = 0.03
TIMEOUT_SECONDS: Final = 120
#: Connections that are being opened at once.
OPENING: Final = 50
OTHER_DESCRIPTORS: Final = 200

TEXT: Final = 0x81
PING: Final = 0x89
SHORT: Final = 126

ANNOUNCE: Final = """
WITH announced AS (
    INSERT INTO outbox (kind, name, user_id, payload)
    SELECT 'event', 'item.updated', owner_id, to_jsonb(items) FROM items WHERE id = $1
) SELECT pg_notify('outbox', '')
"""


class _Socket(asyncio.Protocol):
    """A WebSocket client that counts text frames (RFC 6455, 5.2) and answers pings."""

    def __init__(self, request: bytes) -> None:
        self._request = request
        self._buffer = b""
        self._upgraded = False
        self.frames = 0
        self.checksum = 0
        self.last = b""
        self.open: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.WriteTransport", transport)  # create_connection makes no other
        self.transport.write(self._request)

    @override
    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not self._upgraded and not self._finish_handshake():
            return
        while self._take_frame():
            pass

    def _finish_handshake(self) -> bool:
        head, separator, rest = self._buffer.partition(b"\r\n\r\n")
        if not separator:
            return False
        if not head.startswith(b"HTTP/1.1 101"):
            self.open.set_exception(BenchError(f"a socket was refused: {head[:200]!r}"))
            return False
        self._upgraded, self._buffer = True, rest
        self.open.set_result(None)
        return True

    def _take_frame(self) -> bool:
        """Take a whole frame off the buffer; return whether there was one."""
        buffer = self._buffer
        if len(buffer) < 4:  # noqa: PLR2004  # the longest head there is here
            return False
        length, start = buffer[1], 2
        if length == SHORT:
            length, start = int.from_bytes(buffer[2:4]), 4
        if len(buffer) < start + length:
            return False
        payload, self._buffer = buffer[start : start + length], buffer[start + length :]
        if buffer[0] == TEXT:
            self.frames += 1
            self.checksum = zlib.crc32(payload, self.checksum)
            self.last = payload
        elif buffer[0] == PING:
            # A pong, masked with zeros, which leave the payload as it is.
            self.transport.write(bytes((0x8A, 0x80 | length)) + bytes(4) + payload)
        return True

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        if not self.open.done():
            self.open.set_exception(BenchError("a socket was closed before it was open"))


async def measure(stack: Stack, connection: Connection, person: Person, rounds: int) -> Fanout:
    """Return what delivering an event to one of many sockets costs the API.

    Args:
        stack: With API and workers running.
        connection: As the owner of the schema.
        person: Whose events and sockets they are.
        rounds: How often ``EVENTS`` events are sent.

    Raises:
        BenchError: if a socket misses an event, or sees it twice or changed.
    """
    allow_descriptors(SOCKETS + OTHER_DESCRIPTORS)
    sockets = await _open(stack.plan.api_port, person)
    try:
        spent = [await _round(stack, connection, person, sockets) for _ in range(rounds + 1)][1:]  # the first one warms up
    finally:
        for socket in sockets:
            socket.transport.abort()
    return Fanout(SOCKETS, Spread.of(each for each, _ in spent), Spread.of(each for _, each in spent))


async def _open(port: int, person: Person) -> list[_Socket]:
    lines = ("GET /api/v1/ws HTTP/1.1", "Host: 127.0.0.1", "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13")
    key = base64.b64encode(os.urandom(16)).decode()
    request = "\r\n".join([*lines, f"Sec-WebSocket-Key: {key}", f"Authorization: Bearer {person.token}", "", ""]).encode()
    loop = asyncio.get_running_loop()
    few = asyncio.Semaphore(OPENING)

    async def open_one() -> _Socket:
        async with few:
            _, socket = await loop.create_connection(lambda: _Socket(request), "127.0.0.1", port)
            await socket.open
            return socket

    async with asyncio.timeout(TIMEOUT_SECONDS):
        return await asyncio.gather(*(open_one() for _ in range(SOCKETS)))


async def _round(stack: Stack, connection: Connection, person: Person, sockets: list[_Socket]) -> tuple[float, float]:
    """Return CPU microseconds per delivery and deliveries per second of one round."""
    loop = asyncio.get_running_loop()
    expected = sockets[0].frames + EVENTS
    cpu, started = cpu_seconds(stack.pid("api")), loop.time()
    for _ in range(EVENTS):
        await connection.execute(ANNOUNCE, person.item_id)
        await asyncio.sleep(PAUSE_SECONDS)
    async with asyncio.timeout(TIMEOUT_SECONDS):
        while any(socket.frames < expected for socket in sockets):  # noqa: ASYNC110  # an event per frame would cost more
            await asyncio.sleep(0.01)
    seconds, cpu = loop.time() - started, cpu_seconds(stack.pid("api")) - cpu
    _check(sockets, expected)
    deliveries = EVENTS * len(sockets)
    return cpu / deliveries * MICROSECONDS, deliveries / seconds


def _check(sockets: list[_Socket], expected: int) -> None:
    seen = {(socket.frames, socket.checksum) for socket in sockets}
    frame: dict[str, Any] = json.loads(sockets[0].last)
    if len(seen) != 1 or sockets[0].frames != expected or frame["type"] != "item.updated":
        raise BenchError(f"sockets saw different events: {len(seen)} kinds of streams, {sockets[0].frames} of {expected} frames")
