"""The schema's revision, as Alembic keeps it."""

from typing import Any, Final

from sqlalchemy import ColumnClause, column, select, table

from app.core.statement import Runner, Statement

VERSION: Final[ColumnClause[Any]] = column("version_num")
CURRENT: Final = Statement(select(VERSION).select_from(table("alembic_version")))


async def current(db: Runner) -> str | None:
    """Return the database's revision, ``None`` where no migration ran."""
    found: str | None = await db.value(CURRENT)
    return found
