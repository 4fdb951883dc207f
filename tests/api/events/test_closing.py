"""How sockets end: sessions, slow and dead peers, a process that stops."""

import asyncio
import base64
import os
import socket as sockets
import time
from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import Any

import asyncpg
import pytest
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from app.core.config import Settings
from app.core.errors import ServiceUnavailable
from app.core.http import protocol, websocket
from app.main import create_app
from tests.api.conftest import Person
from tests.api.events.conftest import Api, Frame, LocalApi, close_code, numbers, publish, receive, serve, silent, until

type Connection = asyncpg.Connection[asyncpg.Record]


async def test_the_end_of_a_session_leaves_the_users_other_sessions_alone(
    api: LocalApi, redis: Any, user: Person, superuser_connection: "Connection"
) -> None:
    async with api.connect(user) as mine:
        other = await superuser_connection.fetchval(
            "INSERT INTO sessions (user_id, expires_at, revoked_at) VALUES ($1, now() + interval '1 day', now()) RETURNING id", user.id
        )
        api.hub.revoked(other)
        assert await silent(mine, 0.7)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE sessions SET expires_at = now() WHERE id = $1",
        "DELETE FROM sessions WHERE id = $1",
        "UPDATE users SET is_active = false FROM sessions WHERE sessions.user_id = users.id AND sessions.id = $1",
    ],
)
async def test_a_session_that_stands_no_more_ends_its_sockets_within_a_second(
    api: LocalApi, redis: Any, user: Person, superuser_connection: "Connection", statement: str
) -> None:
    async with api.connect(user) as socket:
        assert await silent(socket, 0.6)
        started = time.monotonic()
        await superuser_connection.execute(statement, user.session_id)
        assert (await receive(socket))["type"] == "session.revoked"
        assert await close_code(socket) == 4401
        assert time.monotonic() - started < 1


async def test_a_changed_account_is_looked_at_at_once(
    api: LocalApi, redis: Any, user: Person, superuser_connection: "Connection", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.services.events.SESSION_CHECK_SECONDS", 3)
    async with api.connect(user) as socket:
        await asyncio.sleep(0.6)  # the wait that began before the patch
        await superuser_connection.execute("UPDATE users SET is_active = false WHERE id = $1", user.id)
        api.hub.revoked(user.id)
        assert await close_code(socket, 1) == 4401


@pytest.mark.parametrize(
    ("error", "logged"),
    [(ServiceUnavailable(), "sessions of sockets were not checked"), (LookupError(), "checking the sessions of sockets failed")],
)
async def test_a_socket_outlives_a_failing_database(
    api: LocalApi,
    redis: Any,
    user: Person,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
    logged: str,
) -> None:
    async def fail(*_: object) -> Any:
        raise error

    async with api.connect(user) as socket:
        monkeypatch.setattr("app.crud.session.still_standing", fail)
        await until(lambda: logged in caplog.text)
        monkeypatch.undo()
        await publish(redis, user, 1)
        assert await numbers(socket, 1) == [1]


async def test_a_consumer_that_cannot_keep_up_is_closed_and_can_resume(api: LocalApi, redis: Any, user: Person) -> None:
    narrow = sockets.socket()
    narrow.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, 4096)
    narrow.setblocking(False)
    await asyncio.get_running_loop().sock_connect(narrow, ("127.0.0.1", api.port))
    total = 240
    async with api.connect(user, sock=narrow, max_queue=1) as slow, api.connect(user, max_queue=None) as quick:
        for start in range(0, total, 20):
            await publish(redis, user, *range(start, start + 20), size=60_000)
        assert await numbers(quick, total) == list(range(total))
        frames = [frame async for frame in _until_closed(slow)]
        assert slow.close_code == 1013

    seen = [frame["data"]["n"] for frame in frames]

    assert len(seen) < total
    async with api.connect(user, f"?last_event_id={frames[-1]['id']}") as resumed:
        seen += await numbers(resumed, total - len(seen))
    assert seen == list(range(total))


async def test_sockets_are_closed_one_after_the_other_once_the_end_is_announced(live_settings: Settings, redis: Any, user: Person) -> None:
    app = create_app(live_settings.model_copy(update={"DRAIN_SECONDS": 1}))
    async with serve(app) as port:
        api = LocalApi(port, app)
        opened = [await api.connect(user) for _ in range(4)]
        app.state.drain.begin()
        closed_at = await asyncio.gather(*(_wait_closed(socket) for socket in opened))
        assert (await api.refusal(user))[0] == 503
    assert [socket.close_code for socket in opened] == [1012] * 4
    assert 0.4 < max(closed_at) - min(closed_at) < 1


async def test_a_server_that_stops_at_once_closes_its_sockets_with_1012(live_settings: Settings, redis: Any, user: Person) -> None:
    async with serve(create_app(live_settings)) as port:
        socket = await Api(port).connect(user)
    assert await close_code(socket) == 1012


async def test_a_peer_that_answers_no_ping_is_cut_off(
    live_settings: Settings, redis: Any, user: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(websocket, "PING_INTERVAL_SECONDS", 0.1)
    monkeypatch.setattr(websocket, "PING_TIMEOUT_SECONDS", 0.1)
    monkeypatch.setattr(websocket, "CLOSE_TIMEOUT_SECONDS", 0.1)
    async with serve(create_app(live_settings)) as port:
        reader, writer = await _bare_handshake(port, user)
        async with asyncio.timeout(5):
            ping = await reader.readexactly(6)
            assert ping[:2] == b"\x89\x04"
            close = await reader.readexactly(2)
            assert close[:1] == b"\x88"
            await reader.read()
        writer.close()


async def test_a_peer_that_answers_pings_stays(live_settings: Settings, redis: Any, user: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket, "PING_INTERVAL_SECONDS", 0.05)
    monkeypatch.setattr(websocket, "PING_TIMEOUT_SECONDS", 0.5)
    async with serve(create_app(live_settings)) as port, Api(port).connect(user) as socket:
        assert await silent(socket, 1)


async def test_a_peer_that_answers_no_close_is_cut_off(
    live_settings: Settings, redis: Any, user: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(websocket, "CLOSE_TIMEOUT_SECONDS", 0.2)
    app = create_app(live_settings)
    async with serve(app) as port:
        reader, writer = await _bare_handshake(port, user)
        app.state.hub.revoked(user.session_id)
        async with asyncio.timeout(5):
            await until(lambda: len(app.state.hub) == 0)
            received = await reader.read()  # up to the end of the connection
        assert b"session.revoked" in received
        assert b"\x11\x31" in received  # 4401
        writer.close()


async def test_a_socket_outlives_the_time_given_to_requests(
    live_settings: Settings, redis: Any, user: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "HEAD_SECONDS", 0.2)
    async with serve(create_app(live_settings)) as port, Api(port).connect(user) as socket:
        assert await silent(socket, 0.6)


async def _until_closed(connection: ClientConnection) -> AsyncGenerator[Frame]:
    with suppress(ConnectionClosed):
        while True:
            yield await receive(connection)


async def _wait_closed(connection: ClientConnection) -> float:
    await close_code(connection)
    return time.monotonic()


async def _bare_handshake(port: int, user: Person) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    key = base64.b64encode(os.urandom(16)).decode()
    writer.write(
        f"GET /api/v1/ws HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        f"Sec-WebSocket-Key: {key}\r\nAuthorization: Bearer {user.token}\r\n\r\n".encode()
    )
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
    return reader, writer


async def test_a_peer_that_reads_nothing_does_not_hold_up_the_end(
    live_settings: Settings, redis: Any, user: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(websocket, "CLOSE_TIMEOUT_SECONDS", 0.3)
    app = create_app(live_settings)
    async with serve(app) as port:
        _, writer = await _bare_handshake(port, user)
        writer.transport.pause_reading()  # type: ignore[attr-defined]  # a socket's transport
        for start in range(0, 200, 20):
            await publish(redis, user, *range(start, start + 20), size=60_000)
        await until(lambda: len(app.state.hub) == 0)  # 1013 is on its way, behind what nobody reads
        started = time.monotonic()
    assert time.monotonic() - started < 3
    writer.close()
