"""Redis goes away, comes back, forgets: what sockets get then."""

import asyncio
import time
from typing import Any

import httpx
import pytest

from app.core import streams
from tests.api.conftest import Person
from tests.api.events.conftest import LiveValkey, LocalApi, close_code, numbers, publish, receive, silent, until

MISSED = {"type": "events.missed"}


@pytest.fixture(autouse=True)
async def connected(api: LocalApi) -> None:
    """Begin when the process hears Redis again: the test before may have taken it away."""
    async with asyncio.timeout(30):
        while api.app.state.hub._subscriber._commands is None:  # noqa: ASYNC110  # the subscriber tells nobody
            await asyncio.sleep(0.02)


async def test_what_is_published_while_the_connection_is_lost_arrives_once(api: LocalApi, redis: Any, user: Person) -> None:
    async with api.connect(user, max_queue=None) as socket:
        for start in range(0, 500, 50):
            await redis.client_kill_filter(_type="pubsub")
            await publish(redis, user, *range(start, start + 50))
            await asyncio.sleep(0.05)
        assert await numbers(socket, 500) == list(range(500))


async def test_a_long_gap_is_made_good_for_every_user(api: LocalApi, redis: Any, user: Person, other: Person) -> None:
    async with api.connect(user, max_queue=None) as mine, api.connect(other, max_queue=None) as theirs:
        await redis.client_kill_filter(_type="pubsub")
        for start in range(0, 300, 100):
            await publish(redis, user, *range(start, start + 100))
        await publish(redis, other, 1)
        assert await numbers(mine, 300) == list(range(300))
        assert await numbers(theirs, 1) == [1]


async def test_a_gap_that_was_trimmed_is_told(api: LocalApi, redis: Any, user: Person) -> None:
    async with api.connect(user) as socket:
        await publish(redis, user, 0)
        assert await numbers(socket, 1) == [0]
        await redis.client_kill_filter(_type="pubsub")
        await redis.flushall()
        await publish(redis, user, 1)
        assert await receive(socket) == MISSED
        await publish(redis, user, 2)
        assert (await receive(socket))["data"]["n"] == 2


async def test_a_killed_redis_is_told_and_then_followed(api: LocalApi, live_valkey: LiveValkey, redis: Any, user: Person) -> None:
    async with api.connect(user) as socket:
        await publish(redis, user, 1)
        last = (await receive(socket))["id"]
        live_valkey.kill()
        await live_valkey.start()
        assert await receive(socket) == MISSED
        await publish(redis, user, 2)
        frame = await receive(socket)

        assert frame["data"]["n"] == 2
        assert frame["id"].split("-")[2] != last.split("-")[2]
        async with api.connect(user, f"?last_event_id={last}") as resumed:
            assert await receive(resumed) == MISSED


async def test_without_redis_nobody_gets_in_and_nobody_is_thrown_out(
    api: LocalApi, live_valkey: LiveValkey, redis: Any, user: Person, other: Person
) -> None:
    async with api.connect(user) as socket:
        live_valkey.kill()
        try:
            async with httpx.AsyncClient(headers=user.headers) as client:
                drawn = await client.post(f"{api.url}/ws/tickets")
            refusals = [await api.refusal(other), await api.refusal(user), await api.refusal(query="?ticket=x")]
            assert await silent(socket)
        finally:
            await live_valkey.start()
        assert (drawn.status_code, drawn.json()["type"]) == (503, "/errors/service-unavailable")
        assert int(drawn.headers["Retry-After"]) >= 1
        assert [status for status, _, _ in refusals] == [503, 503, 503]
        assert await receive(socket) == MISSED


async def test_a_session_that_ends_while_redis_is_gone_closes_its_sockets(
    api: LocalApi, live_valkey: LiveValkey, redis: Any, user: Person, superuser_connection: Any
) -> None:
    async with api.connect(user) as socket:
        live_valkey.kill()
        try:
            started = time.monotonic()
            await superuser_connection.execute("UPDATE sessions SET revoked_at = now() WHERE id = $1", user.session_id)
            assert await close_code(socket) == 4401
            assert time.monotonic() - started < 5
        finally:
            await live_valkey.start()
    await until(lambda: _gets_in(api, user, 401))


async def test_a_hanging_redis_delays_nobody_for_long(
    api: LocalApi, live_valkey: LiveValkey, redis: Any, user: Person, other: Person
) -> None:
    async with api.connect(user) as socket:
        await publish(redis, user, 1)
        assert await numbers(socket, 1) == [1]
        with live_valkey.hanging():
            started = time.monotonic()
            assert (await api.refusal(other))[0] == 503
            assert time.monotonic() - started < 5
        await publish(redis, user, 2)
        assert await numbers(socket, 1) == [2]
    await until(lambda: _gets_in(api, other, None))


async def test_a_hanging_redis_is_noticed_and_nothing_is_lost(api: LocalApi, live_valkey: LiveValkey, redis: Any, user: Person) -> None:
    async with api.connect(user) as socket:
        await publish(redis, user, 1)
        with live_valkey.hanging():
            await until(lambda: _gets_in(api, user, 503))
        await publish(redis, user, 2)
        assert await numbers(socket, 2) == [1, 2]


async def test_a_socket_whose_channel_cannot_be_opened_in_time_is_refused(
    api: LocalApi, live_valkey: LiveValkey, redis: Any, user: Person
) -> None:
    with live_valkey.hanging():
        refusal = asyncio.create_task(api.refusal(user))
        await until(lambda: user.id in {channel.user_id for channel in api.hub._channels.values()})
        live_valkey.kill()
        assert (await refusal)[0] == 503
        await live_valkey.start()
    await until(lambda: _gets_in(api, user, None))


async def test_a_connection_lost_while_a_channel_opens_is_not_overlooked(
    api: LocalApi, redis: Any, user: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = streams.read

    async def read_and_lose(*args: Any) -> Any:
        found = await read(*args)
        api.hub._lose()
        return found

    monkeypatch.setattr(streams, "read", read_and_lose)
    assert (await api.refusal(user))[0] == 503
    monkeypatch.undo()
    async with api.connect(user):
        pass


async def test_a_foreign_message_on_a_channel_harms_nobody(
    api: LocalApi, redis: Any, user: Person, caplog: pytest.LogCaptureFixture
) -> None:
    async with api.connect(user) as socket:
        await redis.publish(streams.key(user.id), "not ours")
        await publish(redis, user, 1)
        assert await numbers(socket, 1) == [1]
    assert "listening to Redis failed" in caplog.text


async def _gets_in(api: LocalApi, user: Person, refused: int | None) -> bool:
    try:
        status, _, _ = await api.refusal(user)
    except AssertionError:
        return refused is None
    return status == refused
