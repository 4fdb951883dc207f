"""Signed-in sessions and the refresh tokens that keep them alive."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import DateTime, ForeignKey, Index, LargeBinary, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base, BigIntKey, OptionalTimestamp, Timestamp


class Session(Base):
    """One sign-in on one device: the family of refresh tokens that descend from it."""

    __tablename__ = "sessions"
    __table_args__ = (
        Index("ix_sessions_revoked_at", "revoked_at", postgresql_where=text("revoked_at IS NOT NULL")),
        Index("ix_sessions_expires_at", "expires_at"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=text("gen_random_uuid()"))
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    user_agent: Mapped[str | None] = mapped_column(Text)
    address: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[Timestamp]
    last_used_at: Mapped[Timestamp]
    expires_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    revoked_at: Mapped[OptionalTimestamp]


class RefreshToken(Base):
    """A refresh token, kept as its SHA-256. Once used it stays, so that a second use is noticed (RFC 9700, 4.14.2)."""

    __tablename__ = "refresh_tokens"
    __table_args__ = (Index("ix_refresh_tokens_used_at", "used_at", postgresql_where=text("used_at IS NOT NULL")),)

    id: Mapped[BigIntKey]
    session_id: Mapped[UUID] = mapped_column(ForeignKey("sessions.id", ondelete="CASCADE"), index=True)
    token_hash: Mapped[bytes] = mapped_column(LargeBinary, unique=True)
    created_at: Mapped[Timestamp]
    used_at: Mapped[OptionalTimestamp]
    used_user_agent: Mapped[str | None] = mapped_column(Text)
    used_address: Mapped[str | None] = mapped_column(Text)
