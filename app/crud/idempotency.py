"""Queries on the answers kept for requests that carried an Idempotency-Key."""

from datetime import timedelta

from sqlalchemy import Integer, Interval, bindparam, delete, func, select

from app.core.statement import Runner, Statement
from app.models.idempotency import IdempotencyKey


def _purge() -> Statement:
    outdated = (
        select(IdempotencyKey.key_hash)
        .where(IdempotencyKey.created_at < func.now() - bindparam("age", type_=Interval))
        .limit(bindparam("limit", type_=Integer))
        .with_for_update(skip_locked=True)
    )
    return Statement(delete(IdempotencyKey).where(IdempotencyKey.key_hash.in_(outdated)).returning(IdempotencyKey.key_hash), "age", "limit")


_PURGE = _purge()


async def purge(db: Runner, age: timedelta, limit: int) -> int:
    """Delete up to ``limit`` answers older than ``age`` and return how many."""
    return len(await db.rows(_PURGE, age, limit))
