"""Rows to JSON, by a template compiled once from the schema the route declares.

Pydantic would build a model per row and serialise it again; PostgreSQL's ``json_agg`` moves the work to where it costs
more. A row that arrives as text where JSON wants text needs neither (``docs/decisions``: two ways to PostgreSQL).
"""

from collections.abc import Callable, Iterable, Sequence
from json.encoder import encode_basestring
from typing import Any

from pydantic import BaseModel
from sqlalchemy import Boolean, ColumnElement, Text, cast, func
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.types import DateTime

type Encode = Callable[[Any], str]


def _text(value: str | None) -> str:
    return "null" if value is None else encode_basestring(value)


def _boolean(value: bool | None) -> str:  # noqa: FBT001  # a value
    return "null" if value is None else "true" if value else "false"


def _as_it_is(value: Any) -> str:
    return "null" if value is None else str(value)


def _encoder(column: ColumnElement[Any]) -> Encode:
    if isinstance(column.type, Text):
        return _text
    return _boolean if isinstance(column.type, Boolean) else _as_it_is


def json_columns(*columns: ColumnElement[Any]) -> list[ColumnElement[Any]]:
    """Return the columns such that PostgreSQL sends timestamps and documents as JSON text, ready for ``RowEncoder``."""

    def as_json(column: ColumnElement[Any]) -> ColumnElement[Any]:
        if isinstance(column.type, DateTime):
            return cast(func.to_json(column), Text).label(column.key)
        if isinstance(column.type, JSONB):
            return cast(column, Text).label(column.key)
        return column

    return [as_json(column) for column in columns]


class RowEncoder:
    """Encodes rows of ``json_columns`` as the JSON of a schema.

    Args:
        schema: What a row is on the wire; its fields in the order of the columns.
        columns: The columns behind the fields.

    Raises:
        TypeError: if schema and columns differ in number or name.
    """

    def __init__(self, schema: type[BaseModel], columns: Sequence[ColumnElement[Any]]) -> None:
        names = list(schema.model_fields)
        if names != [column.key for column in columns]:
            raise TypeError(f"{schema.__name__} has the fields {names}, the columns are {[column.key for column in columns]}")
        self._encoders = [_encoder(column) for column in columns]
        self._template = "{" + ",".join(f'"{name}":%s' for name in names) + "}"

    def one(self, row: Sequence[Any]) -> bytes:
        """Return a row as a JSON object."""
        return self._encode(row).encode()

    def many(self, rows: Iterable[Sequence[Any]]) -> bytes:
        """Return rows as a JSON array."""
        return ("[" + ",".join([self._encode(row) for row in rows]) + "]").encode()

    def _encode(self, row: Sequence[Any]) -> str:
        return self._template % tuple([encode(value) for encode, value in zip(self._encoders, row, strict=True)])
