"""Imports, on the bulk queue."""

from app.core.resources import Resources
from app.services import import_runner
from app.services.delivery import Message
from app.services.storage import open_storage
from app.tasks.decorator import promised_task

#: Seconds; an import that takes longer goes on at its checkpoint.
TIME_LIMIT_SECONDS = 3600


@promised_task(time_limit=TIME_LIMIT_SECONDS)
async def run_import(resources: Resources, message: Message) -> None:
    """Run an import from where it was left; payload ``{"job_id": int}``."""
    async with open_storage(resources.settings) as storage:
        await import_runner.run_promised(resources, storage, message)
