"""What goes with time, and what an operator does with the outbox."""

import asyncio
from collections.abc import Awaitable, Callable, Generator
from datetime import timedelta

import pytest
from typer.testing import CliRunner

from app.__main__ import command_line
from app.core.config import get_settings
from app.core.resources import Resources
from app.crud import inbox, outbox
from app.services import maintenance
from tests.tasks.conftest import Outbox

MAIL = "app.tasks.email_tasks.send_welcome_email"
FILL = {
    "inbox": "INSERT INTO inbox (message_id, name, processed_at)"
    " SELECT gen_random_uuid(), 'x', now() - $1::interval FROM generate_series(1, $2)",
    "idempotency_keys": "INSERT INTO idempotency_keys (key_hash, request_hash, status, headers, body, created_at)"
    " SELECT uuid_send(gen_random_uuid()), '', 200, '[]', '', now() - $1::interval FROM generate_series(1, $2)",
    "users": "INSERT INTO users (email, password_hash, deleted_at)"
    " SELECT gen_random_uuid() || '@example.com', '-', now() - $1::interval FROM generate_series(1, $2)",
}


@pytest.mark.parametrize(
    ("table", "purge", "age"),
    [
        ("inbox", maintenance.purge_inbox, maintenance.INBOX_AGE),
        ("idempotency_keys", maintenance.purge_idempotency_keys, maintenance.IDEMPOTENCY_AGE),
        ("users", maintenance.purge_users, maintenance.DELETED_USER_GRACE),
    ],
)
async def test_what_is_outdated_goes_in_batches_and_the_rest_stays(
    resources: Resources,
    promised: Outbox,
    monkeypatch: pytest.MonkeyPatch,
    table: str,
    purge: Callable[[Resources], Awaitable[int]],
    age: timedelta,
) -> None:
    monkeypatch.setattr(maintenance, "BATCH", 3)
    minute = timedelta(minutes=1)
    await promised.connection.execute(FILL[table], age + minute, 7)
    await promised.connection.execute(FILL[table], age - minute, 2)
    assert await purge(resources) == 7
    assert await purge(resources) == 0
    assert await promised.connection.fetchval(f"SELECT count(*) FROM {table}") == 2


async def test_sessions_that_ended_long_ago_go(resources: Resources, promised: Outbox) -> None:
    user_id = await promised.connection.fetchval("INSERT INTO users (email, password_hash) VALUES ('a@b.de', '-') RETURNING id")
    for ago in ("1 year", "-1 day"):
        await promised.connection.execute(
            "INSERT INTO sessions (user_id, expires_at) VALUES ($1, now() - $2::text::interval)", user_id, ago
        )
    assert await maintenance.purge_sessions(resources) == 1


@pytest.fixture
def run(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Generator[Callable[..., Awaitable[tuple[int, str]]]]:
    """Run a command of the command line and return its status and what it printed."""

    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("COLUMNS", "200")
    get_settings.cache_clear()

    async def run_one(*arguments: str) -> tuple[int, str]:
        # In a thread, as the command runs an event loop of its own.
        result = await asyncio.to_thread(CliRunner().invoke, command_line(list(arguments)), list(arguments))
        return result.exit_code, result.output

    yield run_one
    get_settings.cache_clear()


type Run = Callable[..., Awaitable[tuple[int, str]]]


async def promise(resources: Resources, count: int = 1) -> list[int]:
    async with resources.database.write() as session:
        for _ in range(count):
            await outbox.add_task(session, MAIL, {})
    return [entry.id for entry in await outbox.entries(resources.database.autocommit, only_parked=False, limit=10)]


async def test_an_empty_outbox_says_so(run: Run, resources: Resources) -> None:
    assert await run("outbox", "list") == (0, "Nothing waits.\n")
    assert await run("outbox", "list", "--parked") == (0, "Nothing is parked.\n")


async def test_the_outbox_is_listed_with_what_becomes_of_each(run: Run, resources: Resources, promised: Outbox) -> None:
    waiting, queued, running, parked = await promise(resources, 4)
    await promised.connection.execute("UPDATE outbox SET published_at = now() WHERE id = ANY($1)", [queued, running])
    await inbox.claim(resources.database.autocommit, running, silence=2, max_attempts=2)
    await outbox.park(resources.database.autocommit, [parked], "broken for good")
    status, output = await run("outbox", "list")
    assert status == 0
    for row_id, state in ((waiting, "waiting"), (queued, "queued"), (running, "running"), (parked, "parked")):
        assert any(line.split()[:3] == [str(row_id), MAIL, state] for line in output.splitlines())
    _, only_parked = await run("outbox", "list", "--parked")
    assert "broken for good" in only_parked
    assert "waiting" not in only_parked


async def test_a_parked_task_is_retried_with_all_its_tries(run: Run, resources: Resources, promised: Outbox) -> None:
    (row_id,) = await promise(resources)
    await promised.connection.execute("UPDATE outbox SET parked_at = now(), published_at = now(), attempts = 10")
    assert await run("outbox", "retry", str(row_id)) == (0, f"due again: {row_id}\n")
    (row,) = await promised.rows()
    assert (row["parked_at"], row["published_at"], row["attempts"]) == (None, None, 0)


async def test_every_parked_task_is_retried_and_the_others_are_left_alone(run: Run, resources: Resources, promised: Outbox) -> None:
    first, _, third = await promise(resources, 3)
    await promised.connection.execute("UPDATE outbox SET attempts = 1")
    await outbox.park(resources.database.autocommit, [first, third], "x")
    assert await run("outbox", "retry", "--all") == (0, f"due again: {first}, {third}\n")
    assert [row["attempts"] for row in await promised.rows()] == [0, 1, 0]


async def test_a_task_that_is_parked_by_hand_is_taken_from_its_worker(run: Run, resources: Resources, promised: Outbox) -> None:
    (row_id,) = await promise(resources)
    claim = await inbox.claim(resources.database.autocommit, row_id, silence=2, max_attempts=2)
    assert claim is not None
    assert await run("outbox", "park", str(row_id)) == (0, f"parked: {row_id}\n")
    assert not await inbox.beat(resources.database.autocommit, claim)
    row = await promised.parked()
    assert row is not None
    assert row["last_error"] == "Parked by hand."


@pytest.mark.parametrize("command", ["retry", "park"])
async def test_what_is_not_there_is_named(run: Run, resources: Resources, command: str) -> None:
    status, output = await run("outbox", command, "4711")
    assert status == 1
    assert "4711 is not" in output


async def test_a_retry_of_nothing_is_refused(run: Run, resources: Resources) -> None:
    status, output = await run("outbox", "retry")
    assert status == 2
    assert "--all" in output
