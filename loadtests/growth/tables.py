"""Large tables, made inside PostgreSQL."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from time import monotonic
from typing import Final

from loadtests.bench.people import Connection, Person
from loadtests.bench.stack import Stack
from loadtests.growth.curves import Say

BATCH: Final = 250_000
#: Connections that write rows and build indexes at once.
HANDS: Final = 2

INSERT: Final = """
INSERT INTO items (owner_id, title, description, attributes, created_at, updated_at)
SELECT ($3::bigint[])[n % cardinality($3) + 1], 'item number ' || n, 'a text of usual length for ' || n,
    jsonb_build_object('colour', CASE n / cardinality($3) % 4 WHEN 0 THEN 'red' ELSE 'grey' END, 'number', n), t, t
FROM generate_series($1::int, $2::int) n, LATERAL (SELECT '2020-01-01T00:00:00Z'::timestamptz + n * interval '1 ms') at (t)
"""
#: What takes longest to build comes first.
SECONDARY_INDEXES: Final = """
SELECT c.relname, pg_get_indexdef(c.oid) FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_am m ON m.oid = c.relam
WHERE i.indrelid = 'items'::regclass AND NOT i.indisprimary ORDER BY m.amname = 'gin' DESC, c.relname DESC
"""
FOREIGN_KEYS: Final = "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = 'items'::regclass AND contype = 'f'"


async def grow_items(stack: Stack, people: Sequence[Person], present: int, wanted: int, say: Say) -> float:
    """Add items to the table until there are ``wanted``, an equal share for each person; return the seconds it took.

    Indexes and the foreign key are taken away and made anew behind the rows: that is why ten million take minutes, not hours.

    Args:
        stack: With PostgreSQL running.
        people: The owners.
        present: Items that are there.
        wanted: Items that there shall be.
        say: Told how far it is.
    """
    started = monotonic()
    hands = [await stack.connect() for _ in range(HANDS)]
    try:
        first = hands[0]
        # Names and definitions come from the catalogue.
        indexes, keys = await first.fetch(SECONDARY_INDEXES), await first.fetch(FOREIGN_KEYS)
        for name, _ in keys:
            await first.execute(f"ALTER TABLE items DROP CONSTRAINT {name}")
        for name, _ in indexes:
            await first.execute(f"DROP INDEX {name}")
        owners = [person.user_id for person in people]

        async def insert(hand: Connection, start: int) -> None:
            say(f"rows: item {start:,} of {wanted:,}")
            await hand.execute(INSERT, start, min(start + BATCH, wanted) - 1, owners)

        async def build(hand: Connection, definition: str) -> None:
            say(f"rows: {definition.partition(' ON ')[0].lower()}, {wanted:,} items")
            await hand.execute("SET maintenance_work_mem = '1GB'")
            await hand.execute(definition)

        await _share(hands, list(range(present, wanted, BATCH)), insert)
        await _share(hands, [definition for _, definition in indexes], build)
        for name, definition in keys:
            await first.execute(f"ALTER TABLE items ADD CONSTRAINT {name} {definition}")
        await first.execute("ANALYZE items")
        return monotonic() - started
    finally:
        for hand in hands:
            await hand.close()


async def _share[Piece](hands: Sequence[Connection], pieces: list[Piece], work: Callable[[Connection, Piece], Awaitable[None]]) -> None:
    """Let every hand take pieces, in their order, until there is none."""

    async def take(hand: Connection) -> None:
        while pieces:
            await work(hand, pieces.pop(0))

    async with asyncio.TaskGroup() as group:
        for hand in hands:
            group.create_task(take(hand))
