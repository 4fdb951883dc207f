"""Long work a client asked for, and the uploads it starts from."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, DateTime, ForeignKey, Index, Text, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base, BigIntKey, OptionalTimestamp, Timestamp

JOB_STATES = ("queued", "running", "finished", "failed", "cancelled")


class Job(Base):
    """A job and the checkpoint it resumes from. Counts and checkpoint change in the transaction that did the work."""

    __tablename__ = "jobs"
    __table_args__ = (
        CheckConstraint("state IN ('queued', 'running', 'finished', 'failed', 'cancelled')", name="state"),
        CheckConstraint("progress >= 0", name="progress_positive"),
        Index("ix_jobs_owner_id_id", "owner_id", "id"),
    )

    id: Mapped[BigIntKey]
    owner_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    kind: Mapped[str] = mapped_column(Text)
    state: Mapped[str] = mapped_column(Text, server_default=text("'queued'"))
    #: What the job was asked to do; never shown.
    parameters: Mapped[dict[str, Any]] = mapped_column(JSONB, server_default=text("'{}'::jsonb"))
    #: Where to go on after the worker died; never shown.
    checkpoint: Mapped[dict[str, Any]] = mapped_column(JSONB, server_default=text("'{}'::jsonb"))
    progress: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    total: Mapped[int | None] = mapped_column(BigInteger)
    created: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    failed: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    errors: Mapped[list[Any]] = mapped_column(JSONB, server_default=text("'[]'::jsonb"))
    result_url: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[Timestamp]
    updated_at: Mapped[Timestamp]
    finished_at: Mapped[OptionalTimestamp]

    @property
    def counts(self) -> dict[str, int | None]:
        """What became of the rows, as the wire has it."""
        return {"total": self.total, "created": self.created, "failed": self.failed}


class Upload(Base):
    """A file a client may put into the store through a presigned URL, to be imported once."""

    __tablename__ = "uploads"
    __table_args__ = (
        CheckConstraint("size > 0", name="size_positive"),
        Index("ix_uploads_expires_at", "expires_at"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=text("gen_random_uuid()"))
    owner_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    object_key: Mapped[str] = mapped_column(Text, unique=True)
    filename: Mapped[str] = mapped_column(Text)
    content_type: Mapped[str] = mapped_column(Text)
    size: Mapped[int] = mapped_column(BigInteger)
    checksum_sha256: Mapped[str] = mapped_column(Text)
    job_id: Mapped[int | None] = mapped_column(ForeignKey("jobs.id", ondelete="SET NULL"), index=True)
    created_at: Mapped[Timestamp]
    expires_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
