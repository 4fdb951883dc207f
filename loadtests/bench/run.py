"""The parts of a run, each with servers of its own."""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Final

from app.local.servers.ports import free_port
from loadtests.bench import background, machine, rounds, sockets
from loadtests.bench.figures import OURS, Fanout, Import, Results, Tasks
from loadtests.bench.peers import Peer
from loadtests.bench.people import Tables, register
from loadtests.bench.scenarios import SCENARIOS, Contender
from loadtests.bench.stack import Stack, answers, stack
from loadtests.bench.verify import verify

#: Rounds of what is measured without peers.
OTHER_ROUNDS: Final = 3
OTHERS: Final = 3

#: Told what is measured next.
type Say = Callable[[str], None]


def steps(peers: int, number: int) -> int:
    """Return how many measurements ``requests`` makes with so many peers and rounds."""
    return number * len(SCENARIOS) * (peers + 1)


async def requests(folder: Path, peers: Sequence[Peer], number: int, seconds: float, say: Say) -> Results:
    """Measure the requests on all servers, which share one PostgreSQL.

    Args:
        folder: Where the servers keep their data.
        peers: Who is measured beside the API.
        number: How many rounds.
        seconds: Length of each measurement.
        say: Told what is measured next.

    Raises:
        BenchError: if a server does not start, or answers wrong.
    """
    server_place, other_place = machine.places()
    with machine.pinned(other_place):
        async with stack(folder) as running:
            connection = await running.connect()
            try:
                people = await register(connection, running.settings)
                with machine.pinned(server_place):
                    contenders = await _start(running, peers)
                tables = await Tables.freeze(connection)
                await asyncio.to_thread(verify, contenders[0], contenders[1:], people, running.settings)
                await tables.restore()
                samples = await rounds.measure(rounds.Course(contenders, people, tables, running.pid("postgres"), seconds, number), say)
                return Results(samples, {contender.name: machine.resident_mib(contender.pid) for contender in contenders})
            finally:
                await connection.close()


async def _start(running: Stack, peers: Sequence[Peer]) -> list[Contender]:
    await running.start_service("api")
    found = [Contender(OURS, "ours", running.plan.api_port, running.pid("api"))]
    for peer in peers:
        port = free_port()
        await running.start(peer.program(running.plan.settings, port), partial(answers, port, "/health/live"))
        found.append(Contender(peer.name, peer.title, port, running.pid(peer.name), peer.exact))
    return found


async def others(folder: Path, say: Say) -> tuple[Fanout, Import, Tasks]:
    """Measure live events, imports and tasks.

    Args:
        folder: Where the servers keep their data.
        say: Told what is measured next.

    Raises:
        BenchError: if a server does not start, or something is lost.
    """
    async with stack(folder, store=True) as running:
        await running.start_service("api")
        await running.start_service("worker-main", "--include", background.TASK_MODULE)
        await running.start_service("worker-bulk", "--include", background.TASK_MODULE)
        connection = await running.connect()
        try:
            (person,) = await register(connection, running.settings, count=1, items=2)
            say("live events")
            fanout = await sockets.measure(running, connection, person, OTHER_ROUNDS)
            say("tasks")
            tasks = await background.measure_tasks(running, connection, OTHER_ROUNDS)
            say("imports")
            return fanout, await background.measure_imports(running, person, OTHER_ROUNDS), tasks
        finally:
            await connection.close()
