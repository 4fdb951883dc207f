"""Single statements in one round trip: SQLAlchemy Core compiled once, run by asyncpg outside a transaction block.

PostgreSQL makes one statement atomic by itself, so a read needs no ``BEGIN`` and a data-modifying CTE may write an
item and its outbox row at once. No session state is ever set here, so a connection needs no reset between two uses;
asyncpg's own pool would spend a round trip and a task on it, which is most of what a hot read costs.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from time import perf_counter
from typing import Any, Final, Protocol, cast

import asyncpg
from sqlalchemy.dialects.postgresql.asyncpg import PGDialect_asyncpg
from sqlalchemy.engine import URL, Dialect
from sqlalchemy.sql import ClauseElement, Executable, visitors
from sqlalchemy.sql.dml import Insert, UpdateBase

from app.core import metrics
from app.core.errors import ServiceUnavailable

CONNECT_TIMEOUT_SECONDS: Final = 5
OUTBOX_TABLE: Final = "outbox"
_WAIT: Final = metrics.POOL_WAIT_SECONDS.labels("autocommit")
CONNECTION_LOST: Final = (
    asyncpg.PostgresConnectionError,
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


type Connection = "asyncpg.Connection[asyncpg.Record]"
type Fetch = Callable[..., Awaitable[Any]]


def asyncpg_dsn(url: URL) -> str:
    """Return a URL as asyncpg itself reads it, which takes SQLAlchemy's ``ssl`` for a parameter of the server, and knows ``sslmode``."""
    query = {{"ssl": "sslmode"}.get(name, name): value for name, value in url.query.items()}
    return url.set(drivername="postgresql", query=query).render_as_string(hide_password=False)


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
        self._dsn = asyncpg_dsn(url)
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
        self._idle: list[Connection] = []
        self._waiting: deque[asyncio.Future[Connection | None]] = deque()
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
        return sum(not turn.done() for turn in self._waiting)

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

    async def dedicated(self) -> Connection:
        """Open a connection outside of the pool, such as ``LISTEN`` needs; the caller closes it."""
        connection: Connection = await asyncpg.connect(self._dsn, **self._options)
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
            self._drop_idle()
            if statement.writes or isinstance(error, TimeoutError):
                raise ServiceUnavailable from error
        try:
            return await self._run_once(fetch, statement, values)
        except CONNECTION_LOST as error:
            raise ServiceUnavailable from error

    async def _run_once(self, fetch: Fetch, statement: Statement, values: Sequence[object]) -> Any:
        connection = await self._acquire()
        try:
            found = await fetch(connection, statement.text, *statement.arguments(values))
        except asyncpg.InternalClientError as error:  # PostgreSQL's farewell came in the moment the statement was to go
            connection.terminate()
            raise ConnectionResetError("the connection ended before the statement") from error
        except asyncpg.InterfaceError as error:
            if connection.is_closed():
                raise ConnectionResetError("the connection ended before the statement") from error
            raise  # a fault of ours, such as an argument too many
        finally:
            self._release(connection)
        if statement.fills_outbox:
            self.outbox_filled()
        return found

    async def _acquire(self) -> Connection:
        while self._idle:
            connection = self._idle.pop()
            if not connection.is_closed():
                return connection
            self._open -= 1
        if self._open < self._size:
            self._open += 1
            return await self._connect()
        return await self._wait() or await self._connect()

    async def _connect(self) -> Connection:
        """Open a connection in a place that is counted already."""
        try:
            connection: Connection = await asyncpg.connect(self._dsn, **self._options)
        except BaseException:
            self._free_place()
            raise
        return connection

    async def _wait(self) -> Connection | None:
        """Return a connection that came free, or ``None`` where its place came free: the caller opens another."""
        turn: asyncio.Future[Connection | None] = asyncio.get_running_loop().create_future()
        started = perf_counter()
        self._waiting.append(turn)
        try:
            async with asyncio.timeout(self._timeout):
                return await turn
        except BaseException as error:
            if turn.done() and not turn.cancelled():  # given in the moment of giving up
                self._give_back(turn.result())
            if isinstance(error, TimeoutError):
                raise ServiceUnavailable("No database connection became free in time; repeat the request in a moment.") from error
            raise
        finally:
            _WAIT.observe(perf_counter() - started)

    def _release(self, connection: Connection) -> None:
        if self._size == 0:
            connection.terminate()
        if connection.is_closed():
            self._free_place()
        elif not self._hand_over(connection):
            self._idle.append(connection)

    def _give_back(self, given: Connection | None) -> None:
        if given is None:
            self._free_place()
        else:
            self._release(given)

    def _free_place(self) -> None:
        if not self._hand_over(None):
            self._open -= 1

    def _hand_over(self, given: Connection | None) -> bool:
        """Give a connection, or the place of one, to who has waited longest; return whether anybody has."""
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(given)
                return True
        return False

    def _drop_idle(self) -> None:
        while self._idle:
            self._open -= 1
            self._idle.pop().terminate()
