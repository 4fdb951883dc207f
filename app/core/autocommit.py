"""Single statements in one round trip: SQLAlchemy Core compiled once, run by asyncpg outside a transaction block.

PostgreSQL makes one statement atomic by itself, so a read needs no ``BEGIN`` and a data-modifying CTE may write an
item and its outbox row at once. No session state is ever set here, so a connection needs no reset between two uses;
asyncpg's own pool would spend a round trip and a task on it, which is most of what a hot read costs.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from time import perf_counter
from typing import Any, Final, cast

import asyncpg
from sqlalchemy.engine import URL

from app.core import metrics
from app.core.batches import Batches
from app.core.errors import ServiceUnavailable
from app.core.statement import Batchable, Statement

CONNECT_TIMEOUT_SECONDS: Final = 5
#: Seconds between two looks for statements that hang.
WATCH_SECONDS: Final = 1.0
#: The beginning of a statement that was found hung.
HUNG: Final = -1.0
_WAIT: Final = metrics.waits_for_connections("autocommit")
CONNECTION_LOST: Final = (
    asyncpg.PostgresConnectionError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.CannotConnectNowError,
    OSError,
    TimeoutError,
)


type Connection = "asyncpg.Connection[asyncpg.Record]"
type Records = list[Any]


class Link:
    """A connection and the statements it has prepared.

    Goes to the driver's protocol by the shortest way: ``Connection.fetch`` looks the statement up, wraps the execution twice
    and measures its time on every call, which costs as much as the execution. What it also does, to prepare anew what a
    migration made stale, is left to it.

    Args:
        connection: An open connection.
        keep_prepared: Whether statements may be kept; not behind a transaction pooler.
    """

    __slots__ = ("_execute", "_keep_prepared", "_prepared", "connection", "since")

    def __init__(self, connection: Connection, *, keep_prepared: bool) -> None:
        self.connection = connection
        #: When the statement under way began, in seconds of ``perf_counter``; 0 where there is none.
        self.since = 0.0
        self._keep_prepared = keep_prepared
        self._prepared: dict[str, Any] = {}
        self._execute: Callable[..., Awaitable[Records]] = cast("Any", connection)._protocol.bind_execute  # noqa: SLF001  # see above

    async def fetch(self, text: str, values: Sequence[object], limit: int) -> Records:
        """Run a statement and return its rows.

        Args:
            text: The statement.
            values: Its positional arguments.
            limit: Most rows wanted, 0 for all.
        """
        prepared = self._prepared.get(text)
        if prepared is None:
            if not self._keep_prepared:
                return await self.connection.fetch(text, *values)
            prepared = self._prepared[text] = cast("Any", await self.connection.prepare(text))
        try:
            return await self._execute(prepared._state, values, "", limit, False, None)  # noqa: SLF001  # see above
        except asyncpg.InvalidCachedStatementError:
            self._prepared.clear()
            return await self.connection.fetch(text, *values)


#: Given a connection, or the place of one (``None``).
type Turn = asyncio.Future[Link | None]


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
        }
        # Above PostgreSQL's own timeout: it speaks first, unless it hangs. One timer for all: one for each statement would cost
        # a sixth of what the driver takes for it.
        self._patience = int(server_settings["statement_timeout"]) / 1000 + 2
        self._links: set[Link] = set()
        self._watch: asyncio.TimerHandle | None = None
        self._keep_prepared = keep_prepared
        if not keep_prepared:
            self._options["statement_cache_size"] = 0
        self._batches = Batches(self)
        self._idle: list[Link] = []
        self._waiting: deque[tuple[Turn, float]] = deque()
        self._expiry: asyncio.TimerHandle | None = None
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
        return sum(not turn.done() for turn, _ in self._waiting)

    async def value(self, statement: Statement, *values: object) -> Any:
        """Run a statement and return the first column of its first row, ``None`` where there is no row."""
        rows = await self._run(statement, values, 1)
        return rows[0][0] if rows else None

    async def row(self, statement: Statement, *values: object) -> Sequence[Any] | None:
        """Run a statement and return its first row."""
        rows = await self._run(statement, values, 1)
        return rows[0] if rows else None

    async def rows(self, statement: Statement, *values: object) -> Sequence[Sequence[Any]]:
        """Run a statement and return every row."""
        return await self._run(statement, values, 0)

    async def batched(self, statement: Batchable, *values: object) -> Sequence[Any] | None:
        """Run a statement, together with all of its kind that come in the same turn of the event loop, and return its first row."""
        return await self._batches.run(statement, values)

    async def dedicated(self) -> Connection:
        """Open a connection outside of the pool, such as ``LISTEN`` needs; the caller closes it."""
        connection: Connection = await asyncpg.connect(self._dsn, **self._options)
        return connection

    async def close(self) -> None:
        """Close the idle connections; those in use close when they come back."""
        self._size = 0
        while self._idle:
            self._open -= 1
            await self._idle.pop().connection.close(timeout=CONNECT_TIMEOUT_SECONDS)

    async def _run(self, statement: Statement, values: Sequence[object], limit: int) -> Records:
        try:
            return await self._run_once(statement, values, limit)
        except CONNECTION_LOST as error:
            self._drop_idle()
            if statement.writes or isinstance(error, TimeoutError):
                raise ServiceUnavailable from error
        try:
            return await self._run_once(statement, values, limit)
        except CONNECTION_LOST as error:
            raise ServiceUnavailable from error

    async def _run_once(self, statement: Statement, values: Sequence[object], limit: int) -> Records:
        link = self._take() or await self._acquire()
        link.since = perf_counter()
        try:
            found = await link.fetch(statement.text, statement.arguments(values), limit)
        except asyncpg.InternalClientError as error:  # PostgreSQL's farewell came in the moment the statement was to go
            link.connection.terminate()
            raise ConnectionResetError("the connection ended before the statement") from error
        except asyncpg.InterfaceError as error:
            if link.connection.is_closed():
                raise ConnectionResetError("the connection ended before the statement") from error
            raise  # a fault of ours, such as an argument too many
        except asyncpg.PostgresConnectionError as error:
            if link.since == HUNG:
                raise TimeoutError from error
            raise
        finally:
            link.since = 0.0
            self._release(link)
        if statement.fills_outbox:
            self.outbox_filled()
        return found

    def _take(self) -> Link | None:
        """Return an idle connection, if there is one."""
        while self._idle:
            link = self._idle.pop()
            if not link.connection.is_closed():
                return link
            self._open -= 1
        return None

    async def _acquire(self) -> Link:
        """Open another connection where the pool may grow, else wait for one."""
        if self._open < self._size:
            self._open += 1
            return await self._connect()
        return await self._wait() or await self._connect()

    async def _connect(self) -> Link:
        """Open a connection in a place that is counted already."""
        try:
            connection: Connection = await asyncpg.connect(self._dsn, **self._options)
        except BaseException:
            self._free_place()
            raise
        link = Link(connection, keep_prepared=self._keep_prepared)
        self._links.add(link)
        if self._watch is None:
            self._watch = asyncio.get_running_loop().call_later(WATCH_SECONDS, self._look_for_hung)
        return link

    def _look_for_hung(self) -> None:
        """End connections whose statement is past PostgreSQL's own timeout: it, or the way to it, hangs."""
        self._links = {link for link in self._links if not link.connection.is_closed()}
        latest = perf_counter() - self._patience
        for link in self._links:
            if 0 < link.since < latest:
                link.since = HUNG
                link.connection.terminate()
        loop = asyncio.get_running_loop()
        self._watch = loop.call_later(WATCH_SECONDS, self._look_for_hung) if self._links else None

    async def _wait(self) -> Link | None:
        """Return a connection that came free, or ``None`` where its place came free: the caller opens another."""
        loop = asyncio.get_running_loop()
        turn: Turn = loop.create_future()
        started = perf_counter()
        self._waiting.append((turn, started + self._timeout))
        if self._expiry is None:
            self._expiry = loop.call_later(self._timeout, self._expire)
        try:
            return await turn
        except BaseException:
            if turn.done() and not turn.cancelled() and turn.exception() is None:  # given in the moment of giving up
                self._give_back(turn.result())
            raise
        finally:
            _WAIT.observe(perf_counter() - started)

    def _expire(self) -> None:
        """Refuse those who have waited too long. One timer does for all: whoever came first gives up first."""
        now = perf_counter()
        while self._waiting and (self._waiting[0][0].done() or self._waiting[0][1] <= now):
            turn, _ = self._waiting.popleft()
            if not turn.done():
                turn.set_exception(ServiceUnavailable("No database connection became free in time; repeat the request in a moment."))
        loop = asyncio.get_running_loop()
        self._expiry = loop.call_later(self._waiting[0][1] - now, self._expire) if self._waiting else None

    def _release(self, link: Link) -> None:
        if self._size == 0:
            link.connection.terminate()
        if link.connection.is_closed():
            self._free_place()
        elif not self._hand_over(link):
            self._idle.append(link)

    def _give_back(self, given: Link | None) -> None:
        if given is None:
            self._free_place()
        else:
            self._release(given)

    def _free_place(self) -> None:
        if not self._hand_over(None):
            self._open -= 1

    def _hand_over(self, given: Link | None) -> bool:
        """Give a connection, or the place of one, to who has waited longest; return whether anybody has."""
        while self._waiting:
            turn, _ = self._waiting.popleft()
            if not turn.done():
                turn.set_result(given)
                return True
        return False

    def _drop_idle(self) -> None:
        while self._idle:
            self._open -= 1
            self._idle.pop().connection.terminate()
