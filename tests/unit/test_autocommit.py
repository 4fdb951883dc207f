"""Single statements on a small pool of their own."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from typing import Any

import asyncpg
import pytest
from sqlalchemy import BigInteger, Integer, Text, bindparam, cast, column, func, insert, literal, literal_column, select, table

from app.core.autocommit import Autocommit, Link
from app.core.config import Settings
from app.core.database import Database
from app.core.errors import ServiceUnavailable
from app.core.statement import Statement, lookup
from app.models import OutboxMessage, User

QUERY = select(bindparam("first", type_=Text), literal("constant"), bindparam("second", type_=Integer))
ECHO = Statement(QUERY, "second", "first")
BACKEND = Statement(select(func.pg_backend_pid()))
_DATABASES = table("pg_database", column("oid", BigInteger), column("datname", Text))
OID = Statement(select(cast(_DATABASES.c.oid, BigInteger)).where(_DATABASES.c.datname == func.current_database()))
DATABASE = lookup([cast(_DATABASES.c.oid, BigInteger)], _DATABASES, lambda asked: _DATABASES.c.oid == asked.number, number=BigInteger)
DIVIDED = lookup([_DATABASES.c.datname], _DATABASES, lambda asked: literal(1) / asked.number == 1, number=BigInteger)
SLEEP = Statement(select(func.pg_sleep(bindparam("seconds", type_=Integer))), "seconds")


@pytest.fixture
async def pool(settings: Settings, empty_tables: None) -> AsyncGenerator[Autocommit]:
    """A pool of two connections, with half a second of patience."""
    database = Database(settings.model_copy(update={"DATABASE_AUTOCOMMIT_POOL_SIZE": 2, "DATABASE_POOL_TIMEOUT": 0.5}), "tests")
    yield database.autocommit
    await database.close()


async def test_values_are_given_in_the_order_announced(pool: Autocommit) -> None:
    row = await pool.row(ECHO, 7, "text")
    assert row is not None
    assert tuple(row) == ("text", "constant", 7)
    assert await pool.value(ECHO, 7, "text") == "text"
    assert [tuple(row) for row in await pool.rows(ECHO, 7, "text")] == [("text", "constant", 7)]


async def test_a_session_runs_the_same_statement(database: Database) -> None:
    async with database.read() as session:
        assert await session.row(ECHO, 7, "text") == ("text", "constant", 7)
        assert await session.value(ECHO, 7, "text") == "text"
        assert list(await session.rows(ECHO, 7, "text")) == [("text", "constant", 7)]


@pytest.mark.parametrize("announced", [("first",), ("first", "second", "third")])
def test_a_statement_and_its_announced_parameters_must_agree(announced: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="announced differ in"):
        Statement(QUERY, *announced)


def test_a_statement_knows_whether_it_writes_and_what_it_promises() -> None:
    promised = (
        insert(OutboxMessage).values(kind="event", name="x", user_id=1, payload=cast(literal("{}"), OutboxMessage.payload.type)).cte()
    )
    assert (ECHO.writes, ECHO.fills_outbox) == (False, False)
    assert Statement(select(literal(1)).add_cte(promised)).fills_outbox
    writing = Statement(insert(User).values(email=literal("e"), password_hash=literal("h")))
    assert (writing.writes, writing.fills_outbox) == (True, False)


async def test_statements_share_the_connections_there_are(pool: Autocommit) -> None:
    backends = await asyncio.gather(*(pool.value(BACKEND) for _ in range(20)))
    assert len(set(backends)) == 2
    assert (pool.in_use, pool.waiting) == (0, 0)


async def test_a_statement_waits_for_a_connection_only_so_long(pool: Autocommit) -> None:
    busy = [asyncio.create_task(pool.value(SLEEP, 1)) for _ in range(2)]
    await asyncio.sleep(0.1)
    with pytest.raises(ServiceUnavailable, match="No database connection became free"):
        await pool.value(BACKEND)
    assert pool.in_use == 2
    await asyncio.gather(*busy)
    assert await pool.value(BACKEND)


async def test_who_gives_up_waiting_takes_no_connection_with_it(pool: Autocommit) -> None:
    await asyncio.gather(pool.value(BACKEND), pool.value(BACKEND))
    for _ in range(20):
        tasks = [asyncio.create_task(pool.value(BACKEND)) for _ in range(6)]
        await asyncio.sleep(0.0005)
        for task in tasks[::2]:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    assert (pool.in_use, pool.waiting) == (0, 0)
    assert len(set(await asyncio.gather(*(pool.value(BACKEND) for _ in range(8))))) <= 2


type Connection = asyncpg.Connection[asyncpg.Record]


async def test_a_connection_that_ended_while_idle_is_replaced(pool: Autocommit, superuser_connection: Connection) -> None:
    backend = await pool.value(BACKEND)
    await superuser_connection.execute("SELECT pg_terminate_backend($1)", backend)
    assert await pool.value(BACKEND) != backend


async def test_a_read_whose_connection_ended_is_run_once_more(pool: Autocommit, superuser_connection: Connection) -> None:
    backend = await pool.value(BACKEND)
    reading = asyncio.create_task(pool.value(SLEEP, 1))
    await asyncio.sleep(0.2)
    await superuser_connection.execute("SELECT pg_terminate_backend($1)", backend)
    await reading
    assert pool.in_use == 0


async def test_a_write_whose_connection_ended_is_left_to_its_caller(pool: Autocommit, superuser_connection: Connection) -> None:
    slow = select(literal("slow@example.com"), literal("hash")).select_from(func.pg_sleep(1).table_valued("slept"))
    writing = Statement(insert(User).from_select(["email", "password_hash"], slow))
    backend = await pool.value(BACKEND)
    task = asyncio.create_task(pool.value(writing))
    await asyncio.sleep(0.2)
    await superuser_connection.execute("SELECT pg_terminate_backend($1)", backend)
    with pytest.raises(ServiceUnavailable):
        await task
    assert await superuser_connection.fetchval("SELECT count(*) FROM users") == 0


async def test_a_value_of_the_wrong_type_is_our_own_fault(pool: Autocommit) -> None:
    with pytest.raises(asyncpg.DataError):
        await pool.value(ECHO, "seven", "text")


async def test_no_connection_is_left_when_the_pool_is_closed(settings: Settings, superuser_connection: Connection) -> None:
    database = Database(settings, "closing")
    running = asyncio.create_task(database.autocommit.value(SLEEP, 1))
    await database.autocommit.value(BACKEND)
    await database.close()
    await running
    query = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'closing'"
    async with asyncio.timeout(5):
        while await superuser_connection.fetchval(query):  # noqa: ASYNC110  # PostgreSQL tells nobody
            await asyncio.sleep(0.05)
    assert database.autocommit.in_use == 0


async def test_while_postgresql_is_away_the_answer_is_503(settings: Settings) -> None:
    nowhere = settings.model_copy(update={"DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none"})
    database = Database(nowhere, "tests")
    with pytest.raises(ServiceUnavailable):
        await database.autocommit.value(BACKEND)
    assert database.autocommit.in_use == 0
    await database.close()


async def test_a_statement_that_hangs_is_given_up_and_its_connection_replaced(settings: Settings, empty_tables: None) -> None:
    database = Database(settings.model_copy(update={"DATABASE_STATEMENT_TIMEOUT_MS": 0}), "tests")
    try:
        with pytest.raises(ServiceUnavailable):
            await database.autocommit.value(SLEEP, 60)
        assert await database.autocommit.value(BACKEND)
    finally:
        await database.close()


async def test_questions_of_one_turn_are_one_statement(pool: Autocommit, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[tuple[str, Sequence[object]]] = []
    fetch = Link.fetch

    async def noting(link: Link, text: str, values: Sequence[object], limit: int) -> Any:
        sent.append((text, values))
        return await fetch(link, text, values, limit)

    monkeypatch.setattr(Link, "fetch", noting)
    one = await pool.value(OID)
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        asked = [group.create_task(pool.batched(DATABASE, number)) for number in (one, 0, one)]
    assert [row and row[0] for row in (task.result() for task in asked)] == [one, None, one]
    assert [text for text, _ in sent[1:]] == [DATABASE.several.text]
    assert (await pool.batched(DATABASE, one) or [None])[0] == one
    assert sent[-1] == (DATABASE.one.text, (one,))


async def test_what_one_caller_did_wrong_the_others_do_not_hear_of(pool: Autocommit) -> None:
    async with asyncio.timeout(10):
        answers = await asyncio.gather(*(pool.batched(DIVIDED, number) for number in (0, 1)), return_exceptions=True)
    assert isinstance(answers[0], asyncpg.DivisionByZeroError)
    assert isinstance(answers[1], asyncpg.Record)


async def test_who_gives_up_asking_takes_nobody_along(pool: Autocommit) -> None:
    one = await pool.value(OID)
    first, second = (asyncio.ensure_future(pool.batched(DATABASE, one)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    assert (await second or [None])[0] == one


async def test_a_statement_outlasts_a_migration_of_its_table(pool: Autocommit, superuser_connection: Any) -> None:
    everything = Statement(select(literal_column("*", Text)).select_from(table("changing")))
    await superuser_connection.execute("CREATE TABLE changing AS SELECT 1 AS first; GRANT SELECT ON changing TO PUBLIC")
    try:
        assert [tuple(row) for row in await pool.rows(everything)] == [(1,)]
        await superuser_connection.execute("ALTER TABLE changing ADD COLUMN second integer DEFAULT 2")
        assert [tuple(row) for row in await pool.rows(everything)] == [(1, 2)]
        assert [tuple(row) for row in await pool.rows(everything)] == [(1, 2)]
    finally:
        await superuser_connection.execute("DROP TABLE changing")
