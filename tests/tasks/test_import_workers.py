"""Imports in workers that are killed, and in workers that fail."""

import os
import signal
from pathlib import Path
from typing import Any

from app.crud import outbox
from app.services import imports
from tests.tasks.conftest import Outbox, StartWorker, Worker, until
from tests.tasks.imports import Imports, rows

MEMORY_LIMIT_KIB = 250 * 1024


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
