"""Cost by processes of the API: what several of them add, as far as this machine's processors go."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import psutil

from loadtests.bench.people import Tables, register
from loadtests.bench.scenarios import SCENARIOS
from loadtests.bench.stack import stack
from loadtests.growth import requests
from loadtests.growth.curves import Curve, Point, Say

KEY: Final = "processes"
MIB: Final = 2**20


async def measure(folder: Path, sizes: Sequence[int], seconds: float, say: Say) -> Curve:
    """Return the curve. Nothing is pinned: processes, client and PostgreSQL share all processors.

    Args:
        folder: Where the servers keep their data.
        sizes: Processes, the fewest first.
        seconds: Length of each measurement.
        say: Told what is measured next.

    Raises:
        BenchError: if a server does not start, or answers wrong.
    """
    points: list[Point] = []
    async with stack(folder) as running:
        connection = await running.connect()
        try:
            people = await register(connection, running.settings)
            tables = await Tables.freeze(connection)
            for size in sizes:
                running.plan = replace(running.plan, settings=dict(running.plan.settings) | {"WEB_CONCURRENCY": str(size)})
                await running.start_service("api")
                for scenario in SCENARIOS:
                    say(f"processes: {size}, {scenario.name}")
                    sample, _ = await requests.measure(running, scenario, people, seconds)
                    if scenario.writes:
                        await tables.restore()
                    memory = _memory_mib(running.pid("api"))
                    values = {"us": sample.server_us, "postgres": sample.postgres_us, "per_second": sample.per_second, "mib": memory}
                    points.append(Point(scenario.name, size, values))
                running.stop("api")
        finally:
            await connection.close()
    return Curve(KEY, points)


def _memory_mib(pid: int) -> float:
    """Return the memory of a process and its descendants; what they share counts once where the system tells."""
    first = psutil.Process(pid)
    found = [process.memory_full_info() for process in (first, *first.children(recursive=True))]
    return sum(getattr(info, "pss", info.uss) for info in found) / MIB
