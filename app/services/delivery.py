"""Running a promised task once: take it, do it, record it.

The outbox row says who is at it, not the broker, so a message that comes twice, late or after its worker's death does
no harm. What a task changes in the database is committed together with its record; a mail is recorded after the mail
server took it.
"""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Final, Literal
from uuid import UUID

from sqlalchemy.exc import DBAPIError

from app.core import context, metrics
from app.core.errors import ServiceUnavailable
from app.core.resources import Resources
from app.core.sentry import capture
from app.core.statement import Runner
from app.crud import inbox

#: Heartbeats within ``TASK_HEARTBEAT_TIMEOUT``: some may fail before a worker counts as dead.
BEATS: Final = 4
LONGEST_DELAY_SECONDS: Final = 60.0
#: What a stopping worker gives back is due only after this, or it would fetch it again while it ends.
HANDOVER_SECONDS: Final = 3.0
#: Waits between the tries to reach PostgreSQL before a task and after it.
RECONNECT_SECONDS: Final = (0.1, 0.5, 1.0, 2.0, 4.0, 8.0)

#: ``repeated``: done, or another worker is at it. ``lost``: another worker took it over. ``released``: given back at shutdown.
type Outcome = Literal["succeeded", "failed", "parked", "postponed", "repeated", "lost", "released"]
type Handler = Callable[[Resources, Message], Awaitable[None]]

logger = logging.getLogger(__name__)


class ClaimLost(Exception):  # noqa: N818  # what happened, as with asyncio.CancelledError
    """Another worker took the task: this one was taken for dead. Nothing of its transaction may stay."""


class Postpone(Exception):  # noqa: N818  # a request, as with celery.exceptions.Retry
    """Try again later, however often: what the task needs is away, and the task is not to blame.

    Args:
        reason: What is away.
        delay: Seconds until the next try.
    """

    def __init__(self, reason: str, delay: float = 10.0) -> None:
        self.delay = delay
        super().__init__(reason)


class Message:
    """A task's message while its worker holds it.

    Attributes:
        confirmed: Whether the task recorded that it is done.
        in_doubt: Set by a task around an effect outside of the database, so that a try that failed there is known as such.
    """

    __slots__ = ("_claim", "confirmed", "in_doubt")

    def __init__(self, claim: inbox.Claim) -> None:
        self._claim = claim
        self.confirmed = False
        self.in_doubt = False

    @property
    def id(self) -> UUID:
        """The message's id, the same at every try."""
        return self._claim.message_id

    @property
    def payload(self) -> dict[str, Any]:
        """What the task was given."""
        return self._claim.payload

    @property
    def attempt(self) -> int:
        """Tries since the task last got on, this one included."""
        return self._claim.attempt

    @property
    def interrupted(self) -> bool:
        """Whether an effect outside of the database may have happened already: a worker died at it, or a try ended in doubt."""
        return self._claim.interrupted

    async def advance(self, db: Runner) -> None:
        """Hold on to the task in a transaction that keeps part of its work, such as a checkpoint; its tries count anew.

        Raises:
            ClaimLost: if another worker took it; the transaction must roll back.
        """
        if not await inbox.advance(db, self._claim):
            raise ClaimLost

    async def confirm(self, db: Runner) -> None:
        """Record in the transaction of the task's effect that it is done. Without it, it is recorded after the task returned.

        Raises:
            ClaimLost: if another worker took it; the transaction must roll back.
        """
        if not await inbox.confirm(db, self._claim):
            raise ClaimLost
        self.confirmed = True


async def deliver(resources: Resources, outbox_id: int, handler: Handler, *, timeout: float, max_attempts: int) -> Outcome:
    """Run a promised task, unless it is done or another worker is at it.

    Args:
        resources: What the worker holds open.
        outbox_id: The task's row in the outbox.
        handler: The task.
        timeout: Seconds it may take.
        max_attempts: Failures in a row after which it is parked.

    Raises:
        ServiceUnavailable: if PostgreSQL does not answer; the relay brings the task back.
        asyncio.CancelledError: if the worker shuts down; the task was given back.
    """
    silence = resources.settings.TASK_HEARTBEAT_TIMEOUT
    take = partial(inbox.claim, resources.database.autocommit, outbox_id, silence=silence, max_attempts=max_attempts)
    claim = await _patiently(take)
    if claim is None:
        return "repeated"
    context.request_id.set(claim.headers.get("request_id"))
    context.user_id.set(claim.headers.get("user_id"))
    context.traceparent.set(claim.headers.get("traceparent"))
    context.task_id.set(str(claim.message_id))
    started = time.perf_counter()
    outcome: Outcome = "released"
    try:
        outcome = await _attempt(resources, claim, handler, timeout, max_attempts)
    finally:
        metrics.TASKS.labels(claim.name, outcome).inc()
        metrics.TASK_SECONDS.labels(claim.name).observe(time.perf_counter() - started)
        logger.info("task %s", outcome, extra={"task": claim.name, "attempt": claim.attempt})
    return outcome


async def _attempt(resources: Resources, claim: inbox.Claim, handler: Handler, timeout: float, max_attempts: int) -> Outcome:
    db = resources.database.autocommit
    message = Message(claim)
    try:
        async with _beating(db, claim, resources.settings.TASK_HEARTBEAT_TIMEOUT / BEATS):
            async with asyncio.timeout(timeout):
                await handler(resources, message)
            if not message.confirmed:
                await _patiently(lambda: message.confirm(db))
    except ClaimLost:
        return "lost"
    except asyncio.CancelledError:
        await inbox.release(db, claim, None, delay=HANDOVER_SECONDS, counts=False, in_doubt=message.in_doubt)
        raise
    except Exception as error:
        if postponed := _postponed(error):
            return await _postpone(db, message, claim, postponed)
        logger.exception("task failed", extra={"task": claim.name, "attempt": claim.attempt})
        capture(error, task=claim.name)
        return await _fail(db, message, claim, error, park=claim.attempt >= max_attempts)
    return "succeeded"


def _postponed(error: Exception) -> Postpone | None:
    """Return why to try again later where the task is not to blame."""
    if isinstance(error, Postpone):
        return error
    if isinstance(error, ServiceUnavailable) or (isinstance(error, DBAPIError) and error.connection_invalidated):
        return Postpone("PostgreSQL does not answer.", delay=1.0)
    return None


async def _postpone(db: Runner, message: Message, claim: inbox.Claim, postponed: Postpone) -> Outcome:
    logger.warning("task postponed: %s", postponed, extra={"task": claim.name})
    release = partial(inbox.release, db, claim, str(postponed), delay=postponed.delay, counts=False, in_doubt=message.in_doubt)
    await _patiently(release)
    return "postponed"


async def _fail(db: Runner, message: Message, claim: inbox.Claim, error: Exception, *, park: bool) -> Outcome:
    delay = min(2.0 ** (claim.attempt - 1), LONGEST_DELAY_SECONDS)
    reason = f"{type(error).__name__}: {error}"
    await _patiently(partial(inbox.release, db, claim, reason, delay=delay, in_doubt=message.in_doubt, park=park))
    return "parked" if park else "failed"


@asynccontextmanager
async def _beating(db: Runner, claim: inbox.Claim, seconds: float) -> AsyncGenerator[None]:
    """Say regularly that the worker is alive; raise ``ClaimLost`` in the block once another took the task."""
    body = asyncio.current_task()
    lost = False

    async def beat() -> None:
        nonlocal lost
        while not lost:
            await asyncio.sleep(seconds)
            try:
                lost = not await inbox.beat(db, claim)
            except ServiceUnavailable:
                logger.warning("no heartbeat: PostgreSQL does not answer", extra={"task": claim.name})
        if body is not None:
            body.cancel()

    beating = asyncio.create_task(beat())
    try:
        yield
    except asyncio.CancelledError:
        if not lost or body is None or body.uncancel() > 0:
            raise
        raise ClaimLost from None
    finally:
        beating.cancel()


async def _patiently[Result](run: Callable[[], Awaitable[Result]]) -> Result:
    """Run a statement, again if PostgreSQL is restarting: what comes of the task hangs on it."""
    for delay in RECONNECT_SECONDS:
        try:
            return await run()
        except ServiceUnavailable:
            logger.warning("PostgreSQL does not answer; trying again in %s s", delay)
            await asyncio.sleep(delay)
    return await run()
