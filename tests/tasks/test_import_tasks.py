"""Imports in workers: what becomes of the rows, whatever becomes of the worker."""

import asyncio
import hashlib
import json
import os
import signal
from collections.abc import AsyncGenerator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
from sqlalchemy.exc import DBAPIError

from app.core.autocommit import Runner
from app.core.config import Settings
from app.core.database import Database
from app.core.errors import ServiceUnavailable
from app.core.resources import open_resources
from app.crud import outbox
from app.services import import_parsing, import_runner, imports
from app.services.delivery import ClaimLost, Postpone
from app.services.storage import Storage, open_storage
from tests.conftest import WorkerBucket
from tests.tasks.conftest import Outbox, StartWorker, Worker, until

type Admin = asyncpg.Connection[asyncpg.Record]

MEMORY_LIMIT_KIB = 250 * 1024


class Died(Exception):  # noqa: N818  # what happened, not an error of the code
    """What stands for the worker's death."""


async def hold(_db: Runner) -> None:
    """Hold on to nothing: no other worker is there."""


@pytest.fixture
async def storage(settings: Settings, s3: WorkerBucket) -> AsyncGenerator[Storage]:
    """The way to this worker's bucket."""
    async with open_storage(settings) as storage:
        yield storage


@dataclass
class Imports:
    """Makes jobs as the API does, and looks at what came of them."""

    database: Database
    storage: Storage
    connection: Admin

    async def owner(self) -> int:
        """Return a new user."""
        query = "INSERT INTO users (email, password_hash) VALUES ($1, 'x') RETURNING id"
        made: int = await self.connection.fetchval(query, f"{uuid4().hex}@example.com")
        return made

    async def store(self, content: bytes) -> dict[str, Any]:
        """Put a file into the store and return the parameters of its import."""

        async def pieces() -> AsyncGenerator[bytes]:
            for begin in range(0, len(content), 65_536):
                yield content[begin : begin + 65_536]

        key = f"imports/0/{uuid4().hex}"
        checksum = hashlib.sha256(content).hexdigest()
        stored = await self.storage.put(key, pieces(), size=len(content), content_type="text/csv", checksum_sha256=checksum)
        return {"object_key": key, "size": stored.size, "etag": stored.etag, "format": "csv"}

    async def make(self, content: bytes, **parameters: Any) -> int:
        """Return the job that imports a file."""
        values = await self.store(content) | parameters
        query = "INSERT INTO jobs (owner_id, kind, parameters) VALUES ($1, 'import', $2) RETURNING id"
        made: int = await self.connection.fetchval(query, await self.owner(), json.dumps(values))
        return made

    async def run(self, job_id: int, hold: import_runner.Hold = hold) -> None:
        """Run a job in this process."""
        await import_runner.run(self.database, self.storage, job_id, hold)

    async def job(self, job_id: int) -> dict[str, Any]:
        """Return a job's row."""
        row = await self.connection.fetchrow("SELECT * FROM jobs WHERE id = $1", job_id)
        assert row is not None
        return dict(row) | {name: json.loads(row[name]) for name in ("parameters", "checkpoint", "errors")}

    async def titles(self) -> list[str]:
        """Return the titles of all items in the order they were made."""
        return [row["title"] for row in await self.connection.fetch("SELECT title FROM items ORDER BY id")]

    async def events(self) -> list[tuple[str, dict[str, Any]]]:
        """Return the promised events."""
        rows = await self.connection.fetch("SELECT name, payload::text AS payload FROM outbox WHERE kind = 'event' ORDER BY id")
        return [(row["name"], json.loads(row["payload"])) for row in rows]


@pytest.fixture
def imported(database: Database, storage: Storage, superuser_connection: Admin) -> Imports:
    """Imports into an empty database."""
    return Imports(database, storage, superuser_connection)


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> int:
    """Batches of ten rows, so that small files have many."""
    monkeypatch.setattr(import_parsing, "BATCH_ROWS", 10)
    return 10


def rows(count: int) -> bytes:
    """Return a CSV file whose titles are the rows' numbers."""
    return b"title\n" + b"".join(b"%d\n" % number for number in range(1, count + 1))


def numbers(count: int) -> list[str]:
    """Return the titles of ``rows``."""
    return [str(number) for number in range(1, count + 1)]


async def test_good_rows_become_items_and_bad_ones_are_told(imported: Imports) -> None:
    content = b'attributes,title,description\n"{""a"":[1.5,null]}",one,first\n,,\n,two,\n'
    job_id = await imported.make(content)
    await imported.run(job_id)
    job = await imported.job(job_id)
    assert (job["state"], job["progress"], job["total"], job["created"], job["failed"]) == ("finished", 3, 3, 2, 1)
    assert job["errors"] == [{"row": 2, "pointer": "/title", "detail": "Line 3: must have 1 to 200 characters, not 0."}]
    assert job["finished_at"] is not None
    made = await imported.connection.fetch("SELECT owner_id, title, description, attributes::text, version FROM items ORDER BY id")
    assert [tuple(row) for row in made] == [
        (job["owner_id"], "one", "first", '{"a": [1.5, null]}', 1),
        (job["owner_id"], "two", None, "{}", 1),
    ]


async def test_the_file_goes_with_the_end_of_its_import(imported: Imports) -> None:
    job_id = await imported.make(rows(1))
    await imported.run(job_id)
    assert await imported.storage.head((await imported.job(job_id))["parameters"]["object_key"]) is None


async def test_its_owner_hears_of_the_beginning_the_progress_and_the_end(imported: Imports) -> None:
    await imported.run(await imported.make(rows(3)))
    events = await imported.events()
    assert [(name, job["state"], job["progress"]) for name, job in events] == [
        ("job.progress", "running", 0),
        ("job.progress", "running", 3),
        ("job.finished", "finished", 3),
    ]
    assert events[-1][1]["counts"] == {"total": 3, "created": 3, "failed": 0}


async def test_progress_is_told_twice_a_second_at_most(imported: Imports, small_batches: int) -> None:
    await imported.run(await imported.make(rows(100 * small_batches)))
    seconds = await imported.connection.fetchval("SELECT extract(epoch FROM finished_at - created_at)::float FROM jobs")
    assert len(await imported.events()) <= 3 + seconds / import_runner.EVENT_INTERVAL_SECONDS


async def test_an_import_resumes_where_its_worker_died(imported: Imports, small_batches: int) -> None:
    job_id = await imported.make(rows(95))
    seen: list[int] = []
    calls = 0

    async def die_at_every_third_batch(_db: Runner) -> None:
        nonlocal calls
        calls += 1
        if calls % 3 == 0:
            raise Died

    while not seen or seen[-1] < 95:
        with suppress(Died):
            await imported.run(job_id, die_at_every_third_batch)
        seen.append((await imported.job(job_id))["progress"])
    assert seen == [20, 40, 60, 80, 95]
    assert await imported.titles() == numbers(95)
    job = await imported.job(job_id)
    assert (job["state"], job["progress"], job["created"]) == ("finished", 95, 95)


async def test_two_workers_at_one_job_double_nothing(imported: Imports, small_batches: int) -> None:
    job_id = await imported.make(rows(195))
    await asyncio.gather(imported.run(job_id), imported.run(job_id))
    assert sorted(await imported.titles(), key=int) == numbers(195)
    assert (await imported.job(job_id))["created"] == 195


async def test_an_import_that_is_over_is_not_run_again(imported: Imports) -> None:
    job_id = await imported.make(rows(3))
    await imported.run(job_id)
    events = await imported.events()
    await imported.run(job_id)
    assert await imported.titles() == numbers(3)
    assert await imported.events() == events


async def test_a_job_that_is_over_cannot_fail_any_more(imported: Imports) -> None:
    job_id = await imported.make(rows(3))
    await imported.run(job_id)
    await import_runner.fail(imported.database, job_id, "too late")
    job = await imported.job(job_id)
    assert (job["state"], job["errors"]) == ("finished", [])


async def test_an_import_cancelled_after_its_last_row_stays_cancelled(imported: Imports, monkeypatch: pytest.MonkeyPatch) -> None:
    job_id = await imported.make(rows(0))
    read = imported.storage.read

    async def cancel_and_read(key: str, **options: Any) -> AsyncGenerator[bytes]:
        await imported.connection.execute("UPDATE jobs SET state = 'cancelled'")
        async for piece in read(key, **options):
            yield piece

    monkeypatch.setattr(imported.storage, "read", cancel_and_read)
    await imported.run(job_id)
    assert (await imported.job(job_id))["state"] == "cancelled"
    assert [name for name, _ in await imported.events()] == ["job.progress"]


async def test_a_cancelled_import_stops_between_two_batches(imported: Imports, small_batches: int) -> None:
    job_id = await imported.make(rows(95))
    calls = 0

    async def cancel_before_the_third_batch(_db: Runner) -> None:
        nonlocal calls
        calls += 1
        if calls == 3:
            await imported.connection.execute("UPDATE jobs SET state = 'cancelled'")

    await imported.run(job_id, cancel_before_the_third_batch)
    assert await imported.titles() == numbers(2 * small_batches)
    job = await imported.job(job_id)
    assert (job["state"], job["progress"]) == ("cancelled", 2 * small_batches)
    assert await imported.storage.head(job["parameters"]["object_key"]) is None


async def test_an_import_cancelled_before_it_began_makes_nothing(imported: Imports) -> None:
    job_id = await imported.make(rows(3))
    await imported.connection.execute("UPDATE jobs SET state = 'cancelled'")
    await imported.run(job_id)
    assert await imported.titles() == []


async def test_an_import_whose_owner_is_gone_ends_quietly(imported: Imports) -> None:
    job_id = await imported.make(rows(3))
    await imported.connection.execute("DELETE FROM users")
    await imported.run(job_id)
    await import_runner.fail(imported.database, job_id, "nobody is left to read this")
    assert await imported.connection.fetchval("SELECT count(*) FROM jobs") == 0


async def test_a_file_that_cannot_be_imported_fails_the_job_with_the_reason(imported: Imports) -> None:
    job_id = await imported.make(b"name\na\n")
    await imported.run(job_id)
    job = await imported.job(job_id)
    assert job["state"] == "failed"
    assert job["errors"] == [{"row": 0, "pointer": "", "detail": "The header lacks the column title; it has: name."}]
    assert [(name, event["state"]) for name, event in await imported.events()] == [("job.progress", "running"), ("job.failed", "failed")]
    assert await imported.storage.head(job["parameters"]["object_key"]) is None


@pytest.mark.parametrize("parameters", [{"object_key": "imports/0/gone"}, {"etag": '"another"'}])
async def test_a_file_that_is_gone_or_changed_fails_the_job(imported: Imports, parameters: dict[str, str]) -> None:
    job_id = await imported.make(rows(3), **parameters)
    await imported.run(job_id)
    job = await imported.job(job_id)
    assert job["state"] == "failed"
    assert "no longer in the store, or was changed" in job["errors"][0]["detail"]


async def test_a_store_that_does_not_answer_leaves_the_job_to_be_resumed(
    imported: Imports, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.services.storage.RETRY_SECONDS", 0)
    job_id = await imported.make(rows(3))
    away = settings.model_copy(update={"S3_ENDPOINT_URL": "http://127.0.0.1:9"})
    async with open_storage(away) as storage:
        with pytest.raises(ServiceUnavailable):
            await import_runner.run(imported.database, storage, job_id, hold)
    assert (await imported.job(job_id))["state"] == "running"
    await imported.run(job_id)
    assert await imported.titles() == numbers(3)


async def test_files_nobody_will_read_are_deleted_after_a_day(imported: Imports) -> None:
    now = datetime.now(UTC)
    done, waiting = await imported.make(rows(1)), await imported.make(rows(1))
    orphan = (await imported.store(rows(1)))["object_key"]
    await imported.connection.execute("UPDATE jobs SET state = 'failed' WHERE id = $1", done)
    keys = {job_id: (await imported.job(job_id))["parameters"]["object_key"] for job_id in (done, waiting)}
    query = (
        "INSERT INTO uploads (owner_id, object_key, filename, content_type, size, checksum_sha256, job_id, expires_at) "
        "SELECT owner_id, $2, '', 'text/csv', 1, '', id, $3 FROM jobs WHERE id = $1"
    )
    for job_id, key in keys.items():
        await imported.connection.execute(query, job_id, key, now)
    await imports.purge_uploads(imported.database, imported.storage, now)
    assert await imported.storage.head(orphan) is not None
    assert await imports.purge_uploads(imported.database, imported.storage, now + timedelta(days=2)) >= 2
    assert [await imported.storage.head(key) is None for key in (orphan, keys[done], keys[waiting])] == [True, True, False]
    assert await imported.connection.fetchval("SELECT array_agg(job_id) FROM uploads") == [waiting]


def peak_kib(pid: int) -> int:
    """Return the most memory a process has held, in KiB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0])


def only_child(worker: Worker) -> int:
    """Return the process that runs a worker's tasks."""
    children = Path(f"/proc/{worker.process.pid}/task/{worker.process.pid}/children").read_text().split()
    (child,) = {int(pid) for pid in children} - {worker.relay()}
    return child


async def promise(imported: Imports, content: bytes) -> int:
    """Return a job whose task is promised."""
    job_id = await imported.make(content)
    async with imported.database.write() as session:
        await outbox.add_task(session, imports.TASK, {"job_id": job_id}, headers={})
    return job_id


async def test_an_import_whose_worker_is_killed_in_the_middle_is_exact(
    imported: Imports, start_worker: StartWorker, promised: Outbox
) -> None:
    count = 60_000
    content = b"title,attributes\n" + b"".join(b'%d,"{""n"":%d,""text"":""some words""}"\n' % (n, n) for n in range(1, count + 1))
    job_id = await promise(imported, content)
    worker = await start_worker("--queues", "bulk-queue").ready()
    seen = [0]

    async def progress() -> int:
        seen.append((await imported.job(job_id))["progress"])
        return seen[-1]

    for _ in range(2):
        before = seen[-1]
        await until(lambda before=before: _beyond(progress, before))
        child = only_child(worker)
        assert peak_kib(child) < MEMORY_LIMIT_KIB
        os.kill(child, signal.SIGKILL)
    assert 0 < await progress() < count
    await until(lambda: _is(imported, job_id, "finished"), seconds=60)
    job = await imported.job(job_id)
    assert (job["progress"], job["created"], job["failed"]) == (count, count, 0)
    assert seen == sorted(seen)
    assert await imported.connection.fetchval("SELECT count(DISTINCT title) = count(*) AND count(*) = $1 FROM items", count)
    await promised.until_done()


async def _beyond(progress: Any, before: int) -> bool:
    return await progress() > before


async def _is(imported: Imports, job_id: int, state: str) -> bool:
    found: str = (await imported.job(job_id))["state"]
    return found == state


@dataclass
class FakeMessage:
    """A task's message without its outbox."""

    payload: dict[str, Any]
    attempt: int
    error: Exception

    async def advance(self, _db: Runner) -> None:
        raise self.error


async def perform(imported: Imports, settings: Settings, job_id: int, attempt: int, error: Exception) -> None:
    """Run a promised import of which each batch fails."""
    message: Any = FakeMessage({"job_id": job_id}, attempt, error)
    async with open_resources(settings) as resources:
        await import_runner.run_promised(resources, imported.storage, message)


@pytest.mark.parametrize(
    ("attempt", "error", "state"),
    [
        (1, ValueError("a fault of ours"), "running"),
        (10, ValueError("a fault of ours"), "failed"),
        (10, ClaimLost(), "running"),
        (10, TimeoutError(), "running"),
        (10, DBAPIError("", None, OSError(), connection_invalidated=True), "running"),
    ],
)
async def test_only_the_last_try_that_is_to_blame_fails_the_job(
    imported: Imports, settings: Settings, attempt: int, error: Exception, state: str
) -> None:
    job_id = await imported.make(rows(3))
    with pytest.raises(type(error)):
        await perform(imported, settings, job_id, attempt, error)
    assert (await imported.job(job_id))["state"] == state


async def test_an_import_waits_for_a_store_that_is_away(imported: Imports, settings: Settings) -> None:
    job_id = await imported.make(rows(3))
    with pytest.raises(Postpone, match="store"):
        await perform(imported, settings, job_id, 10, ServiceUnavailable())
    assert (await imported.job(job_id))["state"] == "running"


async def test_an_import_that_fails_again_and_again_fails_its_job(imported: Imports, start_worker: StartWorker, promised: Outbox) -> None:
    job_id = await promise(imported, rows(3))
    await imported.connection.execute("ALTER TABLE items ADD CONSTRAINT never CHECK (false) NOT VALID")
    try:
        await start_worker("--queues", "bulk-queue").ready()
        await until(lambda: _is(imported, job_id, "failed"))
    finally:
        await imported.connection.execute("ALTER TABLE items DROP CONSTRAINT never")
    assert "given up" in (await imported.job(job_id))["errors"][0]["detail"]
    await until(lambda: imported.connection.fetchval("SELECT parked_at IS NOT NULL FROM outbox WHERE kind = 'task'"))
    assert await imported.titles() == []
