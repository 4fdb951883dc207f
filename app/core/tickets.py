"""Tickets that open one WebSocket: browsers cannot send a header with it, and an access token has no place in a URL."""

from dataclasses import asdict
from typing import Any, Final, cast
from uuid import UUID

import orjson
from redis.asyncio import Redis

from app.core.errors import Unauthorized
from app.core.security import Principal, hash_opaque_token, new_opaque_token

LIFE_SECONDS: Final = 30


class InvalidTicket(Unauthorized):
    """401: a ticket that was never given, was used, or is over."""

    description = "The ticket is unknown, used or older than 30 seconds. Get a new one with `POST /api/v1/ws/tickets`."


async def issue(redis: Redis, principal: Principal) -> str:
    """Return a fresh ticket that stands for the caller once, within ``LIFE_SECONDS``. Redis keeps its hash alone.

    Raises:
        redis.exceptions.RedisError: if Redis does not answer.
    """
    ticket = new_opaque_token()
    await redis.set(_key(ticket), orjson.dumps(asdict(principal)), ex=LIFE_SECONDS)
    return ticket


async def redeem(redis: Redis, ticket: str) -> Principal:
    """Return whom a ticket stands for; it is used up by asking.

    Raises:
        InvalidTicket: if it does not hold.
        redis.exceptions.RedisError: if Redis does not answer.
    """
    # GETDEL is one step: of two that present the same ticket at the same moment, one gets in.
    found = cast("bytes | None", await redis.getdel(_key(ticket)))
    if found is None:
        raise InvalidTicket
    members: dict[str, Any] = orjson.loads(found)
    members["session_id"] = UUID(members["session_id"])
    return Principal(**members)


def _key(ticket: str) -> str:
    return f"ticket:{hash_opaque_token(ticket).hex()}"
