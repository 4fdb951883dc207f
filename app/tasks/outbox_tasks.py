"""Upkeep of outbox and inbox, on the main queue. Publishing is the relay's work."""

from app.core.resources import Resources
from app.services import maintenance
from app.tasks.decorator import scheduled_task


@scheduled_task
async def purge_inbox(resources: Resources) -> None:
    """Forget messages that were processed long ago."""
    await maintenance.purge_inbox(resources)
