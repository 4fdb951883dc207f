"""Resuming: nothing lost, nothing doubled, and the truth where history is gone."""

import asyncio
import random
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

from app.core import streams
from app.services.event_channel import Channel
from tests.api.conftest import Person
from tests.api.events.conftest import LocalApi, numbers, publish, receive, silent, until

MISSED = {"type": "events.missed"}


async def _last_id(api: LocalApi, redis: Any, user: Person) -> str:
    async with api.connect(user) as socket:
        await publish(redis, user, -1)
        event_id: str = (await receive(socket))["id"]
        return event_id


async def test_a_socket_that_resumes_gets_what_it_missed(api: LocalApi, redis: Any, user: Person) -> None:
    last = await _last_id(api, redis, user)
    await publish(redis, user, *range(250))

    async with api.connect(user, f"?last_event_id={last}") as socket:
        assert await numbers(socket, 250) == list(range(250))
        await publish(redis, user, 250)
        assert await numbers(socket, 1) == [250]


async def test_a_socket_that_missed_nothing_gets_the_next_event(api: LocalApi, redis: Any, user: Person) -> None:
    last = await _last_id(api, redis, user)

    async with api.connect(user, f"?last_event_id={last}") as socket:
        assert await silent(socket)
        await publish(redis, user, 1)
        assert await numbers(socket, 1) == [1]


async def test_a_socket_resumes_beside_one_that_is_live(api: LocalApi, redis: Any, user: Person) -> None:
    last = await _last_id(api, redis, user)
    async with api.connect(user) as live:
        await publish(redis, user, *range(150))
        async with api.connect(user, f"?last_event_id={last}") as resumed:
            await publish(redis, user, *range(150, 160))
            assert await numbers(resumed, 160) == list(range(160))
        assert await numbers(live, 160) == list(range(160))


async def test_sockets_that_come_and_go_under_load_see_every_event_once(api: LocalApi, redis: Any, user: Person) -> None:
    total, readers, source = 900, 3, random.Random(3)
    last = await _last_id(api, redis, user)

    async def write() -> None:
        for number in range(total):
            await publish(redis, user, number)
            if number % 5 == 0:
                await asyncio.sleep(source.random() / 200)

    async def read() -> list[int]:
        seen: list[int] = []
        position = last
        while len(seen) < total:
            async with api.connect(user, f"?last_event_id={position}") as socket:
                for _ in range(source.randrange(1, 120)):
                    frame = await receive(socket)
                    position = frame["id"]
                    seen.append(frame["data"]["n"])
                    if len(seen) == total:
                        break
        return seen

    _, *results = await asyncio.gather(write(), *(read() for _ in range(readers)))

    assert all(seen == list(range(total)) for seen in results)


@pytest.mark.parametrize("unknown", ["1-1-00000000", "nonsense", "0-0-ffffffff", "99999999999999-0-{epoch}", "1-0-{epoch}", "1-0"])
async def test_an_unknown_id_is_told_and_then_followed(api: LocalApi, redis: Any, user: Person, unknown: str) -> None:
    last = await _last_id(api, redis, user)
    query = f"?last_event_id={unknown.format(epoch=last.split('-')[2])}"

    async with api.connect(user, query) as socket:
        assert await receive(socket) == MISSED
        await publish(redis, user, 1)
        frame = await receive(socket)
        while frame["data"]["n"] == -1:  # an id of another epoch resumes where it still can
            frame = await receive(socket)
        assert frame["data"]["n"] == 1


async def test_a_trimmed_id_is_told(api: LocalApi, redis: Any, user: Person) -> None:
    last = await _last_id(api, redis, user)
    for start in range(0, streams.STREAM_LENGTH + 200, 100):
        await publish(redis, user, *range(start, start + 100))
    assert await redis.xlen(streams.key(user.id)) < streams.STREAM_LENGTH + 101

    async with api.connect(user, f"?last_event_id={last}") as socket:
        assert await receive(socket) == MISSED
        assert await silent(socket)


async def test_an_id_of_an_emptied_redis_is_told(api: LocalApi, redis: Any, user: Person) -> None:
    last = await _last_id(api, redis, user)
    await until(lambda: len(api.hub) == 0)
    await redis.flushall()

    async with api.connect(user, f"?last_event_id={last}") as socket:
        assert await receive(socket) == MISSED
        await publish(redis, user, 1)
        assert await numbers(socket, 1) == [1]


async def test_streams_end_a_day_after_their_last_event(api: LocalApi, redis: Any, user: Person) -> None:
    await publish(redis, user, 1)

    for key in (streams.key(user.id), f"{streams.key(user.id)}:recent"):
        assert 86_390 < await redis.ttl(key) <= 86_400


async def test_recent_message_ids_are_bounded(redis: Any, user: Person) -> None:
    for start in range(0, streams.STREAM_LENGTH + 200, 100):
        await publish(redis, user, *range(start, start + 100))

    assert await redis.zcard(f"{streams.key(user.id)}:recent") == streams.STREAM_LENGTH


async def test_a_socket_whose_history_cannot_be_read_is_closed_to_try_again(
    api: LocalApi, redis: Any, user: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    last = await _last_id(api, redis, user)

    async def fail(*_: object) -> Any:
        raise TimeoutError

    async with api.connect(user):  # the channel is open already
        await publish(redis, user, 1)
        monkeypatch.setattr("app.core.streams.read", fail)
        async with api.connect(user, f"?last_event_id={last}") as socket:
            with pytest.raises(ConnectionClosed):
                await receive(socket)
            assert socket.close_code == 1013


class _Lagging:
    """Announcements that arrive later than they are read back."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._receive = Channel.receive
        self._waiting: list[tuple[Channel, bytes]] = []
        self._patch = monkeypatch
        waiting = self._waiting

        def keep(channel: Channel, message: bytes) -> int:
            waiting.append((channel, message))
            return 0

        monkeypatch.setattr(Channel, "receive", keep)

    async def until(self, count: int) -> None:
        await until(lambda: len(self._waiting) == count)

    def arrive(self) -> None:
        self._patch.setattr(Channel, "receive", self._receive)
        for channel, message in self._waiting:
            self._receive(channel, message)


async def test_a_socket_may_know_more_than_its_process(api: LocalApi, redis: Any, user: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    async with api.connect(user) as live:
        await publish(redis, user, 0)
        epoch = (await receive(live))["id"].split("-")[2]
        lagging = _Lagging(monkeypatch)
        await publish(redis, user, 1, 2)
        await lagging.until(2)
        [(first, _), _] = (await redis.xrange(streams.key(user.id)))[-2:]
        async with api.connect(user, f"?last_event_id={first.decode()}-{epoch}") as ahead:
            assert await numbers(ahead, 1) == [2]
            lagging.arrive()
            await publish(redis, user, 3)
            assert await numbers(ahead, 1) == [3]
        assert await numbers(live, 3) == [1, 2, 3]


async def test_a_socket_that_reads_ahead_waits_for_the_announcement(
    api: LocalApi, redis: Any, user: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    last = await _last_id(api, redis, user)
    async with api.connect(user) as live:
        await publish(redis, user, 0)
        assert await numbers(live, 1) == [0]
        lagging = _Lagging(monkeypatch)
        await publish(redis, user, 1)
        await lagging.until(1)
        async with api.connect(user, f"?last_event_id={last}") as resumed:
            assert await numbers(resumed, 1) == [0]
            assert await silent(resumed)
            lagging.arrive()
            assert await numbers(resumed, 1) == [1]
        assert await numbers(live, 1) == [1]
