"""The outbox as writers see it: promise an effect in the transaction that causes it. And as operators do: look, retry, park."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import (
    BigInteger,
    Boolean,
    ColumnElement,
    FromClause,
    Insert,
    Integer,
    Text,
    bindparam,
    case,
    func,
    insert,
    literal,
    literal_column,
    or_,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncSession

from app.core import context
from app.core.queues import queue_of
from app.core.statement import Runner, Statement
from app.core.wakeup import PENDING
from app.models.outbox import OutboxMessage


async def add_task(session: AsyncSession, name: str, payload: dict[str, Any], *, headers: dict[str, Any] | None = None) -> None:
    """Promise that a Celery task will run once, after the session's transaction committed.

    Args:
        session: The transaction that causes the task.
        name: The task's name, such as ``app.tasks.email_tasks.send_welcome_email``.
        payload: What the task is given; JSON.
        headers: Context that travels along; the current request's unless given.
    """
    carried = {name: value for name, value in context.fields().items() if name != "task_id"} if headers is None else headers
    await session.execute(insert(OutboxMessage).values(kind="task", name=name, queue=queue_of(name), payload=payload, headers=carried))
    session.info[PENDING] = True


async def add_event(session: AsyncSession, user_id: int, type: str, data: dict[str, Any]) -> None:  # noqa: A002  # the frame's own word
    """Promise that a user's sockets will see an event, after the session's transaction committed.

    Args:
        session: The transaction that causes the event.
        user_id: Whose sockets see it.
        type: Such as ``item.created``.
        data: The frame's ``data``; JSON.
    """
    await session.execute(insert(OutboxMessage).values(kind="event", name=type, user_id=user_id, payload=data))
    session.info[PENDING] = True


def event_insert(type: str, user_id: ColumnElement[int], data: ColumnElement[Any], source: FromClause) -> Insert:  # noqa: A002  # the frame's own word
    """Return the insert that promises one event per row of ``source``, to be part of a statement that causes the rows.

    Example::

        created = insert(Item).values(...).returning(Item).cte("created")
        document = func.jsonb_build_object("id", created.c.id, ...)
        promised = event_insert("item.created", created.c.owner_id, document, created).cte("promised")
        CREATE = Statement(select(document).add_cte(promised), ...)

    Args:
        type: Such as ``item.created``.
        user_id: Whose sockets see the event, a column of ``source``.
        data: The frame's ``data``, an expression of type ``jsonb`` over ``source``.
        source: The rows just written, usually the CTE that wrote them.
    """
    rows = select(literal("event"), literal(type), user_id, data).select_from(source)
    return insert(OutboxMessage).from_select(["kind", "name", "user_id", "payload"], rows)


class Entry(NamedTuple):
    """A row of the outbox as an operator sees it; ``state`` is ``waiting``, ``queued``, ``running`` or ``parked``."""

    id: int
    name: str
    state: str
    created_at: datetime
    attempts: int
    last_error: str | None


def _entries() -> Statement:
    parked = OutboxMessage.parked_at.is_not(None)
    state = case(
        (parked, literal_column("'parked'", Text)),
        (OutboxMessage.heartbeat_at.is_not(None), literal_column("'running'", Text)),
        (OutboxMessage.published_at.is_not(None), literal_column("'queued'", Text)),
        else_=literal_column("'waiting'", Text),
    )
    query = (
        select(OutboxMessage.id, OutboxMessage.name, state, OutboxMessage.created_at, OutboxMessage.attempts, OutboxMessage.last_error)
        .where(or_(~bindparam("only_parked", type_=Boolean), parked))
        .order_by(OutboxMessage.id)
        .limit(bindparam("limit", type_=Integer))
    )
    return Statement(query, "only_parked", "limit")


_ENTRIES = _entries()


async def entries(db: Runner, *, only_parked: bool, limit: int) -> list[Entry]:
    """Return the oldest rows."""
    return [Entry(*row) for row in await db.rows(_ENTRIES, only_parked, limit)]


_THESE = OutboxMessage.id == func.any(bindparam("ids", type_=ARRAY(BigInteger)))

_RETRY = Statement(
    update(OutboxMessage)
    .where(OutboxMessage.parked_at.is_not(None), or_(bindparam("every", type_=Boolean), _THESE))
    .values(parked_at=None, published_at=None, heartbeat_at=None, attempts=0, available_at=func.now())
    .returning(OutboxMessage.id),
    "ids",
    "every",
)


async def retry(db: Runner, ids: Sequence[int], *, every: bool = False) -> list[int]:
    """Make parked tasks due again, with all their tries; returns which.

    Args:
        db: Where it runs.
        ids: Rows.
        every: All that are parked, whatever ``ids`` says.
    """
    return [row[0] for row in await db.rows(_RETRY, list(ids), every)]


_PARK = Statement(
    update(OutboxMessage)
    .where(OutboxMessage.kind == literal_column("'task'"), OutboxMessage.parked_at.is_(None), _THESE)
    # The claim is taken away as well: a worker at it can no longer record it.
    .values(parked_at=func.now(), heartbeat_at=None, last_error=bindparam("reason", type_=Text))
    .returning(OutboxMessage.id),
    "ids",
    "reason",
)


async def park(db: Runner, ids: Sequence[int], reason: str) -> list[int]:
    """Keep tasks from being tried; returns which."""
    return [row[0] for row in await db.rows(_PARK, list(ids), reason)]
