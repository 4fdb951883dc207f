"""Queries on uploads."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import delete, exists, insert, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.crud.job import UNFINISHED
from app.models.job import Job, Upload


async def create(session: AsyncSession, **values: Any) -> Upload:
    """Insert an upload."""
    return (await session.scalars(insert(Upload).values(**values).returning(Upload))).one()


async def lock_own(session: AsyncSession, upload_id: UUID, owner_id: int) -> Upload | None:
    """Return a user's upload and keep others from using it until the transaction ends."""
    return (
        await session.scalars(select(Upload).where(Upload.id == upload_id, Upload.owner_id == owner_id).with_for_update())
    ).one_or_none()


async def use(session: AsyncSession, upload_id: UUID, job_id: int) -> None:
    """Give an upload to a job."""
    await session.execute(update(Upload).where(Upload.id == upload_id).values(job_id=job_id))


async def in_use(session: AsyncSession, object_keys: Sequence[str]) -> set[str]:
    """Return those object keys whose upload an unfinished job reads."""
    query = (
        select(Upload.object_key).join(Job, Job.id == Upload.job_id).where(Upload.object_key.in_(object_keys), Job.state.in_(UNFINISHED))
    )
    return set((await session.scalars(query)).all())


async def delete_expired(session: AsyncSession, before: datetime) -> int:
    """Delete the uploads that ended before a moment and that no unfinished job reads; return how many."""
    needed = exists().where(Job.id == Upload.job_id, Job.state.in_(UNFINISHED))
    statement = delete(Upload).where(Upload.expires_at < before, ~needed).returning(Upload.id)
    return len((await session.scalars(statement)).all())
