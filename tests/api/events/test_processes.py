"""Several processes of the API: what happens in one reaches the sockets of all."""

import asyncio
import time
from typing import Any

import httpx

from tests.api.conftest import Person
from tests.api.events.conftest import AT, ApiProcess, LocalApi, close_code, numbers, publish, receive


async def test_every_socket_of_a_user_in_every_process_sees_an_event(api: LocalApi, process: ApiProcess, redis: Any, user: Person) -> None:
    async with api.connect(user) as a, api.connect(user) as b, process.connect(user) as c:
        await publish(redis, user, 7)
        frames = [await receive(socket) for socket in (a, b, c)]

    assert frames[0] == frames[1] == frames[2]
    assert set(frames[0]) == {"id", "type", "at", "data"}
    assert (frames[0]["type"], frames[0]["at"], frames[0]["data"]["n"]) == ("item.created", AT, 7)


async def test_a_revoked_session_ends_its_sockets_in_every_process_within_a_second(
    api: LocalApi, process: ApiProcess, redis: Any, user: Person
) -> None:
    async with api.connect(user) as a, process.connect(user) as b, httpx.AsyncClient(headers=user.headers) as client:
        started = time.monotonic()
        assert (await client.post(f"{process.url}/auth/logout")).status_code == 204
        for socket in (a, b):
            frame = await receive(socket)
            assert (frame["type"], frame["data"]) == ("session.revoked", {"session_id": str(user.session_id)})
            assert set(frame) == {"id", "type", "at", "data"}
            assert await close_code(socket) == 4401
        assert time.monotonic() - started < 1


async def test_a_stopping_process_closes_its_sockets_with_1012_in_time(process: ApiProcess, redis: Any, user: Person) -> None:
    sockets_ = [await process.connect(user) for _ in range(4)]
    await publish(redis, user, 1)

    started = time.monotonic()
    process.running.process.terminate()
    refused: list[int] = []
    while not refused and process.running.process.poll() is None:
        await asyncio.sleep(0.05)
        refused.append((await process.refusal(user))[0])

    for socket in sockets_:
        assert await numbers(socket, 1) == [1]
        assert await close_code(socket) == 1012
    assert time.monotonic() - started < 3
    assert refused == [503]
    assert await asyncio.to_thread(process.running.process.wait, 10) == 0
