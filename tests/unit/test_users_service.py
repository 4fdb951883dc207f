"""Accounts without HTTP: the first superuser, and what is left of those who are gone."""

from datetime import timedelta
from typing import Any

from app.core.config import Settings
from app.core.database import Database
from app.core.passwords import verify_password
from app.services.auth import purge_sessions
from app.services.users import ensure_superuser, purge_deleted_users

GRACE = timedelta(days=30)


async def make_account(connection: Any, email: str, deleted_days_ago: int | None = None, items: int = 0) -> int:
    """Return the id of an account with items."""
    user_id: int = await connection.fetchval(
        "INSERT INTO users (email, password_hash, deleted_at) VALUES ($1, '!', now() - make_interval(days => $2)) RETURNING id",
        email,
        deleted_days_ago,
    )
    await connection.execute("INSERT INTO items (owner_id, title) SELECT $1, 'an item' FROM generate_series(1, $2)", user_id, items)
    return user_id


async def emails(connection: Any) -> list[str]:
    """Return every address there is."""
    return [row[0] for row in await connection.fetch("SELECT email FROM users ORDER BY email")]


async def test_the_first_superuser_is_made_once(database: Database, superuser_connection: Any) -> None:
    for _ in range(2):
        async with database.write() as session:
            await ensure_superuser(session, "admin@example.com", "strongpassword")
    row = await superuser_connection.fetchrow("SELECT password_hash, is_active, is_superuser FROM users")
    assert verify_password("strongpassword", row["password_hash"]).matches
    assert (row["is_active"], row["is_superuser"]) == (True, True)
    assert await emails(superuser_connection) == ["admin@example.com"]


async def test_an_account_that_is_there_becomes_the_superuser_with_the_password_given(
    database: Database, superuser_connection: Any
) -> None:
    user_id = await make_account(superuser_connection, "admin@example.com")
    await superuser_connection.execute("UPDATE users SET is_active = false")
    async with database.write() as session:
        assert await ensure_superuser(session, "Admin@example.com", "strongpassword") == user_id
    row = await superuser_connection.fetchrow("SELECT password_hash, is_active, is_superuser FROM users")
    assert verify_password("strongpassword", row["password_hash"]).matches
    assert (row["is_active"], row["is_superuser"]) == (True, True)


async def test_deleted_accounts_go_after_their_grace_with_all_they_own_a_part_at_a_time(
    database: Database, superuser_connection: Any
) -> None:
    await make_account(superuser_connection, "gone@example.com", deleted_days_ago=31, items=5)
    await make_account(superuser_connection, "going@example.com", deleted_days_ago=29, items=1)
    await make_account(superuser_connection, "here@example.com", items=1)
    parts: list[int] = []
    while not parts or parts[-1]:
        async with database.write() as session:
            parts.append(await purge_deleted_users(session, grace=GRACE, limit=2))
    assert parts == [2, 2, 2, 0]
    assert await emails(superuser_connection) == ["going@example.com", "here@example.com"]
    assert await superuser_connection.fetchval("SELECT count(*) FROM items") == 2


async def test_what_is_left_of_sessions_goes_once_it_is_over_anyway(
    settings: Settings, database: Database, superuser_connection: Any
) -> None:
    user_id = await make_account(superuser_connection, "here@example.com")
    made = """
        INSERT INTO sessions (user_id, user_agent, expires_at, revoked_at) VALUES
        ($1, 'stands', now() + interval '1 day', NULL),
        ($1, 'ended lately', now() + interval '1 day', now() - interval '1 day'),
        ($1, 'over lately', now() - interval '1 day', NULL),
        ($1, 'ended long ago', now() - interval '1 day', now() - interval '31 days'),
        ($1, 'over long ago', now() - interval '31 days', NULL)
    """
    await superuser_connection.execute(made.replace("$1", str(user_id)))
    tokens = """
        INSERT INTO refresh_tokens (session_id, token_hash, used_at)
        SELECT id, decode(md5(id::text || days), 'hex'), now() - make_interval(days => days)
        FROM sessions, unnest(ARRAY[1, 31]) AS days WHERE user_agent = 'stands'
    """
    await superuser_connection.execute(tokens)
    async with database.write() as session:
        assert await purge_sessions(session, settings) == 3
    left = await superuser_connection.fetch("SELECT user_agent FROM sessions ORDER BY 1")
    assert [row[0] for row in left] == ["ended lately", "over lately", "stands"]
    assert await superuser_connection.fetchval("SELECT count(*) FROM refresh_tokens") == 1
