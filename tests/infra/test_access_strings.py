"""What the users of broker and cache may do, tried on a real Valkey: what the service needs, and nothing that stops or empties a server."""

import asyncio
import secrets
from collections.abc import AsyncGenerator
from typing import Any, cast
from uuid import uuid4

import pytest
from kombu import Connection, Exchange, Queue
from redis.asyncio import Redis
from redis.exceptions import NoPermissionError

from app.core import streams
from app.core.http.limits import TAKE
from app.core.redis import connect
from app.local.servers.valkey import Valkey
from infra.components.cache import ACCESS

DANGEROUS = ("FLUSHALL", "FLUSHDB", "KEYS *", "CONFIG GET *", "ACL LIST", "MONITOR", "SHUTDOWN NOSAVE", "CLIENT LIST")


@pytest.fixture
async def user_url(valkey_instance: Valkey, valkey: Redis) -> AsyncGenerator[str]:
    """The URL of a user that Valkey knows by the access string alone."""
    password = secrets.token_hex()
    await cast("Any", valkey).execute_command("ACL", "SETUSER", "broker", *ACCESS.split(), f">{password}")
    yield valkey_instance.url().replace(f"redis://:{valkey_instance.password}@", f"redis://broker:{password}@")
    await cast("Any", valkey).execute_command("ACL", "DELUSER", "broker")


@pytest.fixture
async def user(user_url: str) -> AsyncGenerator[Any]:
    client = connect(user_url)
    yield client
    await client.aclose()


async def test_live_events_are_published_read_and_heard(user: Any) -> None:
    listener = user.pubsub(ignore_subscribe_messages=True)
    await listener.subscribe(streams.key(7))
    await streams.publish(user, [streams.EventMessage(uuid4(), 7, "item.created", "2026-01-01T00:00:00Z", {"id": 1})])
    (page,) = await streams.read(user, [(7, (0, 0))])
    assert len(page.entries) == 1
    assert page.epoch  # told by INFO
    async with asyncio.timeout(5):
        assert (await anext(listener.listen()))["channel"] == streams.key(7).encode()
    await listener.aclose()


async def test_limits_tickets_and_marks_are_kept(user: Any) -> None:
    assert await user.register_script(TAKE)(keys=["limit:x"], args=[10, 1000, 1]) is not None
    await user.set("ticket:x", b"1", ex=30)
    assert await user.getdel("ticket:x") == b"1"
    await user.set("outbox:published-to", b"1", get=True)
    assert (await user.info("memory"))["maxmemory_policy"]


def take(url: str) -> list[Any]:
    """Send to a queue and to everybody as Celery does, take both and acknowledge them."""
    found: list[Any] = []
    tasks = Queue("main-queue", Exchange("main-queue"), routing_key="main-queue")
    everybody = Queue("x.celery.pidbox", Exchange("celery.pidbox", type="fanout"), auto_delete=True)
    with Connection(url) as connection, connection.channel() as channel:

        def receive(body: Any, message: Any) -> None:
            found.append(body)
            message.ack()

        with connection.Consumer([tasks, everybody], callbacks=[receive], channel=channel):
            producer = connection.Producer()
            producer.publish("task", exchange=tasks.exchange, routing_key="main-queue", declare=[tasks], serializer="json")
            connection.drain_events(timeout=5)
            producer.publish("ping", exchange=everybody.exchange, serializer="json")
            connection.drain_events(timeout=5)
    return found


async def test_celerys_transport_sends_takes_and_acknowledges(user_url: str, user: Any) -> None:
    assert await asyncio.to_thread(take, user_url) == ["task", "ping"]
    assert await user.llen("main-queue") == 0
    assert await user.hlen("unacked") == 0


@pytest.mark.parametrize("command", DANGEROUS)
async def test_what_stops_empties_or_lists_a_server_is_refused(user: Any, command: str) -> None:
    with pytest.raises(NoPermissionError):
        await user.execute_command(*command.split())
