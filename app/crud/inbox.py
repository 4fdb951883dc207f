"""A worker's hold on a task of the outbox, and the record of what has been done."""

import json
from datetime import timedelta
from typing import Any, Final, NamedTuple, Self
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    Boolean,
    Double,
    Integer,
    Interval,
    Text,
    and_,
    bindparam,
    case,
    cast,
    delete,
    exists,
    func,
    insert,
    or_,
    select,
    update,
)

from app.core.statement import Runner, Statement
from app.models.outbox import InboxMessage, OutboxMessage

ERROR_LENGTH: Final = 2000

_ID = OutboxMessage.id == bindparam("outbox_id", type_=BigInteger)
#: The claim is a fencing token: whoever was taken for dead and is not finds that it holds no longer.
_HELD = (_ID, OutboxMessage.claims == bindparam("claim", type_=Integer), OutboxMessage.heartbeat_at.is_not(None))


class Claim(NamedTuple):
    """A task that this worker holds.

    Attributes:
        id: The outbox row's.
        message_id: Celery's task id.
        name: The task's name.
        payload: What the task is given.
        headers: Context that travels along.
        number: How often it was claimed, this time included; the fencing token.
        attempt: Tries since it last got on, this one included.
        interrupted: Whether a worker died at it before.
    """

    id: int
    message_id: UUID
    name: str
    payload: dict[str, Any]
    headers: dict[str, Any]
    number: int
    attempt: int
    interrupted: bool

    @classmethod
    def of(cls, row: Any) -> Self:
        """Return a claim from its row, in which documents are text."""
        values = list(row)
        values[3:5] = (json.loads(value) for value in values[3:5])
        return cls(*values)


def _claim() -> Statement:
    # One that died at its last try is not free: the relay parks it.
    dead = and_(
        OutboxMessage.heartbeat_at < func.now() - func.make_interval(0, 0, 0, 0, 0, 0, bindparam("silence", type_=Double)),
        OutboxMessage.attempts < bindparam("max_attempts", type_=Integer),
    )
    free = or_(OutboxMessage.heartbeat_at.is_(None), dead)
    done = exists().where(InboxMessage.message_id == OutboxMessage.message_id)
    found = (
        select(OutboxMessage.id, or_(OutboxMessage.interrupted, OutboxMessage.heartbeat_at.is_not(None)).label("interrupted"))
        .where(_ID, OutboxMessage.parked_at.is_(None), OutboxMessage.available_at <= func.now(), free, ~done)
        .with_for_update(of=OutboxMessage.__table__)
        .cte("found")
    )
    statement = (
        update(OutboxMessage)
        .where(OutboxMessage.id == found.c.id)
        .values(
            claims=OutboxMessage.claims + 1,
            attempts=OutboxMessage.attempts + 1,
            heartbeat_at=func.clock_timestamp(),
            published_at=func.coalesce(OutboxMessage.published_at, func.now()),
            interrupted=found.c.interrupted,
        )
        .returning(
            OutboxMessage.id,
            OutboxMessage.message_id,
            OutboxMessage.name,
            cast(OutboxMessage.payload, Text),
            cast(OutboxMessage.headers, Text),
            OutboxMessage.claims,
            OutboxMessage.attempts,
            OutboxMessage.interrupted,
        )
    )
    return Statement(statement, "outbox_id", "silence", "max_attempts")


_CLAIM = _claim()


async def claim(db: Runner, outbox_id: int, *, silence: float, max_attempts: int) -> Claim | None:
    """Take a task, unless it is done, parked, not due yet, another worker is at it, or one died at its last try.

    Args:
        db: Where it runs.
        outbox_id: The task's row.
        silence: Seconds without a heartbeat after which another worker counts as dead.
        max_attempts: Tries after which a task whose worker died is not taken again.
    """
    row = await db.row(_CLAIM, outbox_id, silence, max_attempts)
    return None if row is None else Claim.of(row)


_BEAT = Statement(
    update(OutboxMessage).where(*_HELD).values(heartbeat_at=func.clock_timestamp()).returning(OutboxMessage.id), "outbox_id", "claim"
)


async def beat(db: Runner, held: Claim) -> bool:
    """Say that the worker is alive; false if another took the task meanwhile."""
    return await db.value(_BEAT, held.id, held.number) is not None


_ADVANCE = Statement(
    update(OutboxMessage).where(*_HELD).values(heartbeat_at=func.clock_timestamp(), attempts=0).returning(OutboxMessage.id),
    "outbox_id",
    "claim",
)


async def advance(db: Runner, held: Claim) -> bool:
    """Say that the task got on, so that its tries are counted anew; false if another took it meanwhile."""
    return await db.value(_ADVANCE, held.id, held.number) is not None


def _confirm() -> Statement:
    gone = delete(OutboxMessage).where(*_HELD).returning(OutboxMessage.message_id, OutboxMessage.name).cte("gone")
    rows = select(gone.c.message_id, gone.c.name)
    return Statement(
        insert(InboxMessage).from_select(["message_id", "name"], rows).returning(InboxMessage.message_id), "outbox_id", "claim"
    )


_CONFIRM = _confirm()


async def confirm(db: Runner, held: Claim) -> bool:
    """Record that the task is done, in the transaction of its effect; false if another took it meanwhile."""
    return await db.value(_CONFIRM, held.id, held.number) is not None


def _release() -> Statement:
    counts = bindparam("counts", type_=Boolean)
    statement = (
        update(OutboxMessage)
        .where(*_HELD)
        .values(
            heartbeat_at=None,
            published_at=None,
            available_at=func.now() + func.make_interval(0, 0, 0, 0, 0, 0, bindparam("delay", type_=Double)),
            attempts=case((counts, OutboxMessage.attempts), else_=func.greatest(OutboxMessage.attempts - 1, 0)),
            interrupted=or_(OutboxMessage.interrupted, bindparam("in_doubt", type_=Boolean)),
            parked_at=case((bindparam("park", type_=Boolean), func.now())),
            last_error=bindparam("error", type_=Text),
        )
        .returning(OutboxMessage.id)
    )
    return Statement(statement, "outbox_id", "claim", "delay", "counts", "in_doubt", "park", "error")


_RELEASE = _release()


async def release(
    db: Runner, held: Claim, error: str | None, *, delay: float = 0, counts: bool = True, in_doubt: bool = False, park: bool = False
) -> bool:
    """Give a task back; false if another took it meanwhile.

    Args:
        db: Where it runs.
        held: The task.
        error: Why.
        delay: Seconds until the next try.
        counts: Whether this try counts towards those after which a task is parked.
        in_doubt: Whether its effect outside of the database may have happened.
        park: Give it up.
    """
    reason = None if error is None else error[:ERROR_LENGTH].replace("\x00", "")
    return await db.value(_RELEASE, held.id, held.number, delay, counts, in_doubt, park, reason) is not None


def _purge() -> Statement:
    outdated = (
        select(InboxMessage.message_id)
        .where(InboxMessage.processed_at < func.now() - bindparam("age", type_=Interval))
        .limit(bindparam("limit", type_=Integer))
        .with_for_update(skip_locked=True)
    )
    return Statement(delete(InboxMessage).where(InboxMessage.message_id.in_(outdated)).returning(InboxMessage.message_id), "age", "limit")


_PURGE = _purge()


async def purge(db: Runner, age: timedelta, limit: int) -> int:
    """Delete up to ``limit`` records older than ``age`` and return how many."""
    return len(await db.rows(_PURGE, age, limit))
