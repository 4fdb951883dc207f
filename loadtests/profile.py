"""What a request costs, and where it goes: ``make profile``.

Starts PostgreSQL, Valkey and one API process of its own, as they ship, and sends the requests a client makes all day. CPU
time is the processes' own (user and system), so other work on the machine moves it little. A second run under py-spy tells
where the time goes; its own cost is left out of the figures.
"""

import argparse
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil
import uvloop
from rich.console import Console
from rich.table import Table

from loadtests.bench.errors import BenchError
from loadtests.bench.figures import MICROSECONDS
from loadtests.bench.machine import cpu_seconds, pinned, places
from loadtests.bench.people import Person, register
from loadtests.bench.scenarios import SCENARIOS, Scenario
from loadtests.bench.stack import Stack, stack
from loadtests.closed_loop import Request, Tally, load

WARM_UP_SECONDS: Final = 1.0

#: Parts of the way, by the file a sample was taken in.
PARTS: Final = {
    "server (uvicorn, httptools)": r"\((uvicorn|uvicorn_worker|httptools)/|app/core/http/(protocol|server)",
    "database driver (asyncpg)": r"\(asyncpg/|protocol\.c:|pgproto\.c:",
    "dispatch and compiled route": r"app/core/http/(dispatch|compile|route|body|idempotency)",
    "limits": r"app/core/http/(limits|policies|proxy)",
    "headers": r"app/core/http/",
    "principal": r"app/core/(principals|security)|app/api/deps",
    "logs and metrics": r"app/core/(logging|log_writer|metrics|scrub)|\(prometheus_client/",
    "route, service, query": r"app/(api|services|crud|schemas)/|app/core/",
    "framework (starlette, fastapi, pydantic)": r"\((starlette|fastapi|pydantic)/",
    "event loop and sockets": r"\((asyncio/|loop\.c:)|uv_",
}


@dataclass(frozen=True, slots=True)
class Cost:
    """What a scenario cost: CPU in microseconds per request."""

    scenario: str
    requests: int
    per_second: float
    api: float
    postgres: float


async def _send(running: Stack, scenario: Scenario, people: Sequence[Person], seconds: float) -> Tally:
    """Let everybody send a request over and over.

    Raises:
        BenchError: if an answer has another status than the right one.
    """
    sent = [Request(scenario.request(person), scenario.status) for person in people]
    tally = await load(running.plan.api_port, sent, seconds=seconds)
    if tally.unexpected:
        raise BenchError(f"{scenario.name}: {len(tally.unexpected)} of {tally.answered} answers were {set(tally.unexpected)}")
    return tally


async def measure(running: Stack, people: Sequence[Person], seconds: float) -> list[Cost]:
    """Return what each scenario costs."""
    costs: list[Cost] = []
    for scenario in SCENARIOS:
        await _send(running, scenario, people, WARM_UP_SECONDS)
        before = cpu_seconds(running.pid("api")), cpu_seconds(running.pid("postgres"))
        tally = await _send(running, scenario, people, seconds)
        after = cpu_seconds(running.pid("api")), cpu_seconds(running.pid("postgres"))
        spent = [(then - now) / tally.answered * MICROSECONDS for now, then in zip(before, after, strict=True)]
        costs.append(Cost(scenario.name, tally.answered, tally.per_second, *spent))
    return costs


@contextmanager
def _sampling(worker: int, output: Path, seconds: float) -> Generator[None]:
    command = (Path(sys.executable).with_name("py-spy"), "record", "--pid", str(worker), "--format", "raw", "--rate", "250")
    options = ("--duration", str(round(seconds)), "--output", str(output))
    with subprocess.Popen([*command, *options], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as sampler:
        yield
        _, complaint = sampler.communicate(timeout=seconds + 60)
    if sampler.returncode != 0:
        raise SystemExit(f"py-spy could not look into the API process: {complaint.decode().strip()}\nRun `make profile` as root.")


async def where(running: Stack, people: Sequence[Person], seconds: float) -> dict[str, Counter[str]]:
    """Return, for each scenario, the share of samples in each part of the way."""
    found: dict[str, Counter[str]] = {}
    for scenario in SCENARIOS:
        output = running.folder / f"{scenario.name.replace(' ', '-')}.raw"
        with _sampling(_answering(running.pid("api")), output, seconds):
            await _send(running, scenario, people, seconds + 1)
        found[scenario.name] = _parts(output.read_text())
    return found


def _answering(pid: int) -> int:
    """Return the process below ``pid`` that answers: the largest one."""
    return max(psutil.Process(pid).children(), key=lambda process: process.memory_info().rss).pid


def _parts(raw: str) -> Counter[str]:
    """Sum up collapsed stacks (``frame;frame;... count``) by the innermost Python frame that belongs to a part."""
    parts: Counter[str] = Counter()
    for line in raw.splitlines():
        frames, _, count = line.rpartition(" ")
        if "MainThread" in frames or "thread" not in frames:
            parts[_part(frames.split(";"))] += int(count)
    return parts


def _part(frames: list[str]) -> str:
    for frame in reversed(frames):
        for name, pattern in PARTS.items():
            if re.search(pattern, frame):
                return name
    return "other"


def show(costs: list[Cost], parts: dict[str, Counter[str]]) -> None:
    """Print the figures."""
    console = Console()
    table = Table("request", "requests", "per second", "API, CPU µs", "PostgreSQL, CPU µs", title="What a request costs")
    for cost in costs:
        table.add_row(cost.scenario, f"{cost.requests:,}", f"{cost.per_second:,.0f}", f"{cost.api:.0f}", f"{cost.postgres:.0f}")
    console.print(table)
    names = [cost.scenario for cost in costs]
    shares = Table("part of the way", *names, title="Where it goes, CPU µs per request")
    per_sample = {cost.scenario: cost.api / max(1, parts[cost.scenario].total()) for cost in costs}
    for part in sorted([*PARTS, "other"], key=lambda part: -parts[names[-1]][part]):
        shares.add_row(part, *(f"{parts[name][part] * per_sample[name]:.0f}" for name in names))
    console.print(shares)


async def profile(folder: Path, seconds: float) -> None:
    """Measure, sample, print.

    Args:
        folder: Where the servers keep their data.
        seconds: Length of each measurement.
    """
    server_place, other_place = places()
    with pinned(other_place):
        async with stack(folder) as running:
            connection = await running.connect()
            try:
                people = await register(connection, running.settings)
            finally:
                await connection.close()
            with pinned(server_place):
                await running.start_service("api")
            show(await measure(running, people, seconds), await where(running, people, seconds))


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m loadtests.profile", description=__doc__)
    parser.add_argument("--seconds", type=float, default=5, help="length of each measurement (5)")
    seconds: float = parser.parse_args().seconds
    with tempfile.TemporaryDirectory(prefix="platform-profile-") as name:
        uvloop.run(profile(Path(name), seconds))


if __name__ == "__main__":
    main()
