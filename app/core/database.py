"""The two ways to PostgreSQL.

More than one statement: a transaction in a SQLAlchemy session (``ReadSession``, ``WriteSession``).
Exactly one statement on a hot path: ``Autocommit`` (``app.core.autocommit``), which PostgreSQL makes atomic by itself.
"""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy import CursorResult, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine

from app.core.autocommit import Autocommit
from app.core.config import Settings
from app.core.pool import MeasuredPool
from app.core.statement import Batchable, Statement
from app.core.wakeup import PENDING, Wakeup

IDLE_IN_TRANSACTION_TIMEOUT_MS = 15_000
CONNECT_TIMEOUT_SECONDS = 5


class _Session(AsyncSession):
    """A session that also runs compiled statements, as part of its transaction (``app.core.autocommit.Runner``)."""

    async def value(self, statement: Statement, *values: object) -> Any:
        """Run a statement and return the first column of its first row, ``None`` where there is no row."""
        found = await self.row(statement, *values)
        return None if found is None else found[0]

    async def row(self, statement: Statement, *values: object) -> Sequence[Any] | None:
        """Run a statement and return its first row."""
        result = await self._run(statement, values)
        return result.first() if result.returns_rows else None

    async def rows(self, statement: Statement, *values: object) -> Sequence[Sequence[Any]]:
        """Run a statement and return every row."""
        result = await self._run(statement, values)
        return result.all() if result.returns_rows else []

    async def batched(self, statement: Batchable, *values: object) -> Sequence[Any] | None:
        """Run a statement and return its first row; a transaction's own is never run together with others."""
        return await self.row(statement.one, *values)

    async def _run(self, statement: Statement, values: Sequence[object]) -> CursorResult[Any]:
        if statement.fills_outbox:
            self.info[PENDING] = True
        # As text: given a statement and named values, SQLAlchemy would take a name for that of a column to be set.
        connection = await self.connection()
        return await connection.exec_driver_sql(statement.text, tuple(statement.arguments(values)))


class ReadSession(_Session):
    """A session whose transaction PostgreSQL itself keeps from writing."""


class WriteSession(_Session):
    """A session whose one transaction is committed before the answer leaves, or not at all."""


def asyncpg_url(url: str) -> URL:
    """Return a PostgreSQL URL for SQLAlchemy's asyncpg dialect, with libpq's ``sslmode`` turned into asyncpg's ``ssl``."""
    parsed = make_url(url).set(drivername="postgresql+asyncpg")
    query = dict(parsed.query)
    if "sslmode" in query:
        query["ssl"] = query.pop("sslmode")
    return parsed.set(query=query)


def server_settings(settings: Settings, application_name: str) -> dict[str, str]:
    """Return what every connection tells PostgreSQL about itself and its patience."""
    return {
        "application_name": application_name,
        "statement_timeout": str(settings.DATABASE_STATEMENT_TIMEOUT_MS),
        "idle_in_transaction_session_timeout": str(IDLE_IN_TRANSACTION_TIMEOUT_MS),
        "timezone": "GMT",  # UTC under the name that PostgreSQL knows without zone files, which slim images lack
        "jit": "off",  # compiling costs more than any statement here takes
    }


class Database:
    """A process's connections: a pool for transactions and one for single statements.

    Args:
        settings: Where PostgreSQL is and how many connections this process may take.
        application_name: What ``pg_stat_activity`` shows.
    """

    def __init__(self, settings: Settings, application_name: str = "api") -> None:
        url = asyncpg_url(str(settings.DATABASE_URL))
        options = server_settings(settings, application_name)
        self.engine: AsyncEngine = create_async_engine(
            url,
            poolclass=MeasuredPool,
            pool_size=settings.DATABASE_POOL_SIZE,
            max_overflow=0,
            pool_timeout=settings.DATABASE_POOL_TIMEOUT,
            pool_use_lifo=True,
            connect_args=self._connect_args(settings, options),
        )
        self.autocommit = Autocommit(
            url,
            size=settings.DATABASE_AUTOCOMMIT_POOL_SIZE,
            timeout=settings.DATABASE_POOL_TIMEOUT,
            server_settings=options,
            keep_prepared=not settings.DATABASE_TRANSACTION_POOLING,
        )
        self.outbox_wakeup = Wakeup(self.autocommit)
        self.autocommit.outbox_filled = self.outbox_wakeup.set
        _drop_idle_connections_after_a_disconnect(self.engine)

    @staticmethod
    def _connect_args(settings: Settings, options: dict[str, str]) -> dict[str, Any]:
        args: dict[str, Any] = {"server_settings": options, "timeout": CONNECT_TIMEOUT_SECONDS}
        if settings.DATABASE_TRANSACTION_POOLING:
            args |= {"statement_cache_size": 0, "prepared_statement_cache_size": 0, "prepared_statement_name_func": lambda: ""}
        return args

    @asynccontextmanager
    async def read(self) -> AsyncGenerator[ReadSession]:
        """Open a read-only session for one unit of work."""
        async with ReadSession(self.engine, expire_on_commit=False, autoflush=False) as session:
            await session.connection(execution_options={"postgresql_readonly": True})
            yield session

    @asynccontextmanager
    async def write(self) -> AsyncGenerator[WriteSession]:
        """Open a session for one unit of work, committed where the block ends and rolled back where it raises."""
        async with WriteSession(self.engine, expire_on_commit=False) as session:
            async with session.begin():
                yield session
            if session.info.get(PENDING):
                self.outbox_wakeup.set()

    async def close(self) -> None:
        """Close every connection."""
        await self.autocommit.close()
        await self.engine.dispose()


def _drop_idle_connections_after_a_disconnect(engine: AsyncEngine) -> None:
    """Make one broken connection retire all that are older, so that a restart of PostgreSQL costs one error at most.

    SQLAlchemy does so by itself for statements; ``invalidate`` covers those found dead outside of one.
    """

    @event.listens_for(engine.sync_engine, "handle_error")
    def retire(context: Any) -> None:
        if context.is_disconnect:
            context.invalidate_pool_on_disconnect = True
