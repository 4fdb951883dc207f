"""Upkeep of the database and the store, on the bulk queue."""

from datetime import UTC, datetime

from app.core.resources import Resources
from app.services import imports, maintenance
from app.services.storage import open_storage
from app.tasks.decorator import scheduled_task


@scheduled_task
async def purge_idempotency_keys(resources: Resources) -> None:
    """Forget answers kept for a repetition of their request."""
    await maintenance.purge_idempotency_keys(resources)


@scheduled_task
async def purge_sessions(resources: Resources) -> None:
    """Delete what is left of sessions that ended long ago."""
    await maintenance.purge_sessions(resources)


@scheduled_task
async def purge_users(resources: Resources) -> None:
    """Delete for good the accounts deleted before the grace period."""
    await maintenance.purge_users(resources)


@scheduled_task
async def purge_uploads(resources: Resources) -> None:
    """Delete the files of uploads that nothing will read any more."""
    async with open_storage(resources.settings) as storage:
        await imports.purge_uploads(resources.database, storage, datetime.now(UTC))
