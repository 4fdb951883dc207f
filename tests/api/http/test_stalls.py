"""Nothing that a request does holds the event loop."""

import asyncio
import time
from typing import Any

import httpx
import pytest

from app.core.config import Settings
from app.main import create_app
from tests.api.conftest import PASSWORD, Person, client_of
from tests.stalls import LIMIT_SECONDS, no_stall

ITEM = {"title": "a title", "description": "d" * 1000, "attributes": {"numbers": list(range(500))}}


async def test_a_loop_that_is_held_is_noticed() -> None:
    asyncio.get_running_loop().call_soon(time.sleep, LIMIT_SECONDS * 1.5)
    with pytest.raises(AssertionError, match="with waiting"), no_stall():
        await asyncio.sleep(0.01)


async def test_a_loop_that_waits_for_others_is_not_held() -> None:
    with no_stall():
        await asyncio.sleep(LIMIT_SECONDS * 1.5)


@pytest.mark.parametrize("path", ["/docs", "/redoc", "/errors/", "/api/v1/openapi.json", "/health/ready"])
async def test_no_page_holds_the_loop_not_even_the_first_time(settings: Settings, valkey: object, path: str) -> None:
    app = create_app(settings)
    async with app.router.lifespan_context(app), client_of(app) as client:
        await client.get("/")
        with no_stall():
            assert (await client.get(path)).status_code == 200


async def test_signing_in_does_not_hold_the_loop(client: httpx.AsyncClient, user: Person) -> None:
    with no_stall():
        response = await client.post("/api/v1/auth/login", data={"username": user.email, "password": PASSWORD})
        await client.post("/api/v1/users/", json={"email": "new@example.com", "password": "strongpassword"})
    assert response.status_code == 200


async def test_reading_and_writing_items_does_not_hold_the_loop(user: Person) -> None:
    with no_stall():
        made = await user.client.post("/api/v1/items/batch", json=[ITEM] * 100)
        for path in ("", "?limit=100", "?q=title", f"{made.json()[0]['id']}"):
            assert (await user.client.get(f"/api/v1/items/{path}")).status_code == 200
    assert made.status_code == 201


@pytest.mark.parametrize("body", [b"[" * 1_000_000, b"[]" * 500_000, b'{"title":"' + b"x" * 1_000_000 + b'"}', b'"' * 1_000_000])
async def test_the_largest_body_does_not_hold_the_loop(user: Person, body: bytes) -> None:
    headers: dict[str, Any] = {"Content-Type": "application/json"}
    with no_stall():
        response = await user.client.post("/api/v1/items/", content=body, headers=headers)
    assert response.status_code in {400, 422}
