"""No listing, search or purge reads more as tables grow: what PostgreSQL touches for each, among a hundred thousand rows.

The plans are those for the very values that are asked for, as PostgreSQL makes them before it keeps one for all.
"""

import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest
from sqlalchemy import event

from app.core import cursor
from app.core.config import Settings
from app.core.database import Database, WriteSession
from app.crud import idempotency, inbox, job, outbox, relay, session, upload, user
from app.crud import item as crud
from app.schemas.item import ItemQuery, ItemSort
from app.services import auth, items, maintenance, users

ROWS: Final = 100_000
OWNERS: Final = 10
#: Rows that a statement may touch: a page or the few that are outdated, and neighbours that it passes over; 1 % of a table.
TOUCHED: Final = 1_000
OUTDATED: Final = 50

FILL: Final = f"""
SET LOCAL session_replication_role = replica;  -- no foreign key is checked
INSERT INTO users (email, password_hash) SELECT n || '@growth.example', '-' FROM generate_series(1, {ROWS}) n;
INSERT INTO users (email, password_hash, deleted_at)
SELECT n || '@gone.example', '-', now() - interval '1 year' FROM generate_series(1, {OUTDATED}) n;
INSERT INTO items (owner_id, title, description, attributes)
SELECT o.id, 'item number ' || n, 'words ' || n || 'x', jsonb_build_object('colour', (array['red', 'grey'])[n % 2 + 1], 'number', n)
FROM (SELECT id FROM users ORDER BY id LIMIT {OWNERS}) o, generate_series(1, {ROWS // OWNERS}) n;
INSERT INTO inbox (message_id, name, processed_at)
SELECT gen_random_uuid(), 'x', now() - (array['1 year', '1 hour'])[1 + (n > {OUTDATED})::int]::interval FROM generate_series(1, {ROWS}) n;
INSERT INTO idempotency_keys (key_hash, request_hash, status, headers, body, created_at)
SELECT uuid_send(message_id), '', 200, '[]', '', processed_at FROM inbox;
INSERT INTO sessions (user_id, expires_at)
SELECT id, now() + (array['-1 year', '1 day'])[1 + (id % {ROWS // OUTDATED} > 0)::int]::interval FROM users;
INSERT INTO refresh_tokens (session_id, token_hash, used_at) SELECT id, uuid_send(id), expires_at - interval '1 day' FROM sessions;
INSERT INTO jobs (owner_id, kind, state) SELECT id, 'import', 'finished' FROM users;
INSERT INTO jobs (owner_id, kind, state)
SELECT o.id, 'import', 'finished' FROM (SELECT min(id) FROM users) o (id), generate_series(1, {ROWS // OWNERS});
INSERT INTO uploads (owner_id, object_key, filename, content_type, size, checksum_sha256, expires_at)
SELECT user_id, 'k' || user_id, 'f', 't', 1, 'c', expires_at FROM sessions;
INSERT INTO outbox (kind, name, queue, user_id, payload, published_at)
SELECT (array['task', 'event'])[n % 2 + 1], 'x', CASE n % 2 WHEN 0 THEN 'main-queue' END, n, '{{}}', CASE n % 4 WHEN 0 THEN now() END
FROM generate_series(1, {ROWS}) n
"""
type Action = Callable[[WriteSession], Awaitable[Any]]


class _UndoneError(Exception):
    """Ends a transaction without a trace."""


@pytest.fixture(scope="module")
async def large(superuser_connection: Any, delete_everything: str) -> AsyncGenerator[int]:
    """Large tables; the id of an owner of items and jobs."""
    async with superuser_connection.transaction():
        await superuser_connection.execute(delete_everything)
        await superuser_connection.execute(FILL)
    await superuser_connection.execute("VACUUM (ANALYZE)")
    yield await superuser_connection.fetchval("SELECT min(owner_id) FROM items")
    async with superuser_connection.transaction():
        await superuser_connection.execute(delete_everything)


@pytest.fixture
async def statements(settings: Settings, large: int) -> AsyncGenerator[Callable[[Action], Awaitable[list[tuple[str, Any]]]]]:
    """Return the statements that something runs in a transaction, which leaves no trace."""
    database = Database(settings, "tests")
    found: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, _many: Any) -> None:
        found.append((statement, parameters))

    async def run(action: Action) -> list[tuple[str, Any]]:
        event.listen(database.engine.sync_engine, "before_cursor_execute", note)
        with suppress(_UndoneError):
            async with database.write() as opened:
                await action(opened)
                raise _UndoneError
        event.remove(database.engine.sync_engine, "before_cursor_execute", note)
        return found

    yield run
    await database.close()


async def touched(connection: Any, statement: str, parameters: Any) -> tuple[int, str]:
    """Return the most rows that a part of a statement's plan takes or passes over, and the plan."""
    transaction = connection.transaction()
    await transaction.start()
    try:
        plan = await connection.fetchval(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", *parameters)
    finally:
        await transaction.rollback()
    return max(_touched(node) for node in _nodes(json.loads(plan)[0]["Plan"])), plan


def _nodes(node: dict[str, Any]) -> Generator[dict[str, Any]]:
    yield node
    for child in node.get("Plans", []):
        yield from _nodes(child)


def _touched(node: dict[str, Any]) -> int:
    removed = sum(node.get(name, 0) for name in ("Rows Removed by Filter", "Rows Removed by Index Recheck", "Rows Removed by Join Filter"))
    return int((node["Actual Rows"] + removed) * node["Actual Loops"])


def _listing(owner: int, *, middle: bool = False, **query: Any) -> Action:
    given = ItemQuery.model_validate(query)

    async def run(db: WriteSession) -> Any:
        position = None
        if middle:
            title = given.sort in {ItemSort.TITLE, ItemSort.TITLE_DESC}
            position = cursor.Position("next", "item number 1000" if title else datetime.now(UTC).isoformat(), ROWS // 2)
        return await crud.search(db, *items._statement(given, owner, position))

    return run


LISTINGS: Final[dict[str, dict[str, Any]]] = {
    **{f"by {order}": {"sort": order} for order in ItemSort},
    **{f"by {order}, from the middle": {"sort": order, "middle": True} for order in ItemSort},
    "a word of one item": {"q": "77x"},
    "a word of no item": {"q": "nowhere"},
    "a word of all items": {"q": "number"},
    "a word of all items, by title": {"q": "number", "sort": "title"},
    "a word of all items, from the middle": {"q": "number", "middle": True},
    "true of one item": {"attributes": '{"number": 77}'},
    "true of no item": {"attributes": '{"number": -1}'},
    "true of half of the items": {"attributes": '{"colour": "red"}'},
    "of the past": {"created_before": "2020-01-01T00:00:00Z"},
    "of today": {"created_after": "2020-01-01T00:00:00Z"},
}

OTHERS: Final[dict[str, Callable[[Settings, int], Action]]] = {
    "users": lambda _settings, _owner: lambda db: user.page(db, 0, 50, 0),
    "users, from the middle": lambda _settings, owner: lambda db: user.page(db, owner + ROWS // 2, 50, 0),
    "users, backwards": lambda _settings, owner: lambda db: user.page_before(db, owner + ROWS // 2, 50),
    "sessions of a user": lambda _settings, owner: lambda db: session.standing(db, owner),
    "jobs": lambda _settings, owner: lambda db: job.page(db, owner, 50),
    "jobs, from the middle": lambda _settings, owner: lambda db: job.page(db, owner, 50, before=ROWS),
    "the outbox": lambda _settings, _owner: lambda db: outbox.entries(db, only_parked=False, limit=50),
    "what is parked": lambda _settings, _owner: lambda db: outbox.entries(db, only_parked=True, limit=50),
    "events that are due": lambda _settings, _owner: lambda db: relay.take_events(db, 100),
    "tasks that are due": lambda _settings, _owner: lambda db: relay.take_tasks(db, 100),
    "tasks whose worker died": lambda _settings, _owner: lambda db: relay.revive(db, 60, 5),
    "purge of the inbox": lambda _settings, _owner: lambda db: inbox.purge(db, maintenance.INBOX_AGE, maintenance.BATCH),
    "purge of idempotency keys": lambda _settings, _owner: lambda db: idempotency.purge(db, maintenance.IDEMPOTENCY_AGE, maintenance.BATCH),
    "purge of sessions and refresh tokens": lambda settings, _owner: lambda db: auth.purge_sessions(db, settings, limit=maintenance.BATCH),
    "purge of users and their items": lambda _settings, _owner: (
        lambda db: users.purge_deleted_users(db, grace=maintenance.DELETED_USER_GRACE)
    ),
    "purge of uploads": lambda _settings, _owner: lambda db: upload.delete_expired(db, datetime.now(UTC) - timedelta(days=2)),
}


type Statements = Callable[[Action], Awaitable[list[tuple[str, Any]]]]


@pytest.mark.parametrize("name", LISTINGS)
async def test_a_listing_of_items_touches_no_more_than_its_page(
    name: str, large: int, statements: Statements, superuser_connection: Any
) -> None:
    for statement, parameters in await statements(_listing(large, **LISTINGS[name])):
        most, plan = await touched(superuser_connection, statement, parameters)
        assert most <= TOUCHED, plan


@pytest.mark.parametrize("name", OTHERS)
async def test_no_other_listing_and_no_purge_touches_the_whole_table(
    name: str, large: int, settings: Settings, statements: Statements, superuser_connection: Any
) -> None:
    found = await statements(OTHERS[name](settings, large))
    assert found
    for statement, parameters in found:
        most, plan = await touched(superuser_connection, statement, parameters)
        assert most <= TOUCHED, plan


async def test_a_statement_that_reads_a_whole_table_is_noticed(large: int, superuser_connection: Any) -> None:
    most, _ = await touched(superuser_connection, "SELECT count(*) FROM items WHERE owner_id = $1 AND version = 2", [large])
    assert most > TOUCHED
