"""Answers kept for requests that carried an Idempotency-Key."""

from typing import Any

from sqlalchemy import Index, Integer, LargeBinary
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base, Timestamp


class IdempotencyKey(Base):
    """The answer to one key of one caller on one route, written in the transaction of its effect."""

    __tablename__ = "idempotency_keys"
    __table_args__ = (Index("ix_idempotency_keys_created_at", "created_at"),)

    #: SHA-256 of scope (user or address), route and key.
    key_hash: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    #: SHA-256 of the request's body.
    request_hash: Mapped[bytes] = mapped_column(LargeBinary)
    status: Mapped[int] = mapped_column(Integer)
    #: Pairs of name and value.
    headers: Mapped[list[Any]] = mapped_column(JSONB)
    body: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[Timestamp]
