"""Rows to JSON, by a template compiled once from the schema the route declares.

Pydantic would build a model per row and serialise it again; PostgreSQL's ``json_agg`` moves the work to where it costs
more. A row that arrives as text where JSON wants text needs neither (``docs/decisions``: two ways to PostgreSQL).
"""

from collections.abc import Callable, Iterable, Sequence
from json.encoder import encode_basestring
from typing import Any, Final

from pydantic import BaseModel
from sqlalchemy import Boolean, ColumnElement, Text, cast
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.types import DateTime

#: Source of an expression that writes ``value`` as JSON; every value a column may have comes by one of these.
_TEXT: Final = "quoted({value})"
_BOOLEAN: Final = '("true" if {value} else "false")'
_MOMENT: Final = '''f"\\"{{{value}.replace(" ", "T")}}:00\\""'''
_AS_IT_IS: Final = "{value}"


def _expression(column: ColumnElement[Any], value: str) -> str:
    if isinstance(column.type, Text):
        source = _TEXT
    elif isinstance(column.type, Boolean):
        source = _BOOLEAN
    else:
        source = _MOMENT if isinstance(column.type, DateTime) else _AS_IT_IS
    expression = source.format(value=value)
    return f'("null" if {value} is None else {expression})' if getattr(column, "nullable", True) else expression


def json_columns(*columns: ColumnElement[Any]) -> list[ColumnElement[Any]]:
    """Return the columns such that PostgreSQL sends moments and documents as text, ready for ``RowEncoder``."""

    def as_text(column: ColumnElement[Any]) -> ColumnElement[Any]:
        return cast(column, Text).label(column.key) if isinstance(column.type, (DateTime, JSONB)) else column

    return [as_text(column) for column in columns]


class RowEncoder:
    """Encodes rows of ``json_columns`` as the JSON of a schema.

    Moments come as PostgreSQL writes them in UTC, ``2026-01-31 12:00:00.5+00``, and leave as RFC 3339 has them.

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
        # One expression for the whole row: a call for each value would cost more than the values do.
        values = [f"v{position}" for position in range(len(names))]
        members = [f'"{name}":{{{_expression(*pair)}}}' for name, pair in zip(names, zip(columns, values, strict=True), strict=True)]
        members[0] = "{{" + members[0]
        members[-1] += "}}"
        row = "f'" + ",".join(members) + "'"
        given = ", ".join(values)
        scope = {"quoted": encode_basestring}
        self._rows: Callable[[Iterable[Sequence[Any]]], list[str]] = eval(f"lambda rows: [{row} for {given} in rows]", scope)  # noqa: S307  # made of the names of fields

    def one(self, row: Sequence[Any]) -> bytes:
        """Return a row as a JSON object."""
        return self._rows((row,))[0].encode()

    def many(self, rows: Iterable[Sequence[Any]]) -> bytes:
        """Return rows as a JSON array."""
        return ("[" + ",".join(self._rows(rows)) + "]").encode()
