"""The relay, in this process: what it publishes, in which order, and what it brings back."""

import asyncio
import json
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from app.core import metrics, streams
from app.core.queues import BULK_QUEUE, MAIN_QUEUE, queue_of
from app.core.resources import Resources
from app.core.wakeup import CHANNEL
from app.crud import inbox, outbox
from app.crud.relay import Task
from app.services import relay
from tests.tasks.conftest import Outbox, until

MAIL = "app.tasks.email_tasks.send_welcome_email"
IMPORT = "app.tasks.import_tasks.run_import"


class Queues:
    """Puts tasks into Redis as Celery does, as far as the relay looks at it."""

    def __init__(self, redis: Redis) -> None:
        self.redis = redis
        self.sent: list[Task] = []

    async def send(self, tasks: Sequence[Task]) -> None:
        self.sent += tasks
        for task in tasks:
            headers = {**task.context, "outbox_id": task.id, "published_at": task.published_at.isoformat()}
            await self.redis.lpush(task.queue, json.dumps({"body": "", "headers": headers}))


@pytest.fixture
def queues(valkey: Redis) -> Queues:
    return Queues(valkey)


async def promise(resources: Resources, *names: str) -> None:
    async with resources.database.write() as session:
        for name in names:
            await outbox.add_task(session, name, {}, headers={"request_id": "r-1"})


async def announce(resources: Resources, user_id: int, *numbers: int) -> None:
    async with resources.database.write() as session:
        for number in numbers:
            await outbox.add_event(session, user_id, "item.created", {"id": number})


async def stream(redis: Any, user_id: int) -> list[dict[str, Any]]:
    return [json.loads(fields[b"e"]) for _, fields in await redis.xrange(streams.key(user_id))]


async def events(redis: Redis, user_id: int) -> list[int]:
    """The ids a user's stream carries, in order."""
    return [event["data"]["id"] for event in await stream(redis, user_id)]


async def age(promised: Outbox, seconds: float) -> None:
    """Let time pass for everything that was published."""
    await promised.connection.execute("UPDATE outbox SET published_at = published_at - make_interval(secs => $1)", seconds)


async def recovered(resources: Resources, redis: Redis, queues: Queues) -> int:
    """Let the relay recover and publish; return how many tasks were published again."""
    before = len(queues.sent)
    await relay.recover(resources, redis)
    while await relay.publish_tasks(resources, queues.send):
        pass
    return len(queues.sent) - before


def test_every_task_has_a_queue() -> None:
    assert queue_of(MAIL) == MAIN_QUEUE
    assert queue_of(IMPORT) == BULK_QUEUE
    assert queue_of("anything.else") == MAIN_QUEUE


async def test_events_reach_their_users_in_order_and_once(resources: Resources, promised: Outbox, valkey: Redis) -> None:
    await announce(resources, 1, 1, 2, 3)
    await announce(resources, 2, 4)
    await announce(resources, 1, 5)
    assert await relay.publish_events(resources) == 5
    assert await relay.publish_events(resources) == 0
    assert await events(valkey, 1) == [1, 2, 3, 5]
    assert await events(valkey, 2) == [4]
    assert await promised.empty()


async def test_an_event_is_told_when_it_happened_not_when_it_was_published(resources: Resources, promised: Outbox, valkey: Redis) -> None:
    await announce(resources, 1, 1)
    (row,) = await promised.rows()
    await relay.publish_events(resources)
    (event,) = await stream(valkey, 1)
    assert event["at"] == row["created_at"].isoformat().replace("+00:00", "Z")


async def test_events_stay_where_redis_does_not_answer_and_come_once_it_does(
    resources: Resources, promised: Outbox, valkey: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    await announce(resources, 1, 1, 2)
    publish = streams.publish

    async def publish_and_break(redis: Redis, messages: Sequence[streams.EventMessage]) -> None:
        await publish(redis, messages)
        raise RedisConnectionError

    with monkeypatch.context() as patched:
        patched.setattr(streams, "publish", publish_and_break)
        with pytest.raises(RedisConnectionError):
            await relay.publish_events(resources)
    assert len(await promised.rows()) == 2
    assert await relay.publish_events(resources) == 2
    assert await events(valkey, 1) == [1, 2]


async def test_one_relay_at_a_time_publishes_events(resources: Resources, monkeypatch: pytest.MonkeyPatch) -> None:
    await announce(resources, 1, 1)
    began, go_on = asyncio.Event(), asyncio.Event()

    async def slow(redis: Redis, messages: Sequence[streams.EventMessage]) -> None:
        began.set()
        await go_on.wait()

    monkeypatch.setattr(streams, "publish", slow)
    first = asyncio.create_task(relay.publish_events(resources))
    await began.wait()
    await announce(resources, 1, 2)
    assert await relay.publish_events(resources) == 0
    go_on.set()
    assert await first == 1


async def test_tasks_are_published_once_by_relays_at_the_same_time(resources: Resources, queues: Queues) -> None:
    await promise(resources, *[MAIL] * 250)
    await asyncio.gather(*(relay.publish_tasks(resources, queues.send) for _ in range(4)))
    while await relay.publish_tasks(resources, queues.send):
        pass
    assert len(queues.sent) == len({task.id for task in queues.sent}) == 250
    assert queues.sent[0].context == {"request_id": "r-1"}


async def test_tasks_stay_due_where_the_broker_does_not_answer(resources: Resources, promised: Outbox, queues: Queues) -> None:
    await promise(resources, MAIL)

    async def broken(tasks: Sequence[Task]) -> None:
        raise RedisConnectionError

    with pytest.raises(RedisConnectionError):
        await relay.publish_tasks(resources, broken)
    assert await relay.publish_tasks(resources, queues.send) == 1
    assert (await promised.rows())[0]["published_at"] is not None


async def test_a_backlog_is_not_published_twice(resources: Resources, promised: Outbox, valkey: Redis, queues: Queues) -> None:
    await promise(resources, *[MAIL] * 150, *[IMPORT] * 150)
    await recovered(resources, valkey, queues)
    await age(promised, 3600)
    for name in (MAIN_QUEUE, BULK_QUEUE):
        await valkey.delete(name)
    for task in sorted(queues.sent, key=lambda task: task.id):  # as they stand there after an hour
        (row,) = [row for row in await promised.rows() if row["id"] == task.id][:1]
        await valkey.lpush(task.queue, json.dumps({"headers": {"outbox_id": task.id, "published_at": row["published_at"].isoformat()}}))
    assert await recovered(resources, valkey, queues) == 0


async def test_what_was_fetched_and_never_claimed_comes_back(resources: Resources, promised: Outbox, valkey: Redis, queues: Queues) -> None:
    await promise(resources, MAIL, MAIL, MAIL)
    await recovered(resources, valkey, queues)
    await valkey.rpop(MAIN_QUEUE)
    assert await recovered(resources, valkey, queues) == 0  # it may be on its way to its claim
    await age(promised, relay.TRANSIT_SECONDS + 1)
    oldest = json.loads(await valkey.lindex(MAIN_QUEUE, -1) or b"")
    (second, third) = (row["published_at"].isoformat() for row in (await promised.rows())[1:])
    await valkey.delete(MAIN_QUEUE)
    for outbox_id, at in ((oldest["headers"]["outbox_id"], second), (oldest["headers"]["outbox_id"] + 1, third)):
        await valkey.lpush(MAIN_QUEUE, json.dumps({"headers": {"outbox_id": outbox_id, "published_at": at}}))
    await valkey.rpush(MAIN_QUEUE, json.dumps({"headers": {"task": "of the scheduler, without a row"}}))
    assert await recovered(resources, valkey, queues) == 1
    assert queues.sent[-1].id == queues.sent[0].id


async def test_an_empty_queue_holds_nothing(resources: Resources, promised: Outbox, valkey: Redis, queues: Queues) -> None:
    await promise(resources, MAIL, IMPORT)
    await recovered(resources, valkey, queues)
    await valkey.delete(MAIN_QUEUE, BULK_QUEUE)
    await age(promised, relay.TRANSIT_SECONDS + 1)
    assert await recovered(resources, valkey, queues) == 2


@pytest.mark.parametrize("marker", [None, b"the run id of another server"])
async def test_a_server_that_may_have_forgotten_gets_all_that_nobody_claimed(
    resources: Resources, promised: Outbox, valkey: Redis, queues: Queues, marker: bytes | None
) -> None:
    await promise(resources, MAIL, IMPORT, MAIL)
    await recovered(resources, valkey, queues)
    claimed = await inbox.claim(resources.database.autocommit, queues.sent[0].id, silence=2, max_attempts=2)
    assert claimed is not None
    await (valkey.delete(relay.MARKER) if marker is None else valkey.set(relay.MARKER, marker))
    assert await recovered(resources, valkey, queues) == 2
    assert await recovered(resources, valkey, queues) == 0


async def test_a_claim_without_heartbeats_is_given_up_until_the_task_is_parked(
    resources: Resources, promised: Outbox, valkey: Redis, queues: Queues
) -> None:
    await promise(resources, MAIL)
    await recovered(resources, valkey, queues)
    outbox_id = queues.sent[0].id
    for published in (1, 0):
        assert await inbox.claim(resources.database.autocommit, outbox_id, silence=2, max_attempts=2) is not None
        assert await recovered(resources, valkey, queues) == 0
        await promised.connection.execute("UPDATE outbox SET heartbeat_at = now() - interval '3 s'")
        assert await recovered(resources, valkey, queues) == published
    row = await promised.parked()
    assert row is not None
    assert row["last_error"] == "Its worker died each time."


async def test_what_waits_and_what_was_given_up_is_measured(resources: Resources, promised: Outbox, valkey: Redis, queues: Queues) -> None:
    def value(gauge: object) -> float:
        found: float = vars(gauge)["_value"].get()  # there is no public reader
        return found

    await promise(resources, MAIL, MAIL)
    await relay.publish_tasks(resources, queues.send)
    await announce(resources, 1, 1)
    await promise(resources, MAIL)
    await promised.connection.execute("UPDATE outbox SET available_at = now() - interval '100 s' WHERE published_at IS NULL")
    await outbox.park(resources.database.autocommit, [queues.sent[0].id], "by hand")
    await relay.measure(resources, valkey)
    assert value(metrics.OUTBOX_BACKLOG) == 2
    assert 100 <= value(metrics.OUTBOX_BACKLOG_AGE) < 120
    assert value(metrics.OUTBOX_PARKED) == 1
    assert value(metrics.QUEUE_DEPTH.labels(MAIN_QUEUE)) == 2
    assert 0 <= value(metrics.QUEUE_AGE.labels(MAIN_QUEUE)) < 20
    assert value(metrics.QUEUE_AGE.labels(BULK_QUEUE)) == 0


async def test_a_commit_wakes_the_relay_and_a_rollback_does_not(resources: Resources) -> None:
    calls: list[str] = []
    listener = await resources.database.autocommit.dedicated()

    def woken(*_: object) -> None:
        calls.append("woken")

    await listener.add_listener(CHANNEL, woken)
    try:
        with suppress(RuntimeError):
            async with resources.database.write() as session:
                await outbox.add_task(session, MAIL, {})
                raise RuntimeError
        await announce(resources, 1, 1)
        await until(lambda: calls)
        for _ in range(50):
            resources.outbox_wakeup.set()
        await asyncio.sleep(0.2)
        assert 1 <= len(calls) <= 3
    finally:
        await listener.close()
