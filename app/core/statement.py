"""SQLAlchemy Core statements, compiled to PostgreSQL's text once, at import."""

from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol, cast

from sqlalchemy import BigInteger, Boolean, ColumnElement, FromClause, bindparam, func, select
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.dialects.postgresql.asyncpg import PGDialect_asyncpg
from sqlalchemy.engine import Dialect
from sqlalchemy.sql import ClauseElement, Executable, visitors
from sqlalchemy.sql.dml import Insert, UpdateBase

OUTBOX_TABLE: Final = "outbox"
DIALECT: Final[Dialect] = PGDialect_asyncpg(paramstyle="numeric_dollar")  # type: ignore[no-untyped-call]  # SQLAlchemy's own has no annotations


class Runner(Protocol):
    """Whatever runs a ``Statement``: ``Autocommit`` by itself, a session as part of its transaction."""

    async def value(self, statement: "Statement", *values: object) -> Any:
        """Run a statement and return the first column of its first row, ``None`` where there is no row."""
        ...

    async def row(self, statement: "Statement", *values: object) -> Sequence[Any] | None:
        """Run a statement and return its first row."""
        ...

    async def rows(self, statement: "Statement", *values: object) -> Sequence[Sequence[Any]]:
        """Run a statement and return every row."""
        ...

    async def batched(self, statement: "Batchable", *values: object) -> Sequence[Any] | None:
        """Run a statement, possibly together with others' of the same kind, and return its first row."""
        ...


class Statement:
    """A SQLAlchemy Core statement compiled to PostgreSQL text once, at import.

    Args:
        construct: The statement; its variable parts are ``bindparam``s.
        parameters: Names of the bind parameters in the order in which callers give their values.

    Raises:
        ValueError: if the statement has a required bind parameter that is not among ``parameters``, or the reverse.
    """

    __slots__ = ("_order", "fills_outbox", "parameters", "text", "writes")

    def __init__(self, construct: Executable, *parameters: str) -> None:
        clause = cast("ClauseElement", construct)
        compiled: Any = clause.compile(dialect=DIALECT)
        names: list[str] = list(compiled.positiontup or ())
        if unknown := set(parameters) ^ {name for name in names if compiled.binds[name].required}:
            raise ValueError(f"the statement's bind parameters and those announced differ in {sorted(unknown)}")
        self.parameters = parameters
        self.text: str = compiled.string
        changes = [element for element in visitors.iterate(clause) if isinstance(element, UpdateBase)]
        self.writes = bool(changes)
        self.fills_outbox = any(isinstance(change, Insert) and getattr(change.table, "name", None) == OUTBOX_TABLE for change in changes)
        position = {name: index for index, name in enumerate(parameters)}
        order = [(position.get(name, -1), None if name in position else compiled.binds[name].effective_value) for name in names]
        self._order = None if [index for index, _ in order] == list(range(len(parameters))) else order

    def arguments(self, values: Sequence[object]) -> Sequence[object]:
        """Return asyncpg's positional arguments for the values of ``parameters``."""
        if self._order is None:
            return values
        return [constant if index < 0 else values[index] for index, constant in self._order]


type Where = Callable[[Any], ColumnElement[bool]]


class Batchable:
    """What gives one row or none, as a statement for one caller and as a statement for several.

    Args:
        one: For one caller.
        several: For several: takes the same parameters as arrays, in the same order, and returns the number of the caller
            (from 1) before the columns of ``one``.
    """

    __slots__ = ("one", "several")

    def __init__(self, one: Statement, several: Statement) -> None:
        self.one = one
        self.several = several


def lookup(columns: Sequence[ColumnElement[Any]], source: FromClause, where: Where, **types: type[BigInteger | Boolean]) -> Batchable:
    """Return what finds a row by values.

    Args:
        columns: What is wanted.
        source: Where it is.
        where: The condition; takes what gives the values by attribute, such as ``asked.item_id``.
        types: Names and types of the values, in the order in which callers give them.
    """
    one = select(*columns).where(where(_Values(types)))
    arrays = [bindparam(name, type_=ARRAY(kind)) for name, kind in types.items()]
    asked = func.unnest(*arrays).table_valued(*types, with_ordinality="caller").render_derived()
    several = select(asked.c.caller, *columns).select_from(asked.join(source, where(asked.c)))
    return Batchable(Statement(one, *types), Statement(several, *types))


class _Values:
    """Values of one question, as bind parameters."""

    def __init__(self, types: dict[str, Any]) -> None:
        for name, kind in types.items():
            setattr(self, name, bindparam(name, type_=kind))
