"""The outbox as writers see it: promise an effect in the transaction that causes it."""

from typing import Any

from sqlalchemy import ColumnElement, FromClause, Insert, insert, literal, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.core import context
from app.core.queues import queue_of
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


def event_insert(type: str, user_id: ColumnElement[int], data: ColumnElement[Any], source: FromClause) -> Insert:  # noqa: A002
    """Return the insert that promises one event per row of ``source``, to be part of a statement that causes the rows.

    The caller calls ``Wakeup.set`` once the statement is through::

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
