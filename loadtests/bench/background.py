"""Background work: rows of an import per second, and the CPU of a task that does nothing."""

import asyncio
import hashlib
import tempfile
from collections.abc import Generator
from time import monotonic, sleep
from typing import Any, BinaryIO, Final

import httpx

from loadtests.bench.errors import BenchError
from loadtests.bench.figures import MICROSECONDS, Import, Spread, Tasks
from loadtests.bench.machine import cpu_seconds
from loadtests.bench.people import Connection, Person
from loadtests.bench.stack import Stack
from tests.flights import write_csv

ROWS: Final = 100_000
TASKS: Final = 2000
TIMEOUT_SECONDS: Final = 180
POLL_SECONDS: Final = 0.05
CHUNK_BYTES: Final = 2**20
#: Not imported: it is the worker that has the settings which Celery wants.
TASK_MODULE: Final = "loadtests.bench.noop_tasks"
TASK: Final = f"{TASK_MODULE}.do_nothing"
WORKERS: Final = ("worker-main", "worker-bulk")

PROMISE: Final = """
WITH promised AS (
    INSERT INTO outbox (kind, name, queue, payload) SELECT 'task', $1, 'main-queue', '{}' FROM generate_series(1, $2::int)
) SELECT pg_notify('outbox', '')
"""


async def measure_imports(stack: Stack, person: Person, rounds: int) -> Import:
    """Return how fast flights are imported, from the request to the finished job, and what a row costs.

    Args:
        stack: With API, workers and the store running.
        person: Who imports.
        rounds: How often.

    Raises:
        BenchError: if a row is missing.
    """
    with tempfile.TemporaryFile() as file:
        write_csv(file, ROWS)
        size = file.tell()
        rows = [await asyncio.to_thread(_import, stack, person, file, size) for _ in range(rounds)]
    per_second, worker, postgres = (Spread.of(values) for values in zip(*rows, strict=True))
    return Import(ROWS, per_second, worker, postgres)


def _import(stack: Stack, person: Person, file: BinaryIO, size: int) -> tuple[float, float, float]:
    """Return rows per second and CPU microseconds per row, of the worker and of PostgreSQL."""
    headers = {"Authorization": f"Bearer {person.token}"}
    with httpx.Client(base_url=stack.plan.api_url, headers=headers, trust_env=False, timeout=TIMEOUT_SECONDS) as client:
        upload_id = _upload(client, file, size)
        started, pids = monotonic(), (stack.pid("worker-bulk"), stack.pid("postgres"))
        before = [cpu_seconds(pid) for pid in pids]
        job = _checked(client.post("/api/v1/items/imports", json={"upload_id": upload_id, "format": "csv"}))
        while job["state"] in {"queued", "running"}:
            if monotonic() - started > TIMEOUT_SECONDS:
                raise BenchError(f"the import took longer than {TIMEOUT_SECONDS} s")
            sleep(POLL_SECONDS)
            job = _checked(client.get(f"/api/v1/jobs/{job['id']}"))
        seconds = monotonic() - started
        spent = [cpu_seconds(pid) - sooner for pid, sooner in zip(pids, before, strict=True)]
    if job["state"] != "finished" or job["counts"]["created"] != ROWS:
        raise BenchError(f"the import of {ROWS} rows ended as {job['state']} with {job['counts']}: {job['errors'][:1]}")
    worker, postgres = (each / ROWS * MICROSECONDS for each in spent)
    return ROWS / seconds, worker, postgres


def _upload(client: httpx.Client, file: BinaryIO, size: int) -> str:
    digest = hashlib.sha256()
    for piece in _pieces(file):
        digest.update(piece)
    announcement = {"filename": "flights.csv", "content_type": "text/csv", "size": size, "checksum_sha256": digest.hexdigest()}
    upload = _checked(client.post("/api/v1/items/imports/uploads", json=announcement))
    request = upload["upload"]
    headers = request["headers"] | {"Content-Length": str(size)}
    with httpx.Client(trust_env=False, timeout=TIMEOUT_SECONDS) as store:
        _checked(store.request(request["method"], request["url"], content=_pieces(file), headers=headers))
    found: str = upload["id"]
    return found


def _pieces(file: BinaryIO) -> Generator[bytes]:
    file.seek(0)
    while piece := file.read(CHUNK_BYTES):
        yield piece


def _checked(response: httpx.Response) -> dict[str, Any]:
    if response.is_error:
        raise BenchError(f"{response.request.method} {response.request.url.path} answered {response.status_code}: {response.text[:300]}")
    return response.json() if response.headers.get("content-type", "").startswith("application/json") else {}


async def measure_tasks(stack: Stack, connection: Connection, rounds: int) -> Tasks:
    """Return what a task that does nothing costs on its way through the outbox, relay, queue, worker and its record included.

    Args:
        stack: With workers running that know the task.
        connection: As the owner of the schema.
        rounds: How often ``TASKS`` tasks are promised.

    Raises:
        BenchError: if a task is not done.
    """
    found = [await _round(stack, connection) for _ in range(rounds + 1)][1:]  # the first one warms up
    all_of_it, workers, postgres, valkey, per_second = (Spread.of(values) for values in zip(*found, strict=True))
    return Tasks(TASKS, all_of_it, workers, postgres, valkey, per_second)


async def _round(stack: Stack, connection: Connection) -> tuple[float, float, float, float, float]:
    """Return CPU microseconds per task (all, workers, PostgreSQL, Valkey) and tasks per second."""
    loop = asyncio.get_running_loop()
    families = ([stack.pid(name) for name in WORKERS], [stack.pid("postgres")], [stack.pid("valkey")])
    done = await _done(connection)
    before, started = [cpu_seconds(*pids) for pids in families], loop.time()
    await connection.execute(PROMISE, TASK, TASKS)
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            while await connection.fetchval("SELECT EXISTS (SELECT FROM outbox)"):  # noqa: ASYNC110  # another process sets nothing here
                await asyncio.sleep(POLL_SECONDS)
    except TimeoutError:
        raise BenchError(f"{TASKS} tasks were not done within {TIMEOUT_SECONDS} s") from None
    seconds = loop.time() - started
    if (recorded := await _done(connection) - done) != TASKS:
        raise BenchError(f"{TASKS} tasks were promised, {recorded} were recorded as done")
    workers, postgres, valkey = (
        (cpu_seconds(*pids) - sooner) / TASKS * MICROSECONDS for pids, sooner in zip(families, before, strict=True)
    )
    return workers + postgres + valkey, workers, postgres, valkey, TASKS / seconds


async def _done(connection: Connection) -> int:
    found: int = await connection.fetchval("SELECT count(*) FROM inbox WHERE name = $1", TASK)
    return found
