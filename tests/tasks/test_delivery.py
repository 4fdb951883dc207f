"""One delivery of a task, in this process: who holds it, what is recorded, what becomes of it when it fails."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest
from sqlalchemy import insert

from app.core import context, metrics
from app.core.errors import ServiceUnavailable
from app.core.resources import Resources
from app.crud import inbox, outbox, relay
from app.models import User
from app.services import delivery
from app.services.delivery import ClaimLost, Message, Postpone, deliver
from tests.tasks.conftest import Outbox

NAME = "app.tasks.email_tasks.send_welcome_email"


async def nothing(resources: Resources, message: Message) -> None:
    """A task that does nothing."""


async def promise(resources: Resources) -> int:
    """Promise a task and return its row."""
    async with resources.database.write() as session:
        await outbox.add_task(session, NAME, {"n": 1}, headers={"request_id": "r-1", "user_id": 7, "traceparent": "00-a-b-01"})
    (entry,) = await outbox.entries(resources.database.autocommit, only_parked=False, limit=10)
    return entry.id


async def run(resources: Resources, outbox_id: int, handler: delivery.Handler = nothing, timeout: float = 5) -> delivery.Outcome:
    return await deliver(resources, outbox_id, handler, timeout=timeout, max_attempts=2)


async def due_at_once(promised: Outbox) -> None:
    await promised.connection.execute("UPDATE outbox SET available_at = now()")


async def test_a_task_gets_its_payload_and_the_context_of_its_request(resources: Resources) -> None:
    seen: dict[str, object] = {}

    async def handler(_: Resources, message: Message) -> None:
        seen.update(message.payload, id=str(message.id), **context.fields())

    assert await run(resources, await promise(resources), handler) == "succeeded"
    assert seen == {
        "n": 1, "id": seen["id"], "request_id": "r-1", "user_id": 7, "traceparent": "00-a-b-01", "task_id": seen["id"],
    }  # fmt: skip


async def test_a_task_that_is_done_is_not_done_again(resources: Resources, promised: Outbox) -> None:
    outbox_id = await promise(resources)
    assert await run(resources, outbox_id) == "succeeded"
    assert await run(resources, outbox_id) == "repeated"
    assert await promised.connection.fetchval("SELECT name FROM inbox") == NAME


async def test_a_row_that_comes_back_after_it_was_done_is_not_done_again(resources: Resources, promised: Outbox) -> None:
    outbox_id = await promise(resources)
    row = (await promised.rows())[0]
    await run(resources, outbox_id)
    await promised.connection.execute(
        "INSERT INTO outbox (id, message_id, kind, name, queue, payload) VALUES ($1, $2, 'task', $3, 'main-queue', '{}')",
        outbox_id, row["message_id"], NAME,
    )  # fmt: skip
    assert await run(resources, outbox_id) == "repeated"


async def test_a_task_another_worker_is_at_is_left_to_it(resources: Resources) -> None:
    outbox_id = await promise(resources)
    began, go_on = asyncio.Event(), asyncio.Event()

    async def slow(_: Resources, message: Message) -> None:
        began.set()
        await go_on.wait()

    first = asyncio.create_task(run(resources, outbox_id, slow))
    await began.wait()
    assert await run(resources, outbox_id) == "repeated"
    go_on.set()
    assert await first == "succeeded"


async def test_a_worker_that_goes_on_beating_keeps_its_task(resources: Resources) -> None:
    outbox_id = await promise(resources)

    async def slow(held: Resources, message: Message) -> None:
        await asyncio.sleep(held.settings.TASK_HEARTBEAT_TIMEOUT * 1.5)

    first = asyncio.create_task(run(resources, outbox_id, slow))
    await asyncio.sleep(resources.settings.TASK_HEARTBEAT_TIMEOUT * 1.25)
    assert await run(resources, outbox_id) == "repeated"
    assert await first == "succeeded"


async def test_a_worker_taken_for_dead_finds_out_and_stops(resources: Resources, promised: Outbox) -> None:
    outbox_id = await promise(resources)
    finished = False

    async def paused(_: Resources, message: Message) -> None:
        nonlocal finished
        await promised.connection.execute("UPDATE outbox SET heartbeat_at = now() - interval '1 minute'")
        assert await run(resources, outbox_id) == "succeeded"
        await asyncio.sleep(30)
        finished = True

    assert await run(resources, outbox_id, paused, timeout=20) == "lost"
    assert not finished


@pytest.mark.parametrize("step", [Message.confirm, Message.advance])
async def test_the_work_of_a_worker_taken_for_dead_is_rolled_back(
    resources: Resources, promised: Outbox, step: Callable[..., Awaitable[None]]
) -> None:
    outbox_id = await promise(resources)

    async def paused(held: Resources, message: Message) -> None:
        async with held.database.write() as session:
            await session.execute(insert(User).values(email="a@example.com", password_hash="-"))
            await promised.connection.execute("UPDATE outbox SET heartbeat_at = now() - interval '1 minute'")
            assert await run(resources, outbox_id) == "succeeded"
            await step(message, session)

    assert await run(resources, outbox_id, paused) == "lost"
    assert await promised.connection.fetchval("SELECT count(*) FROM users") == 0


async def test_an_effect_in_the_database_and_its_record_are_one_transaction(resources: Resources, promised: Outbox) -> None:
    outbox_id = await promise(resources)

    async def add_user(held: Resources, message: Message) -> None:
        async with held.database.write() as session:
            await session.execute(insert(User).values(email="a@example.com", password_hash="-"))
            await message.confirm(session)
            assert not await promised.empty()
            if message.attempt == 1:
                raise OSError("before the commit")

    assert await run(resources, outbox_id, add_user) == "failed"
    assert await promised.connection.fetchval("SELECT count(*) FROM inbox") == 0
    await due_at_once(promised)
    assert await run(resources, outbox_id, add_user) == "succeeded"
    assert await promised.connection.fetchval("SELECT count(*) FROM users") == 1


async def test_a_failure_delays_the_next_try_and_the_last_one_parks(resources: Resources, promised: Outbox) -> None:
    outbox_id = await promise(resources)

    async def fail(_: Resources, message: Message) -> None:
        raise RuntimeError(f"try {message.attempt}")

    assert await run(resources, outbox_id, fail) == "failed"
    (row,) = await promised.rows()
    assert 0.5 < (row["available_at"] - row["created_at"]).total_seconds() < 10
    assert await run(resources, outbox_id, fail) == "repeated"  # not due yet
    await due_at_once(promised)
    assert await run(resources, outbox_id, fail) == "parked"
    (row,) = await promised.rows()
    assert row["last_error"] == "RuntimeError: try 2"
    assert await run(resources, outbox_id) == "repeated"


async def test_progress_counts_the_tries_anew(resources: Resources, promised: Outbox) -> None:
    outbox_id = await promise(resources)

    async def fail_after_a_checkpoint(held: Resources, message: Message) -> None:
        async with held.database.write() as session:
            await message.advance(session)
        raise RuntimeError

    for _ in range(4):
        assert await run(resources, outbox_id, fail_after_a_checkpoint) == "failed"
        (row,) = await promised.rows()
        assert row["attempts"] == 0
        await due_at_once(promised)


@pytest.mark.parametrize("error", [Postpone("away", delay=0.2), ServiceUnavailable()])
async def test_what_is_away_costs_no_try(resources: Resources, promised: Outbox, error: Exception) -> None:
    outbox_id = await promise(resources)

    async def lacks_something(_: Resources, message: Message) -> None:
        raise error

    for _ in range(3):
        assert await run(resources, outbox_id, lacks_something) == "postponed"
        (row,) = await promised.rows()
        assert row["attempts"] == 0
        assert row["parked_at"] is None
        assert row["available_at"] > row["created_at"]
        await due_at_once(promised)


async def test_a_task_that_takes_too_long_fails(resources: Resources) -> None:
    async def endless(_: Resources, message: Message) -> None:
        await asyncio.Event().wait()

    assert await run(resources, await promise(resources), endless, timeout=0.05) == "failed"


async def test_a_cancelled_task_is_given_back_for_another_worker(resources: Resources, promised: Outbox) -> None:
    outbox_id = await promise(resources)
    began = asyncio.Event()

    async def endless(_: Resources, message: Message) -> None:
        began.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(run(resources, outbox_id, endless))
    await began.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    (row,) = await promised.rows()
    assert (row["heartbeat_at"], row["published_at"], row["attempts"]) == (None, None, 0)


async def test_a_try_that_ended_in_doubt_is_told_to_the_next(resources: Resources, promised: Outbox) -> None:
    outbox_id = await promise(resources)
    told: list[bool] = []

    async def doubtful(_: Resources, message: Message) -> None:
        told.append(message.interrupted)
        message.in_doubt = True
        raise Postpone("no answer", delay=0)

    for _ in range(2):
        assert await run(resources, outbox_id, doubtful) == "postponed"
    assert told == [False, True]


async def test_the_death_of_a_worker_is_told_to_the_next(resources: Resources, promised: Outbox) -> None:
    outbox_id = await promise(resources)
    assert await inbox.claim(resources.database.autocommit, outbox_id, silence=2, max_attempts=2) is not None
    await promised.connection.execute("UPDATE outbox SET heartbeat_at = now() - interval '1 minute'")
    told: list[bool] = []

    async def handler(_: Resources, message: Message) -> None:
        told.append(message.interrupted)

    assert await run(resources, outbox_id, handler) == "succeeded"
    assert told == [True]


async def test_a_task_whose_worker_died_at_its_last_try_is_left_to_the_relay(resources: Resources, promised: Outbox) -> None:
    outbox_id = await promise(resources)
    for tries in (1, 2):
        claim = await inbox.claim(resources.database.autocommit, outbox_id, silence=2, max_attempts=2)
        assert claim is not None
        assert claim.attempt == tries
        await promised.connection.execute("UPDATE outbox SET heartbeat_at = now() - interval '1 minute'")
    assert await run(resources, outbox_id) == "repeated"
    (dead,) = await relay.revive(resources.database.autocommit, 2, 2)
    assert dead.parked_at is not None


async def test_what_becomes_of_tasks_is_counted(resources: Resources) -> None:
    counter = vars(metrics.TASKS.labels(NAME, "succeeded"))["_value"]  # there is no public reader
    before = counter.get()
    await run(resources, await promise(resources))
    assert counter.get() == before + 1


async def test_a_database_that_restarts_is_waited_for(resources: Resources, monkeypatch: pytest.MonkeyPatch) -> None:
    outbox_id = await promise(resources)
    claim, failures = inbox.claim, iter([ServiceUnavailable(), ServiceUnavailable()])

    async def claim_later(*arguments: object, **options: object) -> object:
        if (error := next(failures, None)) is not None:
            raise error
        return await claim(*arguments, **options)  # pyright: ignore[reportArgumentType]  # passed on as they came

    monkeypatch.setattr(inbox, "claim", claim_later)
    assert await run(resources, outbox_id) == "succeeded"


async def test_a_claim_that_is_lost_is_an_error_of_its_own(resources: Resources, promised: Outbox) -> None:
    outbox_id = await promise(resources)
    claim = await inbox.claim(resources.database.autocommit, outbox_id, silence=2, max_attempts=2)
    assert claim is not None
    await outbox.park(resources.database.autocommit, [outbox_id], "by hand")
    with pytest.raises(ClaimLost):
        await Message(claim).confirm(resources.database.autocommit)
    assert not await promised.empty()


async def test_the_outbox_row_is_written_with_its_cause_or_not_at_all(resources: Resources, promised: Outbox) -> None:
    with suppress(RuntimeError):
        async with resources.database.write() as session:
            await outbox.add_task(session, NAME, {})
            raise RuntimeError
    assert await promised.empty()
