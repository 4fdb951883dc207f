"""Cost by what waits: tasks that do nothing, promised all at once, until the last is done."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from loadtests.bench import machine
from loadtests.bench.background import PROMISE, TASK, TASK_MODULE, WORKERS
from loadtests.bench.errors import BenchError
from loadtests.bench.machine import cpu_seconds
from loadtests.bench.people import Connection
from loadtests.bench.stack import Stack, stack
from loadtests.growth.curves import MICROSECONDS, Curve, Point, Say

KEY: Final = "backlog"
LINE: Final = "tasks that do nothing"
WARM_UP: Final = 500
POLL_SECONDS: Final = 0.1
#: Far above what it takes: below it, something is stuck.
SLOWEST_PER_SECOND: Final = 100
LEAST_SECONDS: Final = 60
KIB: Final = 1024


async def measure(folder: Path, sizes: Sequence[int], say: Say) -> Curve:
    """Return the curve.

    Args:
        folder: Where the servers keep their data.
        sizes: Tasks that wait, the fewest first.
        say: Told what is measured next.

    Raises:
        BenchError: if a server does not start, or a task is not done, or done twice.
    """
    async with stack(folder) as running:
        for worker in WORKERS:
            await running.start_service(worker, "--include", TASK_MODULE)
        connection = await running.connect()
        try:
            await _drain(running, connection, WARM_UP, say)
            return Curve(KEY, [Point(LINE, size, await _drain(running, connection, size, say)) for size in sizes])
        finally:
            await connection.close()


async def _drain(running: Stack, connection: Connection, tasks: int, say: Say) -> dict[str, float]:
    """Promise tasks, wait until they are done; return what each cost."""
    loop = asyncio.get_running_loop()
    families = ([running.pid(name) for name in WORKERS], [running.pid("postgres")], [running.pid("valkey")])
    done, empty = await _done(connection), machine.resident_mib(running.pid("valkey"))
    before, started, fullest = [cpu_seconds(*pids) for pids in families], loop.time(), empty
    await connection.execute(PROMISE, TASK, tasks)
    try:
        async with asyncio.timeout(LEAST_SECONDS + tasks / SLOWEST_PER_SECOND):
            while await connection.fetchval("SELECT EXISTS (SELECT FROM outbox)"):
                fullest = max(fullest, machine.resident_mib(running.pid("valkey")))
                say(f"backlog: {tasks:,} tasks, {loop.time() - started:.0f} s")
                await asyncio.sleep(POLL_SECONDS)
    except TimeoutError:
        raise BenchError(f"{tasks} tasks were not done within {LEAST_SECONDS + tasks / SLOWEST_PER_SECOND:.0f} s") from None
    seconds = loop.time() - started
    spent = [(cpu_seconds(*pids) - sooner) / tasks * MICROSECONDS for pids, sooner in zip(families, before, strict=True)]
    if (recorded := await _done(connection) - done) != tasks:
        raise BenchError(f"{tasks} tasks were promised, {recorded} were recorded as done")
    workers, postgres, valkey = spent
    return {
        "us": sum(spent),
        "workers": workers,
        "postgres": postgres,
        "valkey": valkey,
        "per_second": tasks / seconds,
        "kib": (fullest - empty) * KIB / tasks,
    }


async def _done(connection: Connection) -> int:
    found: int = await connection.fetchval("SELECT count(*) FROM inbox WHERE name = $1", TASK)
    return found
