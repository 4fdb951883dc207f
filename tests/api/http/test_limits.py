"""Rate limits as clients meet them."""

from hashlib import blake2b
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from app.core.http.policies import POLICIES
from tests.api.conftest import PASSWORD, Person, client_of

ITEMS = "/api/v1/items/"


async def exhaust(valkey: Any, policy: str, subject: int | str) -> None:
    """Use up a quota."""
    key = f"limit:{policy}:{blake2b(str(subject).encode(), digest_size=16).hexdigest()}"
    await valkey.set(key, POLICIES[policy].quota, ex=30)


async def test_an_answer_says_how_its_caller_stands(user: Person) -> None:
    response = await user.client.get(ITEMS)
    assert response.headers["ratelimit-policy"] == '"read";q=60000;w=60'
    assert response.headers["ratelimit"].startswith('"read";r=59')
    response = await user.client.post(ITEMS, json={"title": "one"})
    assert response.headers["ratelimit-policy"] == '"write";q=30000;w=60'


@pytest.mark.parametrize(("method", "policy"), [("GET", "read"), ("POST", "write")])
async def test_who_is_over_the_limit_is_told_when_to_come_back(
    app: FastAPI, user: Person, other: Person, valkey: object, method: str, policy: str
) -> None:
    await user.client.get("/api/v1/users/me")  # makes the token known: until then it is the address that counts
    await exhaust(valkey, policy, user.id)
    limits: Any = app.state.resources.limits
    limits._leases[policy].pop(user.id, None)
    response = await user.client.request(method, ITEMS, json={"title": "one"})
    assert response.status_code == 429
    assert response.json()["type"] == "/errors/too-many-requests"
    assert 1 <= int(response.headers["retry-after"]) <= 31
    assert response.headers.get_list("ratelimit-policy") == [f'"{policy}";q={POLICIES[policy].quota};w=60']
    assert response.headers["ratelimit"].startswith(f'"{policy}";r=0;t=')
    assert (await other.client.request(method, ITEMS, json={"title": "one"})).is_success


async def test_who_is_not_signed_in_is_counted_by_the_address(app: FastAPI, valkey: object) -> None:
    await exhaust(valkey, "read", "192.0.2.77")

    def client(address: str) -> httpx.AsyncClient:
        transport = httpx.ASGITransport(app, client=(address, 1))
        return httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1")

    async with client("192.0.2.77") as over, client("192.0.2.78") as under:
        assert (await over.get("/nowhere")).status_code == 429
        assert (await over.get("/health/live")).status_code == 200
        assert (await under.get("/nowhere")).status_code == 404


async def test_the_hundred_and_first_registration_from_an_address_is_refused(
    app: FastAPI, client: httpx.AsyncClient, valkey: object
) -> None:
    await exhaust(valkey, "registration", "127.0.0.1")
    response = await client.post("/api/v1/users/", json={"email": "new@example.com", "password": "strongpassword"})
    assert response.status_code == 429
    assert int(response.headers["retry-after"]) >= 1


async def test_the_eleventh_wrong_password_is_not_even_tried(app: FastAPI, user: Person, valkey: object) -> None:
    async with client_of(app) as client:
        form = {"username": user.email, "password": "wrong password"}
        statuses = [(await client.post("/api/v1/auth/login", data=form)).status_code for _ in range(11)]
        right = await client.post("/api/v1/auth/login", data=form | {"password": PASSWORD})
    assert statuses == [401] * 10 + [429]
    assert right.status_code == 429
