"""Cost by sockets: the same number of deliveries, to ever more sockets of one process."""

import asyncio
import base64
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from app.core.descriptors import allow_descriptors
from loadtests.bench import machine
from loadtests.bench.errors import BenchError
from loadtests.bench.machine import cpu_seconds
from loadtests.bench.people import Connection, Person, register
from loadtests.bench.sockets import (
    ANNOUNCE,
    OPENING,
    OTHER_DESCRIPTORS,
    PAUSE_SECONDS,
    TIMEOUT_SECONDS,
    _check,  # pyright: ignore[reportPrivateUsage]
    _Socket,  # pyright: ignore[reportPrivateUsage]
)
from loadtests.bench.stack import Stack, stack
from loadtests.growth.curves import MICROSECONDS, Curve, Point, Say

KEY: Final = "sockets"
LINE: Final = "live events"
#: What a user may open in one process, unless a setting says otherwise.
PER_USER: Final = 1_000
DELIVERIES: Final = 60_000
#: Bounds of the events of a size: enough that their CPU can be read, and few enough that one socket does not take minutes.
FEWEST_EVENTS: Final = 12
MOST_EVENTS: Final = 200
#: Of fewer, memory drowns in what a process takes and gives back anyway.
READABLE_SOCKETS: Final = 100
KIB: Final = 1024


@dataclass(frozen=True, slots=True)
class Group:
    """A user and the user's sockets."""

    person: Person
    sockets: list[_Socket]


async def measure(folder: Path, sizes: Sequence[int], say: Say) -> Curve:
    """Return the curve.

    Args:
        folder: Where the servers keep their data.
        sizes: Sockets, the fewest first; beyond ``PER_USER`` they are of several users.
        say: Told what is measured next.

    Raises:
        BenchError: if a server does not start, or a socket misses an event, or sees it twice or changed.
    """
    allow_descriptors(sizes[-1] + OTHER_DESCRIPTORS)
    server_place, other_place = machine.places()
    points: list[Point] = []
    with machine.pinned(other_place):
        async with stack(folder) as running:
            with machine.pinned(server_place):
                await running.start_service("api")
            await running.start_service("worker-main")
            connection = await running.connect()
            groups: list[Group] = []
            try:
                people = await register(connection, running.settings, count=-(-sizes[-1] // PER_USER), items=2)
                groups = [Group(person, []) for person in people]
                await _fill(running.plan.api_port, groups, 1)
                await _announce(running, connection, groups, MOST_EVENTS)  # warms up
                await _close(groups)
                empty = _memory(running)
                for size in sizes:
                    say(f"sockets: {size:,}")
                    await _fill(running.plan.api_port, groups, size)
                    values = await _announce(running, connection, groups, _events(size))
                    if size >= READABLE_SOCKETS:
                        values["kib"] = (_memory(running) - empty) / size / KIB
                    points.append(Point(LINE, size, values))
            finally:
                await _close(groups)
                await connection.close()
    return Curve(KEY, points)


def _events(size: int) -> int:
    return max(FEWEST_EVENTS, min(MOST_EVENTS, DELIVERIES // size))


def _memory(running: Stack) -> float:
    return machine.resident_mib(running.pid("api")) * machine.MIB


async def _fill(port: int, groups: Sequence[Group], size: int) -> None:
    """Open sockets until there are ``size``, those of a user before those of the next."""
    loop = asyncio.get_running_loop()
    few = asyncio.Semaphore(OPENING)
    lines = ("GET /api/v1/ws HTTP/1.1", "Host: 127.0.0.1", "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13")

    async def open_one(person: Person) -> _Socket:
        key = base64.b64encode(os.urandom(16)).decode()
        head = (*lines, f"Sec-WebSocket-Key: {key}", f"Authorization: Bearer {person.token}", "", "")
        async with few:
            _, socket = await loop.create_connection(lambda: _Socket("\r\n".join(head).encode()), "127.0.0.1", port)
            await socket.open
            return socket

    async with asyncio.timeout(TIMEOUT_SECONDS):
        for number, group in enumerate(groups):
            missing = min(PER_USER, size - number * PER_USER) - len(group.sockets)
            group.sockets.extend(await asyncio.gather(*(open_one(group.person) for _ in range(missing))))


async def _close(groups: Sequence[Group]) -> None:
    for group in groups:
        for socket in group.sockets:
            socket.transport.abort()
        group.sockets.clear()
    await asyncio.sleep(0.5)  # the server notices


async def _announce(running: Stack, connection: Connection, groups: Sequence[Group], events: int) -> dict[str, float]:
    """Send events one by one to every user with sockets; return CPU per delivery and deliveries per second."""
    loop = asyncio.get_running_loop()
    with_sockets = [group for group in groups if group.sockets]
    for group in with_sockets:
        for socket in group.sockets:  # those opened just now saw nothing of what came before
            socket.frames, socket.checksum = 0, 0
    cpu, started = cpu_seconds(running.pid("api")), loop.time()
    for _ in range(events):
        for group in with_sockets:
            await connection.execute(ANNOUNCE, group.person.item_id)
            await asyncio.sleep(PAUSE_SECONDS)
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            while any(socket.frames < events for group in with_sockets for socket in group.sockets):  # noqa: ASYNC110  # an event per frame would cost more
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise BenchError(f"sockets missed events: not all of {events} came within {TIMEOUT_SECONDS} s") from None
    seconds, cpu = loop.time() - started, cpu_seconds(running.pid("api")) - cpu
    for group in with_sockets:
        _check(group.sockets, events)
    deliveries = events * sum(len(group.sockets) for group in with_sockets)
    return {"us": cpu / deliveries * MICROSECONDS, "per_second": deliveries / seconds}
