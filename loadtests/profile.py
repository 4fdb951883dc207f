"""What a request costs, and where it goes: ``make profile``.

Starts PostgreSQL, Valkey and one API process of its own, as they ship, and sends the requests a client makes all day. CPU
time is the processes' own (user and system), so other work on the machine moves it little. A second run under py-spy tells
where the time goes; its own cost is left out of the figures.
"""

import argparse
import asyncio
import json
import os
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import asyncpg
import psutil
from rich.console import Console
from rich.table import Table

from app.core.config import Settings
from app.core.security import create_access_token
from app.local.servers import Program, Running, Server, postgres, start, valkey, wait_until_ready
from app.local.servers.ports import free_ports
from loadtests.closed_loop import encode, load

REPOSITORY: Final = Path(__file__).parents[1]
API: Final = (sys.executable, "-m", "gunicorn", "--config", "python:app.core.gunicorn", "app.main:create_app()")
ITEMS: Final = 1000
NEW_ITEM: Final = json.dumps(
    {"title": "a new item", "description": "made by a client", "attributes": {"colour": "red", "weight": 3}}
).encode()

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
class Scenario:
    """A request that is sent over and over."""

    name: str
    request: bytes
    status: int = 200


@dataclass(frozen=True, slots=True)
class Cost:
    """What a scenario cost: CPU in microseconds per request."""

    scenario: str
    requests: int
    per_second: float
    api: float
    postgres: float


@dataclass(frozen=True, slots=True)
class Stack:
    """The servers of a profile."""

    environment: dict[str, str]
    postgres_pid: int
    scenarios: list[Scenario]


async def _start(server: Server, folder: Path) -> Running:
    running = start(server.program, folder / f"{server.program.name}.log")
    await wait_until_ready(server, running)
    return running


@asynccontextmanager
async def stack(folder: Path) -> AsyncGenerator[Stack]:
    """Start PostgreSQL with a user and ``ITEMS`` items, and Valkey."""
    ports = free_ports(2)
    secret = os.urandom(32).hex()
    database = postgres.prepare(folder, ports[0], postgres.Passwords(superuser=secret, owner=secret, app=secret))
    cache = valkey.prepare(folder, ports[1], secret)
    running: list[Running] = []
    try:
        running += [await _start(server, folder) for server in (database, cache)]
        await postgres.provision(database)
        environment = {
            "ENVIRONMENT": "local",
            "SECRET_KEY": secret,
            "DATABASE_URL": database.url(),
            "MIGRATION_DATABASE_URL": database.url(postgres.OWNER),
            "REDIS_URL": cache.url(),
            "METRICS_PORT": "0",
            "WEB_CONCURRENCY": "1",
        }
        migrate = (sys.executable, "-m", "alembic", "upgrade", "head")
        await asyncio.to_thread(subprocess.run, migrate, cwd=REPOSITORY, env=os.environ | environment, check=True, capture_output=True)
        yield Stack(environment, running[0].pid, await _scenarios(environment))
    finally:
        for server in reversed(running):
            server.stop()


async def _scenarios(environment: dict[str, str]) -> list[Scenario]:
    connection = await asyncpg.connect(environment["MIGRATION_DATABASE_URL"])
    try:
        user_id = await connection.fetchval("INSERT INTO users (email, password_hash) VALUES ('profile@example.com', 'none') RETURNING id")
        ends = datetime.now(UTC) + timedelta(days=1)
        session_id = await connection.fetchval("INSERT INTO sessions (user_id, expires_at) VALUES ($1, $2) RETURNING id", user_id, ends)
        await connection.execute(
            """INSERT INTO items (owner_id, title, description, attributes)
            SELECT $1, 'item number ' || n, 'a text of usual length for ' || n, jsonb_build_object('colour', 'red', 'number', n)
            FROM generate_series(1, $2::int) n""",
            user_id,
            ITEMS,
        )
        item_id = await connection.fetchval("SELECT max(id) FROM items")
        await connection.execute("VACUUM ANALYZE items")
    finally:
        await connection.close()
    settings = Settings(_env_file=None, **environment)  # type: ignore[arg-type]  # pyright: ignore[reportCallIssue, reportArgumentType]  # strings, as the environment has them
    token = create_access_token(settings, user_id=user_id, session_id=session_id)
    return [
        Scenario("health", encode("GET", "/health/live")),
        Scenario("item", encode("GET", f"/api/v1/items/{item_id}", token)),
        Scenario("list of 50", encode("GET", "/api/v1/items/?limit=50", token)),
        Scenario("create", encode("POST", "/api/v1/items/", token, NEW_ITEM), 201),
    ]


@asynccontextmanager
async def api(environment: dict[str, str], folder: Path, *prefix: str) -> AsyncGenerator[tuple[int, int]]:
    """Start one API process and yield its port and the process id of the worker that answers."""
    port = free_ports(1)[0]
    settings = os.environ | environment | {"PORT": str(port)}
    program = Program(name="api", argv=(*prefix, *API), cwd=REPOSITORY, env=settings)
    running = start(program, folder / "api.log")
    try:
        async with asyncio.timeout(60):
            while True:
                try:
                    tally = await load(port, encode("GET", "/health/ready"), status=200, seconds=0, connections=1)
                except OSError:
                    tally = None
                if tally is not None and tally.answered and not tally.unexpected:
                    break
                await asyncio.sleep(0.1)
        yield port, _answering(running.pid).pid
    finally:
        running.stop()


def _answering(pid: int) -> psutil.Process:
    """Return the process below ``pid`` that has no children: gunicorn's worker."""
    process = psutil.Process(pid)
    while children := process.children():
        process = children[-1]
    return process


def _cpu_seconds(pid: int, *, family: bool = False) -> float:
    process = psutil.Process(pid)
    times = [one.cpu_times() for one in ([process, *process.children(recursive=True)] if family else [process])]
    return sum(time.user + time.system for time in times)


async def measure(running: Stack, folder: Path, seconds: float) -> list[Cost]:
    """Return what each scenario costs."""
    costs: list[Cost] = []
    async with api(running.environment, folder) as (port, worker):
        for scenario in running.scenarios:
            await load(port, scenario.request, status=scenario.status, seconds=1)
            before = _cpu_seconds(worker), _cpu_seconds(running.postgres_pid, family=True)
            tally = await load(port, scenario.request, status=scenario.status, seconds=seconds)
            after = _cpu_seconds(worker), _cpu_seconds(running.postgres_pid, family=True)
            if tally.unexpected:
                raise SystemExit(f"{scenario.name}: {len(tally.unexpected)} of {tally.answered} answers were {set(tally.unexpected)}")
            spent = [(then - now) / tally.answered * 1e6 for now, then in zip(before, after, strict=True)]
            costs.append(Cost(scenario.name, tally.answered, tally.answered / seconds, *spent))
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


async def where(running: Stack, folder: Path, seconds: float) -> dict[str, Counter[str]]:
    """Return, for each scenario, the share of samples in each part of the way."""
    found: dict[str, Counter[str]] = {}
    async with api(running.environment, folder) as (port, worker):
        for scenario in running.scenarios:
            output = folder / f"{scenario.name.replace(' ', '-')}.raw"
            with _sampling(worker, output, seconds):
                await load(port, scenario.request, status=scenario.status, seconds=seconds + 1)
            found[scenario.name] = _parts(output.read_text())
    return found


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


def _enterable(name: str) -> Path:
    """Let PostgreSQL's own account into a temporary folder."""
    folder = Path(name)
    folder.chmod(0o711)
    return folder


async def main() -> None:
    """Measure, sample, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5, help="length of each measurement")
    seconds: float = parser.parse_args().seconds
    with tempfile.TemporaryDirectory(prefix="platform-profile-") as name:
        folder = _enterable(name)
        async with stack(folder) as running:
            show(await measure(running, folder, seconds), await where(running, folder, seconds))


if __name__ == "__main__":
    asyncio.run(main())
