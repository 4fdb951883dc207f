"""Accounts."""

from sqlalchemy import CheckConstraint, Index, Text, func, text
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base, BigIntKey, OptionalTimestamp, Timestamp


class User(Base):
    """A person or a service that signs in."""

    __tablename__ = "users"
    __table_args__ = (
        CheckConstraint("char_length(email) BETWEEN 3 AND 254", name="email_length"),
        # A deleted account keeps its address until it is purged; the address is free again at once.
        Index("uq_users_email_lower", func.lower(text("email")), unique=True, postgresql_where=text("deleted_at IS NULL")),
        Index("ix_users_security_changed_at", "security_changed_at"),
        Index("ix_users_deleted_at", "deleted_at", postgresql_where=text("deleted_at IS NOT NULL")),
    )

    id: Mapped[BigIntKey]
    email: Mapped[str] = mapped_column(Text)
    password_hash: Mapped[str] = mapped_column(Text)
    is_active: Mapped[bool] = mapped_column(server_default=text("true"))
    is_superuser: Mapped[bool] = mapped_column(server_default=text("false"))
    created_at: Mapped[Timestamp]
    updated_at: Mapped[Timestamp]
    #: When a right or the password last changed; every process forgets the account's principals then.
    security_changed_at: Mapped[Timestamp]
    deleted_at: Mapped[OptionalTimestamp]
