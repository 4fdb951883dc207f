"""Clients of live events that resume, and remember how each of their connections ended."""

import asyncio
import contextlib
import json
import random
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from tests.reliability.actors import API, Person, Watch

RESTART = 1012
OPEN_SECONDS = 15


@dataclass(slots=True)
class Socket(Watch):
    """What one client saw.

    Attributes:
        closes: How often its connections ended with which code.
        refused: What it was told instead of a connection.
        open: Whether it is connected now.
    """

    closes: Counter[int] = field(default_factory=Counter[int])
    refused: list[str] = field(default_factory=list[str])
    open: bool = False


async def follow(url: str, person: Person, seen: Socket) -> None:
    """Follow a person's events for ever. ``events.missed`` is counted and not mended: nothing in these runs may cause it."""
    last: str | None = None
    address = url.replace("http", "ws", 1) + f"{API}/ws"
    while True:
        query = f"?last_event_id={last}" if last else ""
        try:
            async with connect(address + query, additional_headers=person.headers, open_timeout=OPEN_SECONDS, proxy=None) as socket:
                seen.connections += 1
                seen.open = True
                last = await _read(socket, seen, last)
        except ConnectionClosed as closed:  # pragma: no cover  # while it opens
            seen.refused.append(str(closed))
        except InvalidStatus as answered:
            seen.refused.append(f"status {answered.response.status_code}")
        except (OSError, WebSocketException, TimeoutError) as error:
            seen.refused.append(f"{type(error).__name__}: {error}")
        await asyncio.sleep(random.uniform(0.05, 0.5))


async def _read(socket: ClientConnection, seen: Socket, last: str | None) -> str | None:
    try:
        async for message in socket:
            frame = json.loads(message)
            if frame["type"] == "events.missed":
                seen.missed += 1
                continue
            last = str(frame["id"])
            seen.frames[last] += 1
            if frame["type"].startswith("item."):
                seen.events.add((frame["type"], frame["data"]["id"], frame["data"].get("version", 0)))
    except ConnectionClosed:
        pass
    finally:
        seen.open = False
    # A cancelled read leaves before this: the end of the run is no end of a connection.
    seen.closes[socket.close_code or 0] += 1
    return last


@asynccontextmanager
async def following(url: str, people: Sequence[Person], sockets_each: int, open_seconds: float = 60) -> AsyncGenerator[list[Socket]]:
    """Hold sockets open for the length of the block, some for each person; yields when all are open."""
    seen = [(person, Socket(person.id)) for person in people for _ in range(sockets_each)]
    tasks = [asyncio.create_task(follow(url, person, socket)) for person, socket in seen]
    sockets = [socket for _, socket in seen]
    try:
        await all_open(sockets, open_seconds)
        yield sockets
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def all_open(sockets: Sequence[Socket], seconds: float) -> None:
    """Wait until every socket is open.

    Raises:
        AssertionError: if some are not in time, with what they were told.
    """
    closed = await _others(sockets, lambda socket: socket.open, seconds)
    assert not closed, f"{len(closed)} sockets are not open: {[socket.refused[-1:] for socket in closed[:3]]}"


async def all_heard(sockets: Sequence[Socket], seconds: float) -> None:
    """Wait until every socket has an event to resume after: one that never had any has nothing to lose.

    Raises:
        AssertionError: if some have none in time.
    """
    silent = await _others(sockets, lambda socket: bool(socket.frames), seconds)
    assert not silent, f"{len(silent)} sockets have seen no event"


async def _others(sockets: Sequence[Socket], holds: Callable[[Socket], bool], seconds: float) -> list[Socket]:
    """Return the sockets of which something does not hold, once there are none or the time is over."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while not all(map(holds, sockets)):  # noqa: ASYNC110  # two hundred clients, one question
                await asyncio.sleep(0.1)
    return [socket for socket in sockets if not holds(socket)]
