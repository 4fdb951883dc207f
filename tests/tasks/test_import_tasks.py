"""Imports: what becomes of the rows, whatever becomes of the one who imports them."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy.exc import DBAPIError

from app.core.config import Settings
from app.core.errors import ServiceUnavailable
from app.core.resources import open_resources
from app.core.statement import Runner
from app.services import import_parsing, import_runner, imports
from app.services.delivery import ClaimLost, Postpone
from app.services.storage import open_storage
from tests.tasks.imports import Imports, hold, numbers, rows


class Died(Exception):  # noqa: N818  # what happened, not an error of the code
    """What stands for the worker's death."""


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> int:
    """Batches of ten rows, so that small files have many."""
    monkeypatch.setattr(import_parsing, "BATCH_ROWS", 10)
    return 10


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
