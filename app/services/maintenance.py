"""What is kept for a while and then goes: in small transactions, so that nobody waits for a large one."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Final

from app.core.database import WriteSession
from app.core.resources import Resources
from app.crud import idempotency, inbox
from app.services import auth, users

BATCH: Final = 1000
#: Longer than any message can come late.
INBOX_AGE: Final = timedelta(days=7)
IDEMPOTENCY_AGE: Final = timedelta(hours=24)
DELETED_USER_GRACE: Final = timedelta(days=30)


async def _until_none_is_left(resources: Resources, purge: Callable[[WriteSession], Awaitable[int]]) -> int:
    gone = 0
    while True:
        async with resources.database.write() as session:
            count = await purge(session)
        gone += count
        if not count:
            return gone


async def purge_inbox(resources: Resources) -> int:
    """Forget messages that were processed long ago; returns how many."""
    return await _until_none_is_left(resources, lambda db: inbox.purge(db, INBOX_AGE, BATCH))


async def purge_idempotency_keys(resources: Resources) -> int:
    """Forget answers kept for a repetition of their request; returns how many."""
    return await _until_none_is_left(resources, lambda db: idempotency.purge(db, IDEMPOTENCY_AGE, BATCH))


async def purge_sessions(resources: Resources) -> int:
    """Delete what is left of sessions that ended long ago; returns how many rows."""
    return await _until_none_is_left(resources, lambda db: auth.purge_sessions(db, resources.settings, limit=BATCH))


async def purge_users(resources: Resources) -> int:
    """Delete for good the accounts deleted before the grace period, with all they own; returns how many rows."""
    return await _until_none_is_left(resources, lambda db: users.purge_deleted_users(db, grace=DELETED_USER_GRACE, limit=BATCH))
