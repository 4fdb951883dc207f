"""What may be done with jobs, and who hears of them."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from sqlalchemy.ext.asyncio import AsyncSession

from app.core import cursor
from app.core.cursor import Direction, Position
from app.core.database import ReadSession, WriteSession
from app.core.errors import Conflict, NotFound
from app.core.security import Principal
from app.crud import job as crud
from app.crud import outbox
from app.models.job import Job
from app.schemas.job import Job as JobSchema
from app.schemas.job import JobQuery

#: The event that tells of a state. One who cancels a job sees it as its last progress.
EVENTS: Final = {"finished": "job.finished", "failed": "job.failed"}


class JobIsOver(Conflict):
    """409: the job has ended."""

    slug = "job-is-over"
    title = "Job is over"
    description = "The job has finished or failed; there is nothing left to cancel."


class Page(NamedTuple):
    """A page of jobs and the cursors of its neighbours."""

    rows: Sequence[Job]
    next_cursor: str | None
    prev_cursor: str | None


async def get(db: ReadSession, user: Principal, job_id: int) -> Job:
    """Return a job of the user.

    Raises:
        NotFound: if there is none, or it is somebody else's.
    """
    job = await crud.get_own(db, job_id, user.user_id)
    if job is None:
        raise NotFound
    return job


async def search(db: ReadSession, user: Principal, query: JobQuery, keys: Sequence[str]) -> Page:
    """Return a page of the user's jobs, the newest first.

    Args:
        db: The transaction.
        user: Who asks.
        query: Size of the page and where it begins.
        keys: Keys of cursors, the signing one first.

    Raises:
        ValidationFailed: if the cursor is not of this listing.
    """
    question = cursor.fingerprint("jobs", user.user_id)
    position = None if query.cursor is None else cursor.decode(keys, question, query.cursor)
    backwards = position is not None and position.direction == "prev"
    where = {} if position is None else {"after" if backwards else "before": position.row_id}
    rows = list(await crud.page(db, user.user_id, query.limit + 1, **where))
    more = len(rows) > query.limit
    del rows[query.limit :]
    if backwards:
        rows.reverse()

    def at(job: Job, direction: Direction) -> str:
        return cursor.encode(keys[0], question, Position(direction, "", job.id))

    has_next, has_prev = (bool(rows), more) if backwards else (more, bool(rows) and position is not None)
    return Page(rows, at(rows[-1], "next") if has_next else None, at(rows[0], "prev") if has_prev else None)


async def cancel(db: WriteSession, user: Principal, job_id: int) -> Job:
    """Cancel a job of the user; what it has done stays done. Cancelling twice is cancelling once.

    Raises:
        NotFound: if there is no such job, or it is somebody else's.
        JobIsOver: if it has finished or failed.
    """
    job = await crud.get_own(db, job_id, user.user_id)
    if job is None:
        raise NotFound
    cancelled = await crud.end(db, job_id, "cancelled")
    if cancelled is not None:
        await announce(db, cancelled)
        return cancelled
    await db.refresh(job)
    if job.state != "cancelled":
        raise JobIsOver
    return job


async def announce(db: AsyncSession, job: Job) -> None:
    """Promise the owner's sockets an event that carries the job."""
    data = JobSchema.model_validate(job).model_dump(mode="json")
    await outbox.add_event(db, job.owner_id, EVENTS.get(job.state, "job.progress"), data)


def on_the_wire(job: Job) -> bytes:
    """Return a job as JSON."""
    return JobSchema.model_validate(job).model_dump_json().encode()
