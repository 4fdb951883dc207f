"""Cost by rows: the same requests on tables that grow, and the purge of what is outdated."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from statistics import median
from time import perf_counter, process_time
from typing import Final
from urllib.parse import quote

from app.core import cursor
from app.core.config import Settings
from app.core.database import Database
from app.crud import inbox
from app.schemas.item import ItemQuery
from app.services.maintenance import BATCH, INBOX_AGE
from loadtests.bench import machine
from loadtests.bench.errors import BenchError
from loadtests.bench.machine import cpu_seconds
from loadtests.bench.people import PEOPLE, Connection, Person, Tables, register
from loadtests.bench.scenarios import API, SCENARIOS, Scenario
from loadtests.bench.stack import Stack, stack
from loadtests.closed_loop import anything, encode
from loadtests.growth import requests
from loadtests.growth.curves import MICROSECONDS, Curve, Point, Say
from loadtests.growth.options import require_room
from loadtests.growth.tables import grow_items

KEY: Final = "rows"
#: Items on a page: fewer than a quarter of what an owner has in the smallest table.
PAGE: Final = 10
PURGE: Final = f"purge of {BATCH:,} rows"
#: Young rows that a purge passes over, at most.
PURGED_ROWS: Final = 1_000_000
PURGES: Final = 10

#: A statement that takes long is to be measured, not to be cancelled.
PATIENT: Final = {"DATABASE_STATEMENT_TIMEOUT_MS": "60000"}

RECORD: Final = """
INSERT INTO inbox (message_id, name, processed_at)
SELECT gen_random_uuid(), 'growth', now() - $1::interval FROM generate_series(1, $2::int)
"""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a person's requests go, deep in what the person has.

    Attributes:
        cursor: Of the page behind the middle item.
        number: The middle item's number, a word that no other item has.
    """

    cursor: str
    number: int


@dataclass(frozen=True, slots=True)
class Question:
    """A request, and what tells whether an answer to it is right."""

    scenario: Scenario
    check: Callable[[bytes], bool] = anything


def questions(places: dict[int, Place]) -> list[Question]:
    """Return what is asked.

    Args:
        places: By user.
    """

    def get(name: str, items: int, query: Callable[[Place], str]) -> Question:
        def request(person: Person) -> bytes:
            return encode("GET", f"{API}?limit={PAGE}{query(places[person.user_id])}", person.token)

        return Question(Scenario(name, 200, request), _holds(items))

    return [
        get("first page", PAGE, lambda _: ""),
        get("page from the middle, by cursor", PAGE, lambda place: f"&cursor={place.cursor}"),
        get("search, a word of one item", 1, lambda place: f"&q={place.number}"),
        get("search, a word of all items", PAGE, lambda _: "&q=number"),
        get("containment, true of one item", 1, lambda place: f"&attributes={quote(json.dumps({'number': place.number}))}"),
        get("containment, true of a quarter", PAGE, lambda _: f"&attributes={quote(json.dumps({'colour': 'red'}))}"),
    ]


async def measure(folder: Path, sizes: Sequence[int], seconds: float, say: Say, people: int = PEOPLE) -> Curve:
    """Return the curve.

    Args:
        folder: Where the servers keep their data.
        sizes: Items in the table, the smallest first.
        seconds: Length of each measurement.
        say: Told what is measured next.
        people: Who ask, and own the items.

    Raises:
        BenchError: if there is no room for the largest table, a server does not start, or answers wrong.
    """
    require_room(folder, sizes[-1])
    server_place, other_place = machine.places()
    points: list[Point] = []
    facts: dict[str, float] = {}
    with machine.pinned(other_place):
        async with stack(folder) as running:
            connection = await running.connect()
            try:
                owners = await register(connection, running.settings, people, items=1)
                await connection.execute("TRUNCATE items RESTART IDENTITY")
                running.plan = replace(running.plan, settings=dict(running.plan.settings) | PATIENT)
                with machine.pinned(server_place):
                    await running.start_service("api")
                present = 0
                for size in sizes:
                    facts[f"seconds to make {size}"] = await grow_items(running, owners, present, size, say)
                    facts[f"bytes of {size}"] = await connection.fetchval("SELECT pg_total_relation_size('items')")
                    points += await _requests(running, connection, owners, size, seconds, say)
                    say(f"rows: purge among {min(size, PURGED_ROWS):,} rows")
                    points.append(await purge(running, connection, min(size, PURGED_ROWS)))
                    present = size
            finally:
                await connection.close()
    return Curve(KEY, points, facts)


async def _requests(running: Stack, connection: Connection, people: Sequence[Person], size: int, seconds: float, say: Say) -> list[Point]:
    say(f"rows: vacuum of {size:,} items")
    tables = await Tables.freeze(connection)
    await tables.restore()
    places: dict[int, Place] = {}
    asking = [await _settle(running.settings, connection, person, size // len(people), places) for person in people]
    item, create = (next(each for each in SCENARIOS if each.name == name) for name in ("item", "create"))
    found: list[Point] = []
    for question in (Question(item), *questions(places), Question(create)):
        scenario = question.scenario
        say(f"rows: {scenario.name}, {size:,} items")
        sample, beforehand = await requests.measure(running, scenario, asking, seconds, question.check)
        if scenario.writes:
            await _check_written(tables, sample.answered + beforehand)
        found.append(Point(scenario.name, size, {"api": sample.server_us, "postgres": sample.postgres_us, "p50": sample.p50 * 1000}))
    return found


async def _settle(settings: Settings, connection: Connection, person: Person, items: int, places: dict[int, Place]) -> Person:
    """Return a person who asks for the middle one of their items, and note where that is.

    Its cursor is made here: pages from the first one to the middle of a long list would take minutes.
    """
    row = await connection.fetchrow(
        """SELECT id, created_at, (attributes ->> 'number')::int FROM items WHERE owner_id = $1 AND created_at >= (
            SELECT min(created_at) + (max(created_at) - min(created_at)) / 2 FROM items WHERE owner_id = $1
        ) ORDER BY created_at LIMIT 1""",
        person.user_id,
    )
    if row is None or items < 4 * PAGE:
        raise BenchError(f"{items} items of one owner have no page in their middle")
    item_id, created_at, number = row
    query = ItemQuery()
    question = cursor.fingerprint(person.user_id, query.sort, query.q, query.attributes, query.created_after, query.created_before)
    position = cursor.Position("next", created_at.isoformat(), item_id)
    places[person.user_id] = Place(cursor.encode(settings.verification_keys[0], question, position), number)
    return replace(person, item_id=item_id)


def _holds(items: int) -> Callable[[bytes], bool]:
    return lambda body: len(json.loads(body)) == items


async def _check_written(tables: Tables, acknowledged: int) -> None:
    """Make sure that every item that was said to be made is there, its event with it."""
    announced = await tables.announced()
    made = await tables.restore()
    if not made == announced == acknowledged:
        raise BenchError(f"{acknowledged} items were acknowledged, {made} made and {announced} announced")


async def purge(running: Stack, connection: Connection, size: int) -> Point:
    """Return what it costs to purge a batch of outdated rows from the inbox, among rows that stay.

    Args:
        running: With PostgreSQL running.
        connection: As the owner of the schema.
        size: Rows that stay.

    Raises:
        BenchError: if another number of rows goes.
    """
    await connection.execute("TRUNCATE inbox")
    await connection.execute(RECORD, timedelta(), size)
    await connection.execute("VACUUM (ANALYZE) inbox")
    database = Database(running.settings, "growth")
    own, postgres, lasted = 0.0, 0.0, list[float]()
    try:
        for _ in range(PURGES):
            await connection.execute(RECORD, INBOX_AGE + timedelta(hours=1), BATCH)
            own_before, postgres_before, started = process_time(), cpu_seconds(running.pid("postgres")), perf_counter()
            async with database.write() as session:
                gone = await inbox.purge(session, INBOX_AGE, BATCH)
            lasted.append(perf_counter() - started)
            own += process_time() - own_before
            postgres += cpu_seconds(running.pid("postgres")) - postgres_before
            if gone != BATCH:
                raise BenchError(f"a purge of {BATCH} rows took {gone}")
    finally:
        await database.close()
    values = {"api": own / PURGES * MICROSECONDS, "postgres": postgres / PURGES * MICROSECONDS, "p50": median(lasted) * 1000}
    return Point(PURGE, size, values)
