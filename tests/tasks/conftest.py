"""Real workers, and servers that may be killed under them."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from redis.asyncio import Redis

from app.core.config import Settings
from app.core.database import Database
from app.core.redis import connect
from app.core.resources import Resources, open_resources
from app.crud import outbox
from app.local.servers import Running, start, wait_until_ready
from app.local.servers import valkey as valkey_server
from app.local.servers.ports import free_port
from app.services.storage import Storage, open_storage
from tests.conftest import WorkerBucket
from tests.tasks.imports import Admin, Imports

REPOSITORY = Path(__file__).parents[2]
PROBES = "tests.tasks.probe_tasks"  # not imported: a worker alone has the settings it needs
PATIENCE_SECONDS = 60.0


async def until(condition: Callable[[], Any], seconds: float = PATIENCE_SECONDS) -> Any:
    """Return what ``condition`` gives once that is true; await it if it can be awaited."""
    async with asyncio.timeout(seconds):
        while True:
            found = condition()
            if asyncio.iscoroutine(found):
                found = await found
            if found:
                return found
            await asyncio.sleep(0.02)


def exists(pid: int) -> bool:
    """Say whether a process exists; one that ended and was not waited for does not."""
    return any(entry == pid for entry in _processes())


def _processes() -> dict[int, tuple[int, str]]:
    """Parent and command of every process that has not ended."""
    found: dict[int, tuple[int, str]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                state, parent, *_ = (entry / "stat").read_text().rpartition(")")[2].split()
                if state != "Z":
                    found[int(entry.name)] = (int(parent), (entry / "cmdline").read_text().replace("\0", " "))
    return found


@dataclass
class Worker:
    """A Celery worker in a process of its own."""

    process: subprocess.Popen[bytes]
    log: Path
    heartbeat: Path

    @property
    def output(self) -> str:
        return self.log.read_text()

    @property
    def lines(self) -> list[dict[str, Any]]:
        """What it logged as JSON."""
        return [json.loads(line) for line in self.output.splitlines() if line.startswith("{")]

    def relay(self) -> int | None:
        """Process id of its relay."""
        return next(
            (pid for pid, (parent, command) in _processes().items() if parent == self.process.pid and "app.tasks.relay" in command), None
        )

    async def ready(self) -> "Worker":
        await until(lambda: " ready." in self.output or self.process.poll() is not None)
        assert self.process.poll() is None, self.output
        return self

    async def ended(self, seconds: float = PATIENCE_SECONDS) -> int:
        await until(lambda: self.process.poll() is not None, seconds)
        return self.process.returncode


def start_worker_process(folder: Path, environment: dict[str, str], *arguments: str) -> Worker:
    """Start a worker as production does, with the probes besides."""
    folder.mkdir(exist_ok=True)
    log, heartbeat = folder / "worker.log", folder / "heartbeat"
    command = [
        *(sys.executable, "-m", "celery", "--app", "app.core.celery_app", "worker"),
        *("--queues", "main-queue", "--hostname", f"{folder.name}@%h", "--concurrency", "1", "--include", PROBES, *arguments),
    ]
    variables = environment | {
        "TASK_MAX_ATTEMPTS": "2",
        "TASK_HEARTBEAT_TIMEOUT": "2",
        "WORKER_HEARTBEAT_FILE": str(heartbeat),
        "REMAP_SIGTERM": "SIGQUIT",
    }
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=REPOSITORY, env=variables, stdout=output, stderr=subprocess.STDOUT, start_new_session=True)
    return Worker(process, log, heartbeat)


def kill_worker_process(worker: Worker) -> None:
    """End a worker and all that belongs to it."""
    with suppress(ProcessLookupError):
        os.killpg(worker.process.pid, signal.SIGKILL)
    worker.process.wait()


@pytest.fixture(scope="session")
def probe_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where probes leave their traces."""
    return tmp_path_factory.mktemp("probes")


@pytest.fixture(scope="module")
async def shared_worker(
    environment: dict[str, str], probe_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> AsyncGenerator[Worker]:
    """One worker on the test worker's own Valkey, for tests that leave it alive."""
    worker = start_worker_process(tmp_path_factory.mktemp("shared"), environment | {"PROBE_FOLDER": str(probe_folder)})
    yield await worker.ready()
    kill_worker_process(worker)


@pytest.fixture
async def worker(valkey: Redis, promised: "Outbox", shared_worker: Worker) -> Worker:
    """The shared worker, with nothing to do."""
    assert shared_worker.process.poll() is None, shared_worker.output
    return shared_worker


@dataclass
class Broker:
    """A Valkey of one test, which may be killed and started again."""

    server: valkey_server.Valkey
    folder: Path
    running: Running | None = None

    async def start(self) -> None:
        self.running = start(self.server.program, self.folder / "valkey.log")
        await wait_until_ready(self.server, self.running)

    def kill(self) -> None:
        assert self.running is not None
        self.running.kill()


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncGenerator[Broker]:
    """Valkey without any disk: killed, it forgets everything."""
    made = Broker(valkey_server.prepare(tmp_path, free_port(), os.urandom(16).hex(), durable=False), tmp_path)
    await made.start()
    yield made
    made.kill()


@pytest.fixture
async def redis(broker: Broker) -> AsyncGenerator[Redis]:
    """A client of the Valkey that may be killed."""
    client = connect(broker.server.url())
    yield client
    await client.aclose()


type StartWorker = Callable[..., Worker]


@pytest.fixture
def start_worker(environment: dict[str, str], broker: Broker, probe_folder: Path, tmp_path: Path) -> Generator[StartWorker]:
    """Start workers on the Valkey that may be killed; whatever is left of them is killed after the test."""
    started: list[Worker] = []

    def start_one(*arguments: str) -> Worker:
        variables = environment | {"REDIS_URL": broker.server.url(), "PROBE_FOLDER": str(probe_folder)}
        started.append(start_worker_process(tmp_path / f"worker-{len(started)}", variables, *arguments))
        return started[-1]

    yield start_one
    for worker in started:
        kill_worker_process(worker)


@dataclass
class Outbox:
    """The outbox of this test, seen from outside of the workers."""

    database: Database
    connection: "asyncpg.Connection[asyncpg.Record]"
    folder: Path

    async def promise(self, probe: str, **payload: Any) -> str:
        """Promise a probe and return the key of its traces."""
        key = os.urandom(8).hex()
        async with self.database.write() as session:
            await outbox.add_task(session, f"{PROBES}.{probe}", {"key": key, **payload}, headers={"request_id": "r-1"})
        return key

    def traces(self, key: str, step: str) -> list[str]:
        """One line per time the step was reached: process, its parent, request."""
        path = self.folder / f"{key}.{step}"
        return path.read_text().splitlines() if path.exists() else []

    async def rows(self) -> list[asyncpg.Record]:
        return await self.connection.fetch("SELECT * FROM outbox ORDER BY id")

    async def parked(self) -> asyncpg.Record | None:
        return await self.connection.fetchrow("SELECT * FROM outbox WHERE parked_at IS NOT NULL")

    async def empty(self) -> bool:
        return not await self.connection.fetchval("SELECT count(*) FROM outbox")

    async def until_done(self, seconds: float = PATIENCE_SECONDS) -> None:
        """Wait until nothing is promised any more."""
        await until(self.empty, seconds)


@pytest.fixture
def promised(database: Database, superuser_connection: "asyncpg.Connection[asyncpg.Record]", probe_folder: Path) -> Outbox:
    """The outbox, empty."""
    return Outbox(database, superuser_connection, probe_folder)


@pytest.fixture
def task_settings(settings: Settings) -> Settings:
    """Settings with less patience."""
    return settings.model_copy(update={"TASK_MAX_ATTEMPTS": 2, "TASK_HEARTBEAT_TIMEOUT": 2})


@pytest.fixture
async def resources(task_settings: Settings, empty_tables: None, valkey: Redis) -> AsyncGenerator[Resources]:
    """What a worker's process holds open, held by the test itself."""
    async with open_resources(task_settings, "tests") as held:
        yield held


@pytest.fixture
async def storage(settings: Settings, s3: WorkerBucket) -> AsyncGenerator[Storage]:
    """The way to this worker's bucket."""
    async with open_storage(settings) as storage:
        yield storage


@pytest.fixture
def imported(database: Database, storage: Storage, superuser_connection: Admin) -> Imports:
    """Imports into an empty database."""
    return Imports(database, storage, superuser_connection)
