"""Items: the example resource."""

from typing import Any

from sqlalchemy import CheckConstraint, ColumnElement, ForeignKey, Index, Integer, Text, literal_column, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base, BigIntKey, Timestamp

#: What full-text search reads, written as PostgreSQL prints it, so that index, query and `alembic check` agree.
SEARCH_VECTOR: ColumnElement[Any] = literal_column(
    "to_tsvector('simple'::regconfig, (title || ' '::text) || COALESCE(description, ''::text))"
)


class Item(Base):
    """Something a user keeps: a title, a text and a document of attributes."""

    __tablename__ = "items"
    __table_args__ = (
        CheckConstraint("char_length(title) BETWEEN 1 AND 200", name="title_length"),
        CheckConstraint("char_length(description) <= 10000", name="description_length"),
        CheckConstraint("jsonb_typeof(attributes) = 'object'", name="attributes_object"),
        CheckConstraint("pg_column_size(attributes) <= 131072", name="attributes_size"),
        CheckConstraint("version >= 1", name="version_positive"),
        Index("ix_items_owner_id_created_at_id", "owner_id", "created_at", "id"),
        Index("ix_items_owner_id_updated_at_id", "owner_id", "updated_at", "id"),
        Index("ix_items_owner_id_title_id", "owner_id", "title", "id"),
        # btree_gin lets the owner lead, so that one owner's search never reads another's matches.
        Index(
            "ix_items_owner_id_search",
            "owner_id",
            SEARCH_VECTOR,
            postgresql_using="gin",
        ),
        Index(
            "ix_items_owner_id_attributes",
            "owner_id",
            "attributes",
            postgresql_using="gin",
            postgresql_ops={"attributes": "jsonb_path_ops"},
        ),
    )

    id: Mapped[BigIntKey]
    owner_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    title: Mapped[str] = mapped_column(Text)
    description: Mapped[str | None] = mapped_column(Text)
    attributes: Mapped[dict[str, Any]] = mapped_column(JSONB, server_default=text("'{}'::jsonb"))
    version: Mapped[int] = mapped_column(Integer, server_default=text("1"))
    created_at: Mapped[Timestamp]
    updated_at: Mapped[Timestamp]
