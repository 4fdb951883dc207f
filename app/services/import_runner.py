"""Running an import: blocks of the file become batches of items, each committed together with the job's checkpoint.

While PostgreSQL takes one batch, the next is read and parsed in a thread. No more than a block or two is ever held.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy.exc import DBAPIError

from app.core.database import Database
from app.core.errors import ServiceUnavailable
from app.core.resources import Resources
from app.core.statement import Runner
from app.crud import item as item_crud
from app.crud import job as job_crud
from app.models.job import Job
from app.services import jobs
from app.services.delivery import ClaimLost, Message, Postpone
from app.services.import_parsing import MAX_KEPT_ERRORS, Batch, Format, ImportRefused, Parse, Position, RowError, open_file, parser
from app.services.storage import ObjectMissing, Storage

BLOCK_BYTES: Final = 2 * 2**20
#: Seconds between two events of a job's progress at least.
EVENT_INTERVAL_SECONDS: Final = 0.5

GIVEN_UP: Final = (
    "The import failed several times over and was given up; items made so far stay. Start it again, or ask for help with the job's id."
)

#: Called in each transaction that makes items; raises where another worker has taken the import over.
type Hold = Callable[[Runner], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Source:
    """The file of an import, as the job's parameters describe it."""

    object_key: str
    size: int
    etag: str
    format: Format


async def run_promised(resources: Resources, storage: Storage, message: Message) -> None:
    """Run the import that a message promises; payload ``{"job_id": int}``. The last try that fails, fails the job.

    Args:
        resources: What the worker holds open.
        storage: Where the file is.
        message: The task's message.

    Raises:
        Postpone: if the store does not answer.
        Exception: whatever else made this try fail.
    """
    job_id: int = message.payload["job_id"]
    try:
        await run(resources.database, storage, job_id, message.advance)
    except ServiceUnavailable as error:
        raise Postpone("The object store does not answer.") from error
    except (ClaimLost, TimeoutError):
        raise
    except Exception as error:
        lost = isinstance(error, DBAPIError) and error.connection_invalidated
        if not lost and message.attempt >= resources.settings.TASK_MAX_ATTEMPTS:
            await fail(resources.database, job_id, GIVEN_UP)
        raise


async def run(database: Database, storage: Storage, job_id: int, hold: Hold) -> None:
    """Run an import from where it was left, to its end or until it is cancelled; then delete its file.

    Args:
        database: Where the items go.
        storage: Where the file is.
        job_id: The job; one that is over is left alone.
        hold: Makes sure, in every transaction that makes items, that this worker is still the one.

    Raises:
        ServiceUnavailable: if the store does not answer; the import goes on at its checkpoint when run again.
    """
    job = await _begin(database, job_id)
    if job is None:
        return
    source = Source(**job.parameters)
    if job.state == "running":
        try:
            await _import(database, storage, source, job, hold)
        except ImportRefused as refused:
            await fail(database, job_id, str(refused))
        except ObjectMissing:
            await fail(database, job_id, "The file is no longer in the store, or was changed; upload it again.")
    await storage.delete(source.object_key)


async def fail(database: Database, job_id: int, reason: str) -> None:
    """End a job as failed, unless it is over.

    Args:
        database: Where the job is.
        job_id: The job.
        reason: What its owner reads.
    """
    async with database.write() as session:
        job = await job_crud.get(session, job_id)
        if job is None:
            return
        fault = RowError(row=0, pointer="", detail=reason)
        ended = await job_crud.end(session, job_id, "failed", errors=[fault, *job.errors][:MAX_KEPT_ERRORS])
        if ended is not None:
            await jobs.announce(session, ended)


async def _begin(database: Database, job_id: int) -> Job | None:
    async with database.write() as session:
        job = await job_crud.start(session, job_id)
        if job is None:
            return await job_crud.get(session, job_id)
        if not job.checkpoint:
            await jobs.announce(session, job)
        return job


async def _import(database: Database, storage: Storage, source: Source, job: Job, hold: Hold) -> None:
    announced_at = 0.0
    async with aclosing(_batches(storage, source, job.checkpoint)) as batches:
        ahead = asyncio.ensure_future(anext(batches, None))
        try:
            while (found := await ahead) is not None:
                ahead = asyncio.ensure_future(anext(batches, None))
                due = time.monotonic() - announced_at >= EVENT_INTERVAL_SECONDS
                stored = await _store(database, job, found, hold, announce=due)
                if stored is None:
                    return
                job, announced_at = stored, time.monotonic() if due else announced_at
        finally:
            ahead.cancel()
            await asyncio.gather(ahead, return_exceptions=True)
    await _finish(database, job)


async def _store(database: Database, job: Job, found: tuple[list[str], Batch], hold: Hold, *, announce: bool) -> Job | None:
    """Commit a batch with the checkpoint behind it; ``None`` if the job was cancelled or somebody else advanced it."""
    names, batch = found
    values: dict[str, Any] = {
        "checkpoint": {"columns": names, "position": list(batch.position)},
        "progress": job.progress + len(batch.rows) + batch.failed,
        "created": job.created + len(batch.rows),
        "failed": job.failed + batch.failed,
    }
    if batch.errors and len(job.errors) < MAX_KEPT_ERRORS:
        values["errors"] = [*job.errors, *batch.errors][:MAX_KEPT_ERRORS]
    async with database.write() as session:
        await hold(session)
        advanced = await job_crud.advance(session, job, **values)
        if advanced is None:
            return None
        if batch.rows:
            await item_crud.copy(session, job.owner_id, batch.rows)
        if announce:
            await jobs.announce(session, advanced)
        return advanced


async def _finish(database: Database, job: Job) -> None:
    async with database.write() as session:
        ended = await job_crud.end(session, job.id, "finished", total=job.progress)
        if ended is not None:
            await jobs.announce(session, ended)


async def _batches(storage: Storage, source: Source, checkpoint: dict[str, Any]) -> AsyncGenerator[tuple[list[str], Batch]]:
    """Yield the column names and the batches of a file behind a checkpoint."""
    names: list[str] | None = checkpoint.get("columns")
    position = Position(*checkpoint.get("position", ()))
    parse: Parse | None = None if names is None else parser(source.format, names)
    buffer = bytearray()
    async with aclosing(storage.read(source.object_key, etag=source.etag, offset=position.offset, size=source.size)) as pieces:
        while position.offset < source.size:
            while len(buffer) < BLOCK_BYTES and (piece := await anext(pieces, None)):
                buffer += piece
            block, final = bytes(buffer), position.offset + len(buffer) == source.size
            if names is None or parse is None:
                names, position = open_file(source.format, block, final=final)
                parse = parser(source.format, names)
                del buffer[: position.offset]
                continue
            batch = await asyncio.to_thread(parse, block, position, final)
            del buffer[: batch.position.offset - position.offset]
            position = batch.position
            yield names, batch
