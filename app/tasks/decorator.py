"""Turns coroutines into Celery tasks: promised ones, run once, and the scheduler's, which may run at any time."""

from collections.abc import Awaitable, Callable

from app.core.celery_app import TIME_LIMIT_SECONDS, celery_app
from app.core.config import get_settings
from app.core.resources import Resources
from app.core.worker import child
from app.services.delivery import Handler, deliver

#: Seconds between the moment a task is cancelled for taking too long and the moment its process is killed for it.
GRACE_SECONDS = 30


def promised_task(*, time_limit: int = TIME_LIMIT_SECONDS) -> Callable[[Handler], Handler]:
    """Make a coroutine ``(resources, message)`` the task that ``crud.outbox.add_task`` promises by its dotted name.

    It runs once: what it changes in the database is to be committed together with ``message.confirm(session)``; where it
    does not call that, its return is recorded. It is tried again when it raises, and parked after
    ``TASK_MAX_ATTEMPTS`` failures. See ``Message`` for work that keeps checkpoints, ``Postpone`` for what is away.

    Args:
        time_limit: Seconds it may take.
    """

    def decorate(handler: Handler) -> Handler:
        def run(outbox_id: int) -> None:
            attempts = get_settings().TASK_MAX_ATTEMPTS
            child.current().run(lambda resources: deliver(resources, outbox_id, handler, timeout=time_limit, max_attempts=attempts))

        celery_app.task(name=_name(handler), time_limit=time_limit + GRACE_SECONDS)(run)
        return handler

    return decorate


def scheduled_task(handler: Callable[[Resources], Awaitable[None]]) -> Callable[[Resources], Awaitable[None]]:
    """Make a coroutine ``(resources)`` a task of the scheduler's timetable. It must be idempotent: it may run twice, or not at all."""

    async def work(resources: Resources) -> None:
        await handler(resources)

    def run() -> None:
        child.current().run(work)

    celery_app.task(name=_name(handler))(run)
    return handler


def _name(handler: Callable[..., object]) -> str:
    return f"{handler.__module__}.{getattr(handler, '__name__', '')}"
