"""Who sends the requests: users with items and signed-in sessions, written straight into the database."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import asyncpg

from app.core.config import Settings
from app.core.security import create_access_token

#: Connections of the client, a user each: as many users share the limits as would not reach them.
PEOPLE: Final = 16
ITEMS_EACH: Final = 1000

type Connection = asyncpg.Connection[asyncpg.Record]


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody signed in.

    Attributes:
        user_id: The account.
        token: An access token.
        item_id: One of the account's items.
    """

    user_id: int
    token: str
    item_id: int


async def register(connection: Connection, settings: Settings, count: int = PEOPLE, items: int = ITEMS_EACH) -> list[Person]:
    """Make users, each signed in and with items a second apart."""
    ends = datetime.now(UTC) + timedelta(days=2)
    found: list[Person] = []
    for number in range(count):
        user_id = await connection.fetchval(
            "INSERT INTO users (email, password_hash) VALUES ($1, 'none') RETURNING id", f"bench-{number}@example.com"
        )
        session_id = await connection.fetchval("INSERT INTO sessions (user_id, expires_at) VALUES ($1, $2) RETURNING id", user_id, ends)
        item_id = await connection.fetchval(
            """WITH made AS (
                INSERT INTO items (owner_id, title, description, attributes, created_at, updated_at)
                SELECT $1, 'item number ' || n, 'a text of usual length for ' || n, jsonb_build_object('colour', 'red', 'number', n), t, t
                FROM generate_series(1, $2::int) n, LATERAL (SELECT now() - make_interval(secs => $2 - n)) at (t)
                RETURNING id
            ) SELECT max(id) - $2 / 2 FROM made""",
            user_id,
            items,
        )
        token = create_access_token(settings, user_id=user_id, session_id=session_id)
        found.append(Person(user_id, token, item_id))
    await connection.execute("VACUUM (ANALYZE) items, users, sessions")
    return found


class Tables:
    """The tables that requests write to, brought back to where they were after each measurement.

    PostgreSQL does not vacuum them by itself meanwhile: whose rows it cleans up when would be chance.
    """

    def __init__(self, connection: Connection, last_item: int) -> None:
        self._connection = connection
        self._last_item = last_item

    @classmethod
    async def freeze(cls, connection: Connection) -> "Tables":
        """Return the tables as they are now."""
        await connection.execute("ALTER TABLE items SET (autovacuum_enabled = off); ALTER TABLE outbox SET (autovacuum_enabled = off)")
        return cls(connection, await connection.fetchval("SELECT coalesce(max(id), 0) FROM items"))

    async def restore(self) -> int:
        """Take out what was written; return how many items that were."""
        status = await self._connection.execute("DELETE FROM items WHERE id > $1", self._last_item)
        await self._connection.execute("TRUNCATE outbox")
        await self._connection.execute("VACUUM (ANALYZE) items")
        return int(status.removeprefix("DELETE "))

    async def announced(self) -> int:
        """Return how many events were promised since the last ``restore``."""
        found: int = await self._connection.fetchval("SELECT count(*) FROM outbox WHERE name = 'item.created'")
        return found
