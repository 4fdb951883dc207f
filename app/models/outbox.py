"""What must still happen because of a committed change, and what already has."""

from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, Index, Integer, Text, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base, BigIntKey, OptionalTimestamp, Timestamp


class OutboxMessage(Base):
    """An effect promised by a transaction: a Celery task, or an event for a user's sockets.

    An event's row goes once it is in the user's stream; a task's row stays until its worker has confirmed it.
    """

    __tablename__ = "outbox"
    __table_args__ = (
        CheckConstraint("kind IN ('task', 'event')", name="kind"),
        CheckConstraint("(kind = 'task') = (queue IS NOT NULL)", name="task_queue"),
        CheckConstraint("kind = 'task' OR user_id IS NOT NULL", name="event_user"),
        Index("ix_outbox_event", "id", postgresql_where=text("kind = 'event'")),
        # A task's row is in one of these at a time: waiting for the relay, for a worker, at work, parked.
        Index(
            "ix_outbox_unpublished",
            "available_at",
            postgresql_where=text("kind = 'task' AND published_at IS NULL AND parked_at IS NULL"),
        ),
        Index(
            "ix_outbox_unclaimed",
            "queue",
            "published_at",
            "id",
            postgresql_where=text("published_at IS NOT NULL AND heartbeat_at IS NULL AND parked_at IS NULL"),
        ),
        Index("ix_outbox_claimed", "heartbeat_at", postgresql_where=text("heartbeat_at IS NOT NULL AND parked_at IS NULL")),
        Index("ix_outbox_parked", "parked_at", postgresql_where=text("parked_at IS NOT NULL")),
        # Rows live for milliseconds: the table is mostly dead ones unless it is vacuumed by their number.
        {"postgresql_with": {"autovacuum_vacuum_scale_factor": 0, "autovacuum_vacuum_threshold": 1000}},
    )

    id: Mapped[BigIntKey]
    #: Celery's task id, the Message-ID of a mail, the id under which an event is recognised when it comes twice.
    message_id: Mapped[UUID] = mapped_column(server_default=text("gen_random_uuid()"))
    kind: Mapped[str] = mapped_column(Text)
    #: A task's name (``app.tasks...``) or an event's type (``item.created``).
    name: Mapped[str] = mapped_column(Text)
    #: The queue that carries the task.
    queue: Mapped[str | None] = mapped_column(Text)
    #: The user whose sockets see the event.
    user_id: Mapped[int | None] = mapped_column(BigInteger)
    payload: Mapped[dict[str, Any]] = mapped_column(JSONB)
    #: Context that travels with the effect: request_id, user_id, traceparent.
    headers: Mapped[dict[str, Any]] = mapped_column(JSONB, server_default=text("'{}'::jsonb"))
    created_at: Mapped[Timestamp]
    #: Not before this; a failed task's next try.
    available_at: Mapped[Timestamp]
    published_at: Mapped[OptionalTimestamp]
    #: While a worker is at it, when it last said so.
    heartbeat_at: Mapped[OptionalTimestamp]
    #: How often a worker took it; only the last one may confirm.
    claims: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    #: Tries since it last got on.
    attempts: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    #: A worker died at it, so that its effect may have happened without being recorded.
    interrupted: Mapped[bool] = mapped_column(server_default=text("false"))
    #: Set when the message failed too often; it waits for ``python -m app outbox retry``.
    parked_at: Mapped[OptionalTimestamp]
    last_error: Mapped[str | None] = mapped_column(Text)


class InboxMessage(Base):
    """A message whose effect has happened; a second delivery finds it here and does nothing."""

    __tablename__ = "inbox"
    __table_args__ = (Index("ix_inbox_processed_at", "processed_at"),)

    message_id: Mapped[UUID] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(Text)
    processed_at: Mapped[Timestamp]
