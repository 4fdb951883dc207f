"""The outbox as the relay sees it: what is due, what was lost on the way, what waits how long."""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    DateTime,
    Double,
    Float,
    Integer,
    Text,
    bindparam,
    case,
    cast,
    delete,
    extract,
    func,
    literal_column,
    select,
    tuple_,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY

from app.core.statement import Runner, Statement
from app.models.outbox import OutboxMessage

#: Key of the advisory lock whose holder publishes events, so that a user's events leave in order.
EVENTS_LOCK: Final = 0x6F7574626F78
#: Rows that one statement of the relay changes at most.
BATCH: Final = 1000


class Event(NamedTuple):
    """An event that waits to be published; ``data`` is JSON as PostgreSQL prints it."""

    id: int
    message_id: UUID
    user_id: int
    type: str
    created_at: datetime
    data: str


class Task(NamedTuple):
    """A task that waits to be published; ``headers`` is a JSON object as PostgreSQL prints it."""

    id: int
    message_id: UUID
    name: str
    queue: str
    headers: str
    published_at: datetime

    @property
    def context(self) -> dict[str, Any]:
        """What travels along: the request's id, the user's, the trace's."""
        found: dict[str, Any] = json.loads(self.headers)
        return found


class Revived(NamedTuple):
    """A task whose worker died; ``parked_at`` is set where it died too often."""

    id: int
    name: str
    parked_at: datetime | None


class Place(NamedTuple):
    """Where a message stands in its queue: when it was published, then its id."""

    published_at: datetime
    id: int


class Backlog(NamedTuple):
    """What waits to be published, for how many seconds the oldest does, and what was given up."""

    waiting: int
    age: float
    parked: int


def _ago(seconds: ColumnElement[float]) -> ColumnElement[datetime]:
    return func.now() - func.make_interval(0, 0, 0, 0, 0, 0, seconds)


def _take_events() -> Statement:
    # Asked inside the statement, so that an idle relay costs one round trip; FOR UPDATE passes over rows that the
    # former holder deleted since the statement's snapshot.
    locked = select(func.pg_try_advisory_xact_lock(EVENTS_LOCK)).scalar_subquery()
    columns = (
        OutboxMessage.id,
        OutboxMessage.message_id,
        OutboxMessage.user_id,
        OutboxMessage.name,
        OutboxMessage.created_at,
        cast(OutboxMessage.payload, Text),
    )
    query = (
        select(*columns)
        .where(OutboxMessage.kind == literal_column("'event'"), locked)
        .order_by(OutboxMessage.id)
        .limit(bindparam("limit", type_=Integer))
        .with_for_update(skip_locked=True)
    )
    return Statement(query, "limit")


_TAKE_EVENTS = _take_events()


async def take_events(db: Runner, limit: int) -> list[Event]:
    """Lock the oldest events, in order; none if another relay is at it."""
    return [Event(*row) for row in await db.rows(_TAKE_EVENTS, limit)]


_FORGET = Statement(delete(OutboxMessage).where(OutboxMessage.id == func.any(bindparam("ids", type_=ARRAY(BigInteger)))), "ids")


async def forget_events(db: Runner, ids: Sequence[int]) -> None:
    """Delete events that were published."""
    await db.rows(_FORGET, list(ids))


_UNPUBLISHED: Final = (
    OutboxMessage.kind == literal_column("'task'"),
    OutboxMessage.published_at.is_(None),
    OutboxMessage.parked_at.is_(None),
)


def _take_tasks() -> Statement:
    due = (
        select(OutboxMessage.id)
        .where(*_UNPUBLISHED, OutboxMessage.available_at <= func.now())
        .order_by(OutboxMessage.available_at)
        .limit(bindparam("limit", type_=Integer))
        .with_for_update(skip_locked=True)
    )
    taken = (
        update(OutboxMessage)
        .where(OutboxMessage.id.in_(due))
        .values(published_at=func.now())
        .returning(
            OutboxMessage.id,
            OutboxMessage.message_id,
            OutboxMessage.name,
            OutboxMessage.queue,
            cast(OutboxMessage.headers, Text).label("headers"),
            OutboxMessage.published_at,
        )
        .cte("taken")
    )
    return Statement(select(taken).order_by(taken.c.id), "limit")


_TAKE_TASKS = _take_tasks()


async def take_tasks(db: Runner, limit: int) -> list[Task]:
    """Mark the tasks that are due longest as published and return them."""
    return [Task(*row) for row in await db.rows(_TAKE_TASKS, limit)]


def _revive() -> Statement:
    dead = (
        select(OutboxMessage.id)
        .where(
            OutboxMessage.heartbeat_at < _ago(bindparam("silence", type_=Double)),
            OutboxMessage.parked_at.is_(None),
        )
        .limit(BATCH)
        .with_for_update(skip_locked=True)
    )
    hopeless = OutboxMessage.attempts >= bindparam("max_attempts", type_=Integer)
    statement = (
        update(OutboxMessage)
        .where(OutboxMessage.id.in_(dead))
        .values(
            heartbeat_at=None,
            published_at=None,
            available_at=func.now(),
            interrupted=True,
            parked_at=case((hopeless, func.now())),
            last_error=case((hopeless, literal_column("'Its worker died each time.'", Text)), else_=OutboxMessage.last_error),
        )
        .returning(OutboxMessage.id, OutboxMessage.name, OutboxMessage.parked_at)
    )
    return Statement(statement, "silence", "max_attempts")


_REVIVE = _revive()


async def revive(db: Runner, silence: float, max_attempts: int) -> list[Revived]:
    """Give up the claims of workers that died: their tasks are due again, or parked.

    Args:
        db: Where it runs.
        silence: Seconds without a heartbeat after which a worker counts as dead.
        max_attempts: Tries after which a task is parked.
    """
    return [Revived(*row) for row in await db.rows(_REVIVE, silence, max_attempts)]


def _reclaim() -> Statement:
    lost = (
        select(OutboxMessage.id)
        .where(
            OutboxMessage.queue == bindparam("queue", type_=Text),
            OutboxMessage.published_at < _ago(bindparam("age", type_=Double)),
            tuple_(OutboxMessage.published_at, OutboxMessage.id)
            < tuple_(bindparam("before", type_=DateTime(timezone=True)), bindparam("before_id", type_=BigInteger)),
            OutboxMessage.heartbeat_at.is_(None),
            OutboxMessage.parked_at.is_(None),
        )
        .order_by(OutboxMessage.published_at)
        .limit(BATCH)
        .with_for_update(skip_locked=True)
    )
    statement = update(OutboxMessage).where(OutboxMessage.id.in_(lost)).values(published_at=None).returning(OutboxMessage.id)
    return Statement(statement, "queue", "age", "before", "before_id")


_RECLAIM = _reclaim()


async def reclaim(db: Runner, queue: str, age: float, before: Place) -> int:
    """Mark tasks as not published that no worker took; returns how many, at most ``BATCH``.

    Args:
        db: Where it runs.
        queue: The queue they were put into.
        age: Seconds since they were.
        before: Tasks put there later are still in the queue.
    """
    return len(await db.rows(_RECLAIM, queue, age, *before))


def _backlog() -> Statement:
    event = OutboxMessage.kind == literal_column("'event'")
    due = OutboxMessage.available_at <= func.now()

    def seconds(*waiting: ColumnElement[bool]) -> ColumnElement[float]:
        oldest = select(func.min(OutboxMessage.available_at)).where(*waiting).scalar_subquery()
        return func.coalesce(cast(extract("epoch", func.clock_timestamp() - oldest), Float), 0.0)

    def count(*waiting: ColumnElement[bool]) -> ColumnElement[int]:
        return select(func.count()).select_from(OutboxMessage).where(*waiting).scalar_subquery()

    waiting = count(event) + count(*_UNPUBLISHED, due)
    age = func.greatest(seconds(event), seconds(*_UNPUBLISHED), 0.0)
    return Statement(select(waiting, age, count(OutboxMessage.parked_at.is_not(None))))


_BACKLOG = _backlog()


async def backlog(db: Runner) -> Backlog:
    """Return what waits now."""
    row = await db.row(_BACKLOG)
    assert row is not None  # noqa: S101  # an aggregate gives a row
    return Backlog(*row)
