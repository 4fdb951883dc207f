"""Queries on jobs."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.models.job import Job

UNFINISHED = ("queued", "running")


async def create(session: AsyncSession, owner_id: int, kind: str, parameters: dict[str, Any]) -> Job:
    """Insert a queued job."""
    return (await session.scalars(insert(Job).values(owner_id=owner_id, kind=kind, parameters=parameters).returning(Job))).one()


async def get(session: AsyncSession, job_id: int) -> Job | None:
    """Return a job."""
    return (await session.scalars(select(Job).where(Job.id == job_id))).one_or_none()


async def get_own(session: AsyncSession, job_id: int, owner_id: int) -> Job | None:
    """Return a user's job."""
    return (await session.scalars(select(Job).where(Job.id == job_id, Job.owner_id == owner_id))).one_or_none()


async def page(session: AsyncSession, owner_id: int, limit: int, *, before: int | None = None, after: int | None = None) -> Sequence[Job]:
    """Return a user's jobs by id: the newest first, or the oldest first after one.

    Args:
        session: Where it runs.
        owner_id: Whose jobs.
        limit: Jobs at most.
        before: Only jobs with a smaller id.
        after: Only jobs with a greater id, the smallest first.
    """
    query = select(Job).where(Job.owner_id == owner_id).limit(limit)
    if after is not None:
        return (await session.scalars(query.where(Job.id > after).order_by(Job.id))).all()
    if before is not None:
        query = query.where(Job.id < before)
    return (await session.scalars(query.order_by(Job.id.desc()))).all()


async def start(session: AsyncSession, job_id: int) -> Job | None:
    """Set an unfinished job running, ``None`` where it is over."""
    return await _update(session, Job.id == job_id, Job.state.in_(UNFINISHED), state="running")


async def advance(session: AsyncSession, before: Job, **values: Any) -> Job | None:
    """Change a running job, ``None`` if it runs no more or somebody else advanced it."""
    return await _update(session, Job.id == before.id, Job.state == "running", Job.progress == before.progress, **values)


async def end(session: AsyncSession, job_id: int, state: str, **values: Any) -> Job | None:
    """End an unfinished job, ``None`` where it is over already."""
    return await _update(session, Job.id == job_id, Job.state.in_(UNFINISHED), state=state, finished_at=func.now(), **values)


async def _update(session: AsyncSession, *conditions: Any, **values: Any) -> Job | None:
    statement = update(Job).where(*conditions).values(updated_at=func.now(), **values).returning(Job)
    return (await session.scalars(statement, execution_options={"populate_existing": True})).one_or_none()
