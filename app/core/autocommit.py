"""Single statements in one round trip: SQLAlchemy Core compiled once, run by asyncpg outside a transaction block.

PostgreSQL makes one statement atomic by itself, so a read needs no ``BEGIN`` and a data-modifying CTE may write an
item and its outbox row at once. No session state is ever set here, so a connection needs no reset between two uses;
asyncpg's own pool would spend a round trip and a task on it, which is most of what a hot read costs.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, Protocol, cast

import asyncpg
from sqlalchemy.dialects.postgresql.asyncpg import PGDialect_asyncpg
from sqlalchemy.engine import URL, Dialect
from sqlalchemy.sql import ClauseElement, Executable, visitors
from sqlalchemy.sql.dml import Insert, UpdateBase

from app.core.errors import ServiceUnavailable

CONNECT_TIMEOUT_SECONDS: Final = 5
OUTBOX_TABLE: Final = "outbox"
CONNECTION_LOST: Final = (
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.CannotConnectNowError,
    OSError,
    TimeoutError,
)


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


type Fetch = Callable[..., Awaitable[Any]]


class Autocommit:
    """A bounded set of connections, each running one statement at a time.

    A connection found dead is replaced; a read that died with it is run once more, a write never is.

    Args:
        url: Where PostgreSQL is.
        size: Most connections open at once.
        timeout: Seconds a statement waits for a connection.
        server_settings: PostgreSQL parameters sent on connect, ``statement_timeout`` (milliseconds) among them.
        keep_prepared: Whether connections keep prepared statements; not behind a transaction pooler.
    """

    def __init__(self, url: URL, *, size: int, timeout: float, server_settings: dict[str, str], keep_prepared: bool) -> None:
        self._dsn = url.set(drivername="postgresql").render_as_string(hide_password=False)
        self._size = size
        self._timeout = timeout
        self._options: dict[str, Any] = {
            "server_settings": server_settings,
            "timeout": CONNECT_TIMEOUT_SECONDS,
            # Above PostgreSQL's own timeout: it speaks first, unless it hangs.
            "command_timeout": int(server_settings["statement_timeout"]) / 1000 + 2,
        }
        if not keep_prepared:
            self._options["statement_cache_size"] = 0
        self._idle: list[asyncpg.Connection] = []
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._open = 0
        #: Called after a statement that wrote an outbox row, which by then is committed.
        self.outbox_filled: Callable[[], None] = lambda: None

    @property
    def in_use(self) -> int:
        """Connections running a statement now."""
        return self._open - len(self._idle)

    @property
    def waiting(self) -> int:
        """Statements waiting for a connection now."""
        return len(self._waiting)

    async def value(self, statement: Statement, *values: object) -> Any:
        """Run a statement and return the first column of its first row, ``None`` where there is no row."""
        return await self._run(asyncpg.Connection.fetchval, statement, values)

    async def row(self, statement: Statement, *values: object) -> Sequence[Any] | None:
        """Run a statement and return its first row."""
        found: Sequence[Any] | None = await self._run(asyncpg.Connection.fetchrow, statement, values)
        return found

    async def rows(self, statement: Statement, *values: object) -> Sequence[Sequence[Any]]:
        """Run a statement and return every row."""
        found: Sequence[Sequence[Any]] = await self._run(asyncpg.Connection.fetch, statement, values)
        return found

    async def dedicated(self) -> "asyncpg.Connection[asyncpg.Record]":
        """Open a connection outside of the pool, such as ``LISTEN`` needs; the caller closes it."""
        connection: asyncpg.Connection[asyncpg.Record] = await asyncpg.connect(self._dsn, **self._options)
        return connection

    async def close(self) -> None:
        """Close the idle connections; those in use close when they come back."""
        self._size = 0
        while self._idle:
            self._open -= 1
            await self._idle.pop().close(timeout=CONNECT_TIMEOUT_SECONDS)

    async def _run(self, fetch: Fetch, statement: Statement, values: Sequence[object]) -> Any:
        try:
            return await self._run_once(fetch, statement, values)
        except CONNECTION_LOST as error:
            if isinstance(error, ValueError):  # asyncpg's own DataError: an argument of the wrong type, a fault of ours
                raise
            self._drop_idle()
            if statement.writes or isinstance(error, TimeoutError):
                raise ServiceUnavailable from error
        try:
            return await self._run_once(fetch, statement, values)
        except CONNECTION_LOST as error:
            raise ServiceUnavailable from error

    async def _run_once(self, fetch: Fetch, statement: Statement, values: Sequence[object]) -> Any:
        connection = self._idle.pop() if self._idle else await self._acquire()
        try:
            found = await fetch(connection, statement.text, *statement.arguments(values))
        finally:
            self._release(connection)
        if statement.fills_outbox:
            self.outbox_filled()
        return found

    async def _acquire(self) -> asyncpg.Connection:
        while not self._idle:
            if self._open < self._size:
                return await self._connect()
            await self._wait()
        return self._idle.pop()

    async def _connect(self) -> asyncpg.Connection:
        self._open += 1
        try:
            return await asyncpg.connect(self._dsn, **self._options)
        except BaseException:
            self._open -= 1
            self._wake()
            raise

    async def _wait(self) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            async with asyncio.timeout(self._timeout):
                await turn
        except TimeoutError as error:
            raise ServiceUnavailable("No database connection became free in time; repeat the request in a moment.") from error
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._wake()
            raise
        finally:
            if not turn.done() or turn.cancelled():
                self._waiting = deque(other for other in self._waiting if other is not turn)

    def _release(self, connection: asyncpg.Connection) -> None:
        if connection.is_closed() or self._size == 0:
            self._open -= 1
            if not connection.is_closed():
                connection.terminate()
        else:
            self._idle.append(connection)
        self._wake()

    def _wake(self) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return

    def _drop_idle(self) -> None:
        while self._idle:
            self._open -= 1
            self._idle.pop().terminate()
