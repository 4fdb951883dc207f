"""Delivery: who sees what, when, how often."""

import asyncio
import json
import logging
from typing import Any
from uuid import uuid4

import httpx
import pytest

from app.core import metrics, streams
from app.core.config import Settings
from app.crud import outbox
from app.main import create_app
from app.services.events import Hub
from app.services.relay import publish_events
from tests.api.conftest import Person
from tests.api.events.conftest import AT, Api, LocalApi, close_code, numbers, publish, receive, serve, silent, until


async def test_nobody_else_sees_an_event(api: LocalApi, redis: Any, user: Person, other: Person) -> None:
    async with api.connect(user) as mine, api.connect(other) as theirs:
        await publish(redis, user, 1)
        assert await numbers(mine, 1) == [1]
        assert await silent(theirs)


async def test_an_event_published_twice_comes_once(api: LocalApi, redis: Any, user: Person) -> None:
    message = streams.EventMessage(uuid4(), user.id, "item.created", AT, {"n": 1})
    async with api.connect(user) as socket:
        await streams.publish(redis, [message, message])
        await streams.publish(redis, [message])
        await publish(redis, user, 2)
        assert await numbers(socket, 2) == [1, 2]


async def test_events_come_in_the_order_of_their_stream(api: LocalApi, redis: Any, user: Person) -> None:
    async with api.connect(user, max_queue=None) as socket:
        for start in range(0, 600, 100):
            await publish(redis, user, *range(start, start + 100))
        assert await numbers(socket, 600) == list(range(600))


async def test_an_item_event_is_the_item_and_comes_after_its_commit(api: LocalApi, redis: Any, user: Person) -> None:
    resources = api.resources
    async with api.connect(user) as socket, httpx.AsyncClient(base_url=api.url, headers=user.headers) as client:
        made = await client.post(
            "/items/",
            content='{"title": "Ä", "attributes": {"big": 123456789012345678901234567890, "f": 1.10}}',
            headers={"Content-Type": "application/json"},
        )
        assert made.status_code == 201
        await publish_events(resources)
        created = await _raw(socket)
        assert (await client.delete(f"/items/{made.json()['id']}")).status_code == 204
        await publish_events(resources)
        deleted = json.loads(await _raw(socket))

    assert json.loads(created)["type"] == "item.created"
    assert json.loads(created)["data"] == made.json()
    assert "123456789012345678901234567890" in created
    assert (deleted["type"], deleted["data"]) == ("item.deleted", {"id": made.json()["id"]})


async def test_an_event_is_not_seen_before_its_transaction_commits(api: LocalApi, redis: Any, user: Person) -> None:
    resources = api.resources
    async with api.connect(user) as socket:
        async with resources.database.write() as session:
            await outbox.add_event(session, user.id, "item.updated", {"n": 1})
            assert await publish_events(resources) == 0
            assert await silent(socket)
        assert await publish_events(resources) == 1
        assert (await receive(socket))["type"] == "item.updated"


async def test_an_event_whose_transaction_rolls_back_is_never_seen(api: LocalApi, redis: Any, user: Person) -> None:
    resources = api.resources

    async def fail() -> None:
        async with resources.database.write() as session:
            await outbox.add_event(session, user.id, "item.updated", {"n": 1})
            raise LookupError

    async with api.connect(user) as socket:
        with pytest.raises(LookupError):
            await fail()
        assert await publish_events(resources) == 0
        assert await silent(socket)


async def test_a_process_listens_to_the_channels_of_its_sockets_only(api: LocalApi, redis: Any, user: Person) -> None:
    channel = streams.key(user.id)

    async def listeners() -> int:
        [(_, count)] = await redis.pubsub_numsub(channel)
        return count

    assert await listeners() == 0
    for _ in range(3):  # as fast as it can be: leaving and coming back must not overtake each other
        async with api.connect(user), api.connect(user):
            assert await listeners() == 1
    await until(lambda: _is(listeners, 0))


async def test_users_who_come_and_go_at_once_miss_nothing(api: LocalApi, redis: Any, user: Person) -> None:
    for number in range(20):
        async with api.connect(user) as socket:
            await publish(redis, user, number)
            assert await numbers(socket, 1) == [number]


async def test_what_a_client_says_is_ignored(api: LocalApi, redis: Any, user: Person) -> None:
    async with api.connect(user) as socket:
        for said in ("hello", b"\x00", json.dumps({"type": "ping"})):
            await socket.send(said)
        await publish(redis, user, 1)
        assert await numbers(socket, 1) == [1]


async def test_a_client_that_says_too_much_at_once_is_closed(api: LocalApi, redis: Any, user: Person) -> None:
    async with api.connect(user) as socket:
        await socket.send("x" * 5000)
        assert await close_code(socket) == 1009


async def test_sockets_deliveries_and_closes_are_counted(live_settings: Settings, redis: Any, user: Person) -> None:
    app = create_app(live_settings)
    async with serve(app) as port:
        await _connections_are_counted(Api(port), app.state.hub, redis, user)


async def _connections_are_counted(api: Api, hub: Hub, redis: Any, user: Person) -> None:
    metrics.flush()
    before = _value(metrics.EVENTS_DELIVERED.labels("item.created"))
    closed = _value(metrics.WEBSOCKET_CLOSES.labels("1000"))
    others = _value(metrics.WEBSOCKET_CLOSES.labels("other"))
    async with api.connect(user) as a, api.connect(user) as b:
        await publish(redis, user, 1)
        await numbers(a, 1)
        await numbers(b, 1)
        metrics.flush()
        assert _value(metrics.EVENTS_DELIVERED.labels("item.created")) == before + 2
        assert _value(metrics.WEBSOCKETS) == 2
        await b.close(3999)
    await until(lambda: len(hub) == 0)
    metrics.flush()
    assert _value(metrics.WEBSOCKETS) == 0
    assert _value(metrics.WEBSOCKET_CLOSES.labels("1000")) == closed + 1
    assert _value(metrics.WEBSOCKET_CLOSES.labels("other")) == others + 1


async def test_no_ticket_is_logged(api: LocalApi, user: Person, caplog: pytest.LogCaptureFixture) -> None:
    ticket = await api.ticket(user)
    with caplog.at_level(logging.DEBUG):
        async with api.connect(query=f"?ticket={ticket}"):
            pass
        await api.refusal(query=f"?ticket={ticket}")

    assert not [record for record in caplog.records if record.name.startswith(("app", "uvicorn")) and ticket in record.getMessage()]


async def test_a_failing_hub_closes_its_socket_as_an_error_of_ours(
    api: LocalApi, redis: Any, user: Person, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(*_: object) -> None:
        raise LookupError("by accident")

    closed = _value(metrics.WEBSOCKET_CLOSES.labels("1011"))
    monkeypatch.setattr(Hub, "follow", fail)
    async with api.connect(user) as socket:
        assert await close_code(socket) == 1011
    await until(lambda: len(api.hub) == 0)
    assert _value(metrics.WEBSOCKET_CLOSES.labels("1011")) == closed + 1
    assert "Exception in ASGI application" in caplog.text


async def _raw(socket: Any) -> str:
    async with asyncio.timeout(5):
        text: str = await socket.recv()
        return text


async def _is(count: Any, wanted: int) -> bool:
    return await count() == wanted


def _value(metric: Any) -> float:
    found: float = metric._value.get()
    return found
