"""Imports, on the bulk queue."""

from sqlalchemy.exc import DBAPIError

from app.core.config import get_settings
from app.core.errors import ServiceUnavailable
from app.core.resources import Resources
from app.services import import_runner
from app.services.delivery import ClaimLost, Message, Postpone
from app.services.storage import open_storage
from app.tasks.decorator import promised_task

#: Seconds; an import that takes longer goes on at its checkpoint.
TIME_LIMIT_SECONDS = 3600

GIVEN_UP = (
    "The import failed several times over and was given up; items made so far stay. Start it again, or ask for help with the job's id."
)


@promised_task(time_limit=TIME_LIMIT_SECONDS)
async def run_import(resources: Resources, message: Message) -> None:
    """Run an import from where it was left; payload ``{"job_id": int}``."""
    job_id: int = message.payload["job_id"]
    try:
        async with open_storage(resources.settings) as storage:
            await import_runner.run(resources.database, storage, job_id, message.advance)
    except ServiceUnavailable as error:
        raise Postpone("The object store does not answer.") from error
    except (ClaimLost, TimeoutError):
        raise
    except Exception as error:
        lost = isinstance(error, DBAPIError) and error.connection_invalidated
        if not lost and message.attempt >= get_settings().TASK_MAX_ATTEMPTS:
            await import_runner.fail(resources.database, job_id, GIVEN_UP)
        raise
