"""From the outbox to Redis, and again whenever Redis or a worker lost it."""

import json
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Final, cast

from redis.asyncio import Redis

from app.core import metrics, streams
from app.core.queues import QUEUES
from app.core.resources import Resources
from app.crud import relay as crud
from app.crud.relay import Place, Task

#: Events and tasks published at a time.
EVENT_BATCH: Final = 500
TASK_BATCH: Final = 100
#: A published task that is neither in its queue nor claimed after this long was lost on the way.
TRANSIT_SECONDS: Final = 10.0
#: In Redis: the run id of the server that holds what was published. Another one, or none, has lost some of it.
MARKER: Final = "outbox:published-to"
#: Messages at a queue's end that are looked at for the oldest one with a row.
PEEK: Final = 16
_END: Final = Place(datetime.max.replace(tzinfo=UTC), 0)

#: Puts tasks into their queues, in order.
type Send = Callable[[Sequence[Task]], Awaitable[None]]

logger = logging.getLogger(__name__)


async def publish_events(resources: Resources) -> int:
    """Publish the oldest events and forget them; returns how many.

    Raises:
        redis.exceptions.RedisError: if Redis does not answer; the events stay.
    """
    async with resources.database.write() as session:
        events = await crud.take_events(session, EVENT_BATCH)
        if not events:
            return 0
        await streams.publish(
            resources.redis,
            [
                streams.EventMessage(event.message_id, event.user_id, event.type, _rfc3339(event.created_at), event.data.encode())
                for event in events
            ],
        )
        await crud.forget_events(session, [event.id for event in events])
    metrics.OUTBOX_PUBLISHED.labels("event").inc(len(events))
    return len(events)


def _rfc3339(at: datetime) -> str:
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


async def publish_tasks(resources: Resources, send: Send) -> int:
    """Put the tasks that are due into their queues; returns how many.

    Raises:
        Exception: what ``send`` raises; the tasks stay due.
    """
    async with resources.database.write() as session:
        tasks = await crud.take_tasks(session, TASK_BATCH)
        if tasks:
            await send(tasks)
    metrics.OUTBOX_PUBLISHED.labels("task").inc(len(tasks))
    return len(tasks)


async def recover(resources: Resources, broker: Redis) -> int:
    """Make due again what Redis or a worker lost; returns how many tasks.

    A worker that died leaves a claim without heartbeats. A message lost in Redis, or with a worker that had fetched and
    not yet claimed it, is neither claimed nor in its queue: a queue keeps its order, so whatever was published
    before the queue's oldest message is no longer in it. A backlog, however long, is therefore not published twice.

    Raises:
        redis.exceptions.RedisError: if Redis does not answer.
    """
    db = resources.database.autocommit
    found = await crud.revive(db, resources.settings.TASK_HEARTBEAT_TIMEOUT, resources.settings.TASK_MAX_ATTEMPTS)
    for task in found:
        if task.parked_at is None:
            logger.warning("worker died at a task", extra={"task": task.name, "outbox_id": task.id})
        else:
            logger.error("task parked: its worker died each time", extra={"task": task.name, "outbox_id": task.id})
    lost = len(found)
    forgetful = await _has_forgotten(broker)
    for queue in QUEUES:
        if forgetful:
            while returned := await crud.reclaim(db, queue, 0, _END):
                lost += returned
        else:
            lost += await crud.reclaim(db, queue, TRANSIT_SECONDS, await _oldest(broker, queue) or _END)
    metrics.OUTBOX_REPUBLISHED.inc(lost)
    return lost


async def _has_forgotten(broker: Redis) -> bool:
    """Say whether Redis may have lost what was published: it started anew, another took its place, or it was emptied."""
    server: dict[str, Any] = await cast("Any", broker).info("server")
    run_id = str(server["run_id"]).encode()
    if await broker.get(MARKER) == run_id:
        return False
    # Of several relays that notice, one gets the old value.
    return await broker.set(MARKER, run_id, get=True) != run_id


async def _oldest(broker: Redis, queue: str) -> Place | None:
    """Return the place of the oldest message in a queue; ``None`` if there is none."""
    for message in reversed(await broker.lrange(queue, -PEEK, -1)):
        headers: dict[str, Any] = json.loads(message).get("headers", {})
        if "outbox_id" in headers:  # the scheduler's messages have no row
            return Place(datetime.fromisoformat(headers["published_at"]), headers["outbox_id"])
    return None


async def measure(resources: Resources, broker: Redis) -> None:
    """Set the gauges of the outbox and the queues.

    Raises:
        redis.exceptions.RedisError: if Redis does not answer; the outbox's are set by then.
    """
    backlog = await crud.backlog(resources.database.autocommit)
    metrics.OUTBOX_BACKLOG.set(backlog.waiting)
    metrics.OUTBOX_BACKLOG_AGE.set(backlog.age)
    metrics.OUTBOX_PARKED.set(backlog.parked)
    for queue in QUEUES:
        metrics.QUEUE_DEPTH.labels(queue).set(await broker.llen(queue))
        oldest = await _oldest(broker, queue)
        metrics.QUEUE_AGE.labels(queue).set(max(0.0, time.time() - oldest.published_at.timestamp()) if oldest else 0.0)
