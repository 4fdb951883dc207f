"""Taps: proxies before PostgreSQL and Redis that count what one API process asks, exactly and without asking it.

They read what the client sends and pass everything on. Connections must be plain, as they are on one machine.
"""

import asyncio
import struct
import threading
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Final, Protocol
from urllib.parse import urlsplit, urlunsplit

LOOPBACK: Final = "127.0.0.1"
CHUNK: Final = 65536
#: Requests to encrypt, sent before a connection begins (PostgreSQL, "Message Formats").
ENCRYPTION_REQUESTS: Final = frozenset({80877103, 80877104})
HEAD: Final = 5


class Reader(Protocol):
    """Understands what a client sends on one connection."""

    def feed(self, data: bytes) -> None:
        """Take what the client sent."""
        ...


class PostgresReader:
    """Counts statements by their text: simple queries, and executions of prepared ones.

    Args:
        counts: Where to.
    """

    def __init__(self, counts: Counter[str]) -> None:
        self._counts = counts
        self._buffer = b""
        self._started = False
        self._statements: dict[bytes, str] = {}
        self._portals: dict[bytes, str] = {}

    def feed(self, data: bytes) -> None:
        """Take what the client sent."""
        self._buffer += data
        while self._started or self._begin():
            if len(self._buffer) < HEAD:
                return
            length = struct.unpack_from("!I", self._buffer, 1)[0] + 1
            if len(self._buffer) < length:
                return
            kind, body, self._buffer = self._buffer[:1], self._buffer[HEAD:length], self._buffer[length:]
            self._read(kind, body)

    def _begin(self) -> bool:
        """Skip what comes before the first message, and say whether that was all of it."""
        while len(self._buffer) >= 8:  # noqa: PLR2004  # a length and a code
            length, code = struct.unpack_from("!II", self._buffer)
            if len(self._buffer) < length:
                return False
            self._buffer = self._buffer[length:]
            if code not in ENCRYPTION_REQUESTS:
                self._started = True
                return True
        return False

    def _read(self, kind: bytes, body: bytes) -> None:
        first, _, rest = body.partition(b"\0")
        match kind:
            case b"P":
                self._statements[first] = rest.partition(b"\0")[0].decode(errors="replace")
            case b"B":
                self._portals[first] = self._statements.get(rest.partition(b"\0")[0], "?")
            case b"E":
                self._counts[self._portals.get(first, "?")] += 1
            case b"Q":
                self._counts[first.decode(errors="replace")] += 1
            case _:
                pass


class RedisReader:
    """Counts commands by their names.

    Args:
        counts: Where to.
    """

    def __init__(self, counts: Counter[str]) -> None:
        self._counts = counts
        self._buffer = b""

    def feed(self, data: bytes) -> None:
        """Take what the client sent: arrays of bulk strings (RESP), one after the other."""
        self._buffer += data
        while (end := self._command()) is not None:
            self._buffer = self._buffer[end:]

    def _command(self) -> int | None:
        """Count the command at the beginning of the buffer and return where it ends, ``None`` if it is not complete."""
        line_end = self._buffer.find(b"\r\n")
        if line_end < 0:
            return None
        count, position, words = int(self._buffer[1:line_end]), line_end + 2, list[bytes]()
        for _ in range(count):
            line_end = self._buffer.find(b"\r\n", position)
            if line_end < 0:
                return None
            length, begins = int(self._buffer[position + 1 : line_end]), line_end + 2
            position = begins + length + 2
            if len(self._buffer) < position:
                return None
            words.append(self._buffer[begins : begins + length])
        self._counts[words[0].decode(errors="replace").upper()] += 1
        return position


@dataclass(slots=True)
class Tap:
    """A tap that is open.

    Attributes:
        url: The server's URL, leading through the tap.
        counts: What was asked so far.
    """

    url: str
    counts: Counter[str] = field(default_factory=Counter[str])


@contextmanager
def tapped(urls: dict[str, str]) -> Generator[dict[str, Tap]]:
    """Yield a tap for each URL, for the length of the block; they turn in a thread of their own.

    Args:
        urls: By the same names as what is yielded; ``postgresql://`` or ``redis://``.
    """
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="taps", daemon=True)
    thread.start()
    taps = {name: asyncio.run_coroutine_threadsafe(_open(url), loop).result() for name, url in urls.items()}
    try:
        yield {name: tap for name, (tap, _) in taps.items()}
    finally:
        asyncio.run_coroutine_threadsafe(_close([server for _, server in taps.values()]), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _open(url: str) -> tuple[Tap, asyncio.Server]:
    parts = urlsplit(url)
    tap = Tap(url)
    reader: Callable[[Counter[str]], Reader] = RedisReader if parts.scheme == "redis" else PostgresReader

    async def serve(incoming: asyncio.StreamReader, outgoing: asyncio.StreamWriter) -> None:
        answers, asks = await asyncio.open_connection(parts.hostname, parts.port)
        understood = reader(tap.counts)
        await asyncio.gather(_pass_on(incoming, asks, understood), _pass_on(answers, outgoing, None))

    server = await asyncio.start_server(serve, LOOPBACK, 0)
    place = parts.netloc.replace(f"{parts.hostname}:{parts.port}", f"{LOOPBACK}:{server.sockets[0].getsockname()[1]}")
    tap.url = urlunsplit(parts._replace(netloc=place))
    return tap, server


async def _pass_on(source: asyncio.StreamReader, sink: asyncio.StreamWriter, understood: Reader | None) -> None:
    with suppress(ConnectionError, asyncio.CancelledError):
        while data := await source.read(CHUNK):
            if understood is not None:
                understood.feed(data)
            sink.write(data)
            await sink.drain()
    sink.close()


async def _close(servers: list[asyncio.Server]) -> None:
    for server in servers:
        server.close()
    own = asyncio.current_task()
    tasks = [task for task in asyncio.all_tasks() if task is not own]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
