"""Requests with an Idempotency-Key take effect once."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import func, select, text, update

from app.core.database import Database
from app.core.http.idempotency import ANSWERS
from app.models import IdempotencyKey, Item, User
from tests.api.conftest import Person

ITEMS = "/api/v1/items/"
KEY = {"Idempotency-Key": "a key"}


async def count(database: Database, model: type[Any]) -> int:
    """Rows of a table."""
    async with database.read() as session:
        return (await session.scalar(select(func.count()).select_from(model))) or 0


def multipart(boundary: str, content: str = "title\nfirst\n") -> dict[str, Any]:
    """A multipart request with one file."""
    body = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="a.csv"\r\nContent-Type: text/csv\r\n\r\n'
        f"{content}\r\n--{boundary}--\r\n"
    )
    return {"content": body.encode(), "headers": KEY | {"Content-Type": f"multipart/form-data; boundary={boundary}"}}


async def test_the_same_request_again_gets_the_same_answer_and_has_no_second_effect(user: Person, database: Database) -> None:
    first = await user.client.post(ITEMS, json={"title": "one"}, headers=KEY)
    again = await user.client.post(ITEMS, json={"title": "one"}, headers=KEY)
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.content == first.content
    for name in ("etag", "location", "content-type"):
        assert again.headers[name] == first.headers[name]
    assert "idempotency-replayed" not in first.headers
    assert again.headers["idempotency-replayed"] == "true"
    assert again.headers["x-request-id"] != first.headers["x-request-id"]
    assert await count(database, Item) == 1


async def test_the_same_key_with_another_body_is_refused(user: Person, database: Database) -> None:
    await user.client.post(ITEMS, json={"title": "one"}, headers=KEY)
    response = await user.client.post(ITEMS, json={"title": "two"}, headers=KEY)
    assert response.status_code == 422
    assert response.json()["type"] == "/errors/idempotency-key-reused"
    assert await count(database, Item) == 1


async def test_keys_of_others_and_of_other_routes_are_other_keys(user: Person, other: Person, database: Database) -> None:
    await user.client.post(ITEMS, json={"title": "one"}, headers=KEY)
    theirs = await other.client.post(ITEMS, json={"title": "one"}, headers=KEY)
    elsewhere = await user.client.post(f"{ITEMS}batch", json=[{"title": "one"}], headers=KEY)
    assert "idempotency-replayed" not in theirs.headers
    assert elsewhere.status_code == 201
    assert await count(database, Item) == 3


async def test_of_twins_at_the_same_time_one_takes_effect(user: Person, database: Database) -> None:
    responses = await asyncio.gather(*(user.client.post(ITEMS, json={"title": "one"}, headers=KEY) for _ in range(5)))
    statuses = sorted(response.status_code for response in responses)
    assert statuses[0] == 201
    assert set(statuses) <= {201, 409}
    assert len({response.content for response in responses if response.status_code == 201}) == 1
    assert await count(database, Item) == 1


@pytest.fixture
async def held_key(user: Person, database: Database, superuser_connection: Any) -> AsyncGenerator[None]:
    """A key whose request is still being worked on."""
    await user.client.post(ITEMS, json={"title": "one"}, headers=KEY)
    async with database.read() as session:
        key_hash = await session.scalar(select(IdempotencyKey.key_hash))
    assert key_hash is not None
    lock = int.from_bytes(key_hash[:8], signed=True)
    await superuser_connection.execute("SELECT pg_advisory_lock($1)", lock)
    yield
    await superuser_connection.execute("SELECT pg_advisory_unlock($1)", lock)


async def test_the_twin_of_a_request_under_way_is_told_to_wait(user: Person, held_key: None) -> None:
    response = await user.client.post(ITEMS, json={"title": "one"}, headers=KEY)
    assert response.status_code == 409
    assert response.json()["type"] == "/errors/idempotency-in-progress"


async def test_an_error_is_not_stored(user: Person, database: Database) -> None:
    refused = await user.client.post(ITEMS, json={"title": ""}, headers=KEY)
    assert refused.status_code == 422
    assert await count(database, IdempotencyKey) == 0
    assert (await user.client.post(ITEMS, json={"title": "one"}, headers=KEY)).status_code == 201


async def test_where_the_answer_cannot_be_stored_nothing_has_happened(user: Person, database: Database, superuser_connection: Any) -> None:
    await superuser_connection.execute("ALTER TABLE idempotency_keys ADD CONSTRAINT never CHECK (status <> 201)")
    try:
        response = await user.client.post(ITEMS, json={"title": "one"}, headers=KEY)
    finally:
        await superuser_connection.execute("ALTER TABLE idempotency_keys DROP CONSTRAINT never")
    assert response.status_code >= 400
    assert await count(database, Item) == 0


async def test_where_the_effect_fails_at_the_commit_no_answer_is_stored(
    user: Person, database: Database, superuser_connection: Any
) -> None:
    await superuser_connection.execute(
        "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''no''; END';"
        "CREATE CONSTRAINT TRIGGER fail AFTER INSERT ON items DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION fail()"
    )
    try:
        response = await user.client.post(ITEMS, json={"title": "one"}, headers=KEY)
    finally:
        await superuser_connection.execute("DROP TRIGGER fail ON items; DROP FUNCTION fail")
    assert response.status_code == 500
    assert (await count(database, Item), await count(database, IdempotencyKey)) == (0, 0)


async def test_after_a_day_a_key_is_free_again(user: Person, database: Database) -> None:
    await user.client.post(ITEMS, json={"title": "one"}, headers=KEY)
    async with database.write() as session:
        await session.execute(update(IdempotencyKey).values(created_at=text("now() - interval '25 hours'")))
    response = await user.client.post(ITEMS, json={"title": "two"}, headers=KEY)
    assert (response.status_code, response.json()["title"]) == (201, "two")
    again = await user.client.post(ITEMS, json={"title": "two"}, headers=KEY)
    assert again.headers["idempotency-replayed"] == "true"


@pytest.mark.parametrize("key", ["", "x" * 256, "caf\xe9", "a\tb"])
async def test_a_key_has_1_to_255_printable_characters(user: Person, key: str) -> None:
    response = await user.client.post(ITEMS, json={"title": "one"}, headers={b"Idempotency-Key": key.encode("latin-1")})
    assert response.status_code == 422
    assert response.json()["errors"][0]["pointer"] == "/Idempotency-Key"


@pytest.mark.parametrize("key", ["x", "x" * 255, '"quoted" ~!'])
async def test_any_such_key_will_do(user: Person, key: str) -> None:
    assert (await user.client.post(ITEMS, json={"title": "one"}, headers={"Idempotency-Key": key})).status_code == 201


async def test_two_keys_are_one_too_many(user: Person, client: httpx.AsyncClient) -> None:
    headers = [("Idempotency-Key", "a"), ("Idempotency-Key", "b"), *user.headers.items()]
    response = await client.post(ITEMS, json={"title": "one"}, headers=headers)
    assert response.status_code == 422


async def test_who_is_not_signed_in_is_known_by_the_address(app: FastAPI, client: httpx.AsyncClient, database: Database) -> None:
    body = {"email": "test@example.com", "password": "strongpassword", "is_active": True}
    first = await client.post("/api/v1/users/", json=body, headers=KEY)
    again = await client.post("/api/v1/users/", json=body, headers=KEY)
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.headers["idempotency-replayed"] == "true"
    assert await count(database, User) == 1
    elsewhere = httpx.AsyncClient(transport=httpx.ASGITransport(app, client=("192.0.2.1", 1)), base_url="http://127.0.0.1")
    async with elsewhere:
        assert (await elsewhere.post("/api/v1/users/", json=body, headers=KEY)).status_code == 409


async def test_a_multipart_body_is_compared_by_its_parts(user: Person) -> None:
    first = await user.client.post(f"{ITEMS}imports", **multipart("one"))
    again = await user.client.post(f"{ITEMS}imports", **multipart("two"))
    different = await user.client.post(f"{ITEMS}imports", **multipart("one", "title\nsecond\n"))
    assert (first.status_code, again.status_code, different.status_code) == (202, 202, 422)
    assert again.json()["id"] == first.json()["id"]
    assert again.headers["idempotency-replayed"] == "true"


async def test_a_batch_takes_effect_once(user: Person, database: Database) -> None:
    body = [{"title": "one"}, {"title": "two"}]
    first = await user.client.post(f"{ITEMS}batch", json=body, headers=KEY)
    again = await user.client.post(f"{ITEMS}batch", json=body, headers=KEY)
    assert first.content == again.content
    assert await count(database, Item) == 2


async def test_a_key_on_a_route_that_does_not_create_changes_nothing(user: Person, database: Database) -> None:
    made = (await user.client.post(ITEMS, json={"title": "one"})).json()
    for title in ("two", "three"):
        response = await user.client.patch(f"{ITEMS}{made['id']}", json={"title": title}, headers=KEY)
        assert response.json()["title"] == title
    assert await count(database, IdempotencyKey) == 0


def test_the_table_is_the_models() -> None:
    described = {(column.name, type(column.type)) for column in ANSWERS.columns}
    assert described == {(column.name, type(column.type)) for column in IdempotencyKey.__table__.columns}
