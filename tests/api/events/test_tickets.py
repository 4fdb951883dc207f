"""Tickets: what opens a socket where no header can be sent."""

import asyncio
from typing import Any

import httpx
import websockets

from app.core import tickets
from tests.api.conftest import Person
from tests.api.events.conftest import LocalApi, publish, receive


async def test_a_ticket_opens_a_socket_of_its_owner(api: LocalApi, redis: Any, user: Person) -> None:
    async with api.connect(query=f"?ticket={await api.ticket(user)}") as socket:
        await publish(redis, user, 1)
        assert (await receive(socket))["data"]["n"] == 1


async def test_a_ticket_opens_no_second_socket(api: LocalApi, user: Person) -> None:
    ticket = await api.ticket(user)
    async with api.connect(query=f"?ticket={ticket}"):
        pass

    status, problem, headers = await api.refusal(query=f"?ticket={ticket}")

    assert status == 401
    assert problem["type"] == "/errors/unauthorized"
    assert headers["WWW-Authenticate"] == "Bearer"


async def test_of_several_that_present_a_ticket_at_once_one_gets_in(api: LocalApi, user: Person) -> None:
    ticket = await api.ticket(user)

    async def opens() -> bool:
        try:
            async with api.connect(query=f"?ticket={ticket}"):
                return True
        except websockets.InvalidStatus:
            return False

    assert sum(await asyncio.gather(*(opens() for _ in range(5)))) == 1


async def test_a_ticket_is_gone_after_thirty_seconds(api: LocalApi, redis: Any, user: Person) -> None:
    ticket = await api.ticket(user)
    [key] = await redis.keys("ticket:*")
    assert 29_000 < await redis.pttl(key) <= 30_000
    await redis.pexpire(key, 1)
    await asyncio.sleep(0.01)

    assert (await api.refusal(query=f"?ticket={ticket}"))[0] == 401


async def test_redis_holds_no_ticket_in_the_clear(api: LocalApi, redis: Any, user: Person) -> None:
    ticket = await api.ticket(user)

    [key] = await redis.keys("ticket:*")

    assert ticket.encode() not in key + (await redis.get(key) or b"")
    await tickets.redeem(redis, ticket)


async def test_drawing_a_ticket_needs_an_access_token(api: LocalApi) -> None:
    async with httpx.AsyncClient() as client:
        assert (await client.post(f"{api.url}/ws/tickets")).status_code == 401


async def test_a_drawn_ticket_says_how_long_it_lasts(api: LocalApi, user: Person) -> None:
    async with httpx.AsyncClient(headers=user.headers) as client:
        answer = (await client.post(f"{api.url}/ws/tickets")).json()

    assert answer["expires_in"] == 30
    assert set(answer) == {"ticket", "expires_in"}


async def test_a_ticket_is_no_access_token(api: LocalApi, user: Person) -> None:
    ticket = await api.ticket(user)

    async with httpx.AsyncClient(headers={"Authorization": f"Bearer {ticket}"}) as client:
        assert (await client.get(f"{api.url}/users/me")).status_code == 401
    assert (await api.refusal(headers={"Authorization": f"Bearer {ticket}"}))[0] == 401


async def test_an_access_token_in_the_query_is_not_read(api: LocalApi, user: Person) -> None:
    for name in ("token", "access_token", "authorization", "ticket"):
        assert (await api.refusal(query=f"?{name}={user.token}"))[0] in {401, 422}
