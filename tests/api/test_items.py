"""Items through the API."""

import asyncio
import re
from typing import Any

import pytest
from httpx import AsyncClient, Response

from app.core.encoding import RowEncoder
from app.crud import item as item_crud
from app.crud.item import COLUMNS
from app.schemas.item import Item, ItemQuery
from app.services import items
from tests.api.conftest import Person

ITEMS = "/api/v1/items/"


async def make(person: Person, **members: Any) -> dict[str, Any]:
    """Return an item made by a person."""
    response = await person.client.post(ITEMS, json={"title": "an item", **members})
    assert response.status_code == 201, response.text
    made: dict[str, Any] = response.json()
    return made


def pointers(response: Response) -> list[str]:
    """Return where a 422 found faults."""
    assert response.status_code == 422, response.text
    return [error["pointer"] for error in response.json()["errors"]]


async def test_an_item_is_answered_as_it_was_made(user: Person) -> None:
    attributes = {"colour": "red", "n": 123456789012345678901234567890, "nested": {"list": [1, 2.5, None, True, "é"]}}
    response = await user.client.post(ITEMS, json={"title": 'Tab\t"quoted" \U0001f600', "description": "d", "attributes": attributes})
    assert response.status_code == 201
    made = response.json()
    assert made["title"] == 'Tab\t"quoted" \U0001f600'
    assert made["attributes"] == attributes
    assert (made["owner_id"], made["version"], made["description"]) == (user.id, 1, "d")
    assert response.headers["location"] == f"{ITEMS}{made['id']}"
    assert response.headers["etag"] == '"1"'
    read = await user.client.get(response.headers["location"])
    assert (read.status_code, read.json()) == (200, made)


async def test_what_the_wire_carries_is_what_the_schema_says(user: Person) -> None:
    made = await make(user, description=None, attributes={"a": [1]})
    parsed = Item.model_validate(made)
    assert parsed.model_dump(mode="json").keys() == made.keys()
    assert parsed.created_at == parsed.updated_at
    assert parsed.created_at.utcoffset() is not None


def test_a_schema_that_differs_from_its_columns_is_refused() -> None:
    with pytest.raises(TypeError, match="Item has the fields"):
        RowEncoder(Item, COLUMNS[1:])


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ({}, ["/title"]),
        ({"title": ""}, ["/title"]),
        ({"title": "x" * 201}, ["/title"]),
        ({"title": None}, ["/title"]),
        ({"title": 5}, ["/title"]),
        ({"title": "a\x00b"}, ["/title"]),
        ({"title": "a", "description": "x" * 10_001}, ["/description"]),
        ({"title": "a", "attributes": []}, ["/attributes"]),
        ({"title": "a", "attributes": {"k": "\x00"}}, ["/attributes"]),
        ({"title": "a", "attributes": {"k": "x" * 16_384}}, ["/attributes"]),
        ({"title": "a", "owner_id": 1}, ["/owner_id"]),
        ({"title": "", "description": 1}, ["/title", "/description"]),
        ([], [""]),
    ],
)
async def test_a_body_against_the_rules_is_refused_where_it_is_wrong(user: Person, body: Any, where: list[str]) -> None:
    assert pointers(await user.client.post(ITEMS, json=body)) == where


@pytest.mark.parametrize("value", ['"\\ud800"', "NaN", "Infinity", "1e400", '{"a": {"b": NaN}}'])
async def test_values_that_postgresql_cannot_hold_are_refused(user: Person, value: str) -> None:
    body = f'{{"title": "a", "attributes": {{"k": {value}}}}}'
    response = await user.client.post(ITEMS, content=body, headers={"Content-Type": "application/json"})
    assert response.status_code == 422, response.text


async def test_numbers_keep_their_value(user: Person) -> None:
    attributes = {"big": 10**300, "small": 5e-324, "large": 1.7976931348623157e308, "negative": -(2**64)}
    made = await make(user, attributes=attributes)
    # PostgreSQL writes every digit of a large number, so that JSON gives it back as an integer.
    assert {**made["attributes"], "large": float(made["attributes"]["large"])} == attributes


@pytest.mark.parametrize(
    ("body", "status"), [("{", 400), ('{"title": "a",}', 400), (b'{"title": "\xff"}', 400), ("[" * 65 + "]" * 65, 422)]
)
async def test_a_body_that_cannot_be_read_is_refused(user: Person, body: str | bytes, status: int) -> None:
    response = await user.client.post(ITEMS, content=body, headers={"Content-Type": "application/json"})
    assert (response.status_code, response.headers["content-type"]) == (status, "application/problem+json")


async def test_a_body_of_another_type_is_refused(user: Person) -> None:
    response = await user.client.post(ITEMS, content="title=a", headers={"Content-Type": "application/x-www-form-urlencoded"})
    assert response.status_code == 415


@pytest.mark.parametrize("item_id", ["abc", "0", "-1", "1.5", str(2**63), "1" * 400])
async def test_an_id_that_cannot_be_is_refused(user: Person, item_id: str) -> None:
    assert pointers(await user.client.get(ITEMS + item_id)) == ["/item_id"]


async def test_somebody_elses_item_is_not_found(user: Person, other: Person) -> None:
    path = f"{ITEMS}{(await make(user))['id']}"
    answers = [await other.client.get(path), await other.client.patch(path, json={"title": "mine"}), await other.client.delete(path)]
    assert [answer.status_code for answer in answers] == [404, 404, 404]
    assert (await user.client.get(path)).json()["title"] == "an item"


async def test_a_superuser_acts_on_anybodys_item(user: Person, superuser: Person) -> None:
    path = f"{ITEMS}{(await make(user))['id']}"
    assert (await superuser.client.get(path)).status_code == 200
    changed = await superuser.client.patch(path, json={"title": "changed"})
    assert (changed.json()["title"], changed.json()["owner_id"]) == ("changed", user.id)
    listed = await superuser.client.get(ITEMS, params={"owner_id": user.id})
    assert [item["title"] for item in listed.json()] == ["changed"]
    assert (await superuser.client.delete(path)).status_code == 204


async def test_only_a_superuser_lists_other_peoples_items(user: Person, other: Person) -> None:
    assert (await other.client.get(ITEMS, params={"owner_id": user.id})).status_code == 403
    assert (await other.client.get(ITEMS, params={"owner_id": other.id})).status_code == 200


async def test_nobody_signed_in_gets_nothing(client: AsyncClient) -> None:
    answers = [await client.get(ITEMS), await client.post(ITEMS, json={"title": "a"}), await client.get(f"{ITEMS}1")]
    assert [answer.status_code for answer in answers] == [401, 401, 401]


# --- changing ------------------------------------------------------------------------------------------------------------------


async def test_a_merge_patch_changes_what_it_names(user: Person) -> None:
    made = await make(user, description="text", attributes={"a": 1, "b": {"c": 1, "d": 2}})
    path = f"{ITEMS}{made['id']}"
    patch = {"attributes": {"a": None, "b": {"c": None, "e": 3}, "f": [1]}}
    changed = await user.client.patch(path, json=patch, headers={"Content-Type": "application/merge-patch+json"})
    assert changed.json()["attributes"] == {"b": {"d": 2, "e": 3}, "f": [1]}
    assert (changed.json()["title"], changed.json()["description"], changed.json()["version"]) == ("an item", "text", 2)
    assert changed.headers["etag"] == '"2"'
    assert changed.json()["updated_at"] > changed.json()["created_at"]
    cleared = await user.client.patch(path, json={"description": None, "attributes": None})
    assert (cleared.json()["description"], cleared.json()["attributes"]) == (None, {})


@pytest.mark.parametrize("title", [None, "", 5, "x" * 201])
async def test_a_title_can_be_changed_but_not_cleared(user: Person, title: Any) -> None:
    path = f"{ITEMS}{(await make(user))['id']}"
    assert pointers(await user.client.patch(path, json={"title": title})) == ["/title"]


async def test_a_patch_that_changes_nothing_leaves_the_version_alone(user: Person) -> None:
    made = await make(user, attributes={"a": 1})
    for patch in ({}, {"title": "an item"}, {"attributes": {"a": 1, "x": None}}):
        changed = await user.client.patch(f"{ITEMS}{made['id']}", json=patch)
        assert (changed.status_code, changed.json()) == (200, made)


async def test_attributes_that_grow_too_large_by_a_patch_are_refused(user: Person) -> None:
    made = await make(user, attributes={"a": "x" * 10_000})
    assert pointers(await user.client.patch(f"{ITEMS}{made['id']}", json={"attributes": {"b": "x" * 10_000}})) == ["/attributes"]


async def test_a_lost_update_is_refused(user: Person) -> None:
    path = f"{ITEMS}{(await make(user))['id']}"
    first = await user.client.patch(path, json={"title": "first"}, headers={"If-Match": '"1"'})
    second = await user.client.patch(path, json={"title": "second"}, headers={"If-Match": '"1"'})
    weak = await user.client.patch(path, json={"title": "weak"}, headers={"If-Match": 'W/"2"'})
    anything = await user.client.patch(path, json={"title": "anything"}, headers={"If-Match": "*"})
    several = await user.client.patch(path, json={"title": "several"}, headers={"If-Match": '"7", "3"'})
    assert [answer.status_code for answer in (first, second, weak, anything, several)] == [200, 412, 412, 200, 200]


async def test_a_version_the_client_has_is_not_sent_again(user: Person) -> None:
    path = f"{ITEMS}{(await make(user))['id']}"
    same = await user.client.get(path, headers={"If-None-Match": 'W/"1"'})
    assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", '"1"')
    assert (await user.client.get(path, headers={"If-None-Match": '"2"'})).status_code == 200


async def test_a_deleted_item_is_gone(user: Person) -> None:
    path = f"{ITEMS}{(await make(user))['id']}"
    assert (await user.client.delete(path, headers={"If-Match": '"9"'})).status_code == 412
    deleted = await user.client.delete(path, headers={"If-Match": '"1"'})
    assert (deleted.status_code, deleted.content) == (204, b"")
    assert [(await user.client.get(path)).status_code, (await user.client.delete(path)).status_code] == [404, 404]


# --- batches -------------------------------------------------------------------------------------------------------------------


async def test_a_batch_is_answered_in_its_order(user: Person) -> None:
    titles = [f"t{number}" for number in range(100)]
    response = await user.client.post(f"{ITEMS}batch", json=[{"title": title, "attributes": {"t": title}} for title in titles])
    assert response.status_code == 201
    assert [item["title"] for item in response.json()] == titles
    assert [item["attributes"]["t"] for item in response.json()] == titles


async def test_a_batch_with_a_fault_makes_nothing(user: Person) -> None:
    response = await user.client.post(f"{ITEMS}batch", json=[{"title": "good"}, {"title": ""}, {}])
    assert pointers(response) == ["/1/title", "/2/title"]
    assert (await user.client.get(ITEMS)).json() == []


@pytest.mark.parametrize("count", [0, 101])
async def test_a_batch_has_1_to_100_items(user: Person, count: int) -> None:
    assert pointers(await user.client.post(f"{ITEMS}batch", json=[{"title": "a"}] * count)) == [""]


# --- listing -------------------------------------------------------------------------------------------------------------------


async def pages(person: Person, **query: Any) -> list[list[str]]:
    """Return the titles of every page of a listing, following ``next``."""
    found: list[list[str]] = []
    response = await person.client.get(ITEMS, params=query)
    while True:
        assert response.status_code == 200, response.text
        found.append([item["title"] for item in response.json()])
        if "next" not in response.links:
            return found
        response = await person.client.get(response.links["next"]["url"])


SORTS = ["created_at", "-created_at", "updated_at", "-updated_at", "title", "-title"]


@pytest.mark.parametrize("sort", SORTS)
async def test_pages_follow_each_other_in_every_order(user: Person, other: Person, sort: str) -> None:
    await make(other, title="not mine")
    for title in ["b", "a", "d", "c", "e"]:
        await make(user, title=title)
    in_order = sorted("badce") if "title" in sort else list("badce")
    expected = in_order[::-1] if sort.startswith("-") else in_order
    assert await pages(user, sort=sort, limit=2) == [expected[:2], expected[2:4], expected[4:]]


async def test_the_newest_come_first_unless_asked_otherwise(user: Person) -> None:
    for title in "abc":
        await make(user, title=title)
    assert await pages(user) == [["c", "b", "a"]]


@pytest.mark.parametrize("sort", SORTS)
async def test_previous_pages_lead_back(user: Person, sort: str) -> None:
    await user.client.post(f"{ITEMS}batch", json=[{"title": f"t{number % 3}"} for number in range(7)])
    forth: list[list[int]] = []
    response = await user.client.get(ITEMS, params={"sort": sort, "limit": 3})
    assert "prev" not in response.links
    while "next" in response.links:
        forth.append([item["id"] for item in response.json()])
        response = await user.client.get(response.links["next"]["url"])
    back: list[list[int]] = []
    while "prev" in response.links:
        response = await user.client.get(response.links["prev"]["url"])
        back.append([item["id"] for item in response.json()])
    assert back == forth[::-1]


async def test_no_row_is_repeated_or_skipped_while_others_insert(user: Person) -> None:
    before = {(await make(user, title=f"t{number}"))["id"] for number in range(6)}
    seen: list[int] = []
    response = await user.client.get(ITEMS, params={"limit": 2})
    while True:
        seen += [item["id"] for item in response.json()]
        await make(user, title="meanwhile")
        if "next" not in response.links:
            break
        response = await user.client.get(response.links["next"]["url"])
    assert sorted(seen) == sorted(before)


async def test_filters_travel_with_the_link_and_bind_the_cursor(user: Person) -> None:
    for number in range(4):
        await make(user, title=f"kept {number}", attributes={"colour": "red"})
    await make(user, title="other", attributes={"colour": "blue"})
    query = {"attributes": '{"colour": "red"}', "q": "kept", "sort": "title", "limit": 3}
    assert await pages(user, **query) == [["kept 0", "kept 1", "kept 2"], ["kept 3"]]
    link = (await user.client.get(ITEMS, params=query)).links["next"]["url"]
    match = re.search("cursor=([^&]*)", link)
    assert match is not None
    for wrong in ({"sort": "-title"}, {**query, "q": "other"}, {"sort": "title"}):
        assert pointers(await user.client.get(ITEMS, params={**wrong, "cursor": match[1]})) == ["/cursor"]


@pytest.mark.parametrize("cursor", ["x", "", "AAAA", "é", "A" * 400, "eyJhIjoxfQ=="])
async def test_a_cursor_that_was_not_made_here_is_refused(user: Person, cursor: str) -> None:
    assert pointers(await user.client.get(ITEMS, params={"cursor": cursor})) == ["/cursor"]


async def test_a_cursor_of_somebody_else_is_refused(user: Person, other: Person) -> None:
    await user.client.post(f"{ITEMS}batch", json=[{"title": "a"}] * 2)
    link = (await user.client.get(ITEMS, params={"limit": 1})).links["next"]["url"]
    assert pointers(await other.client.get(link)) == ["/cursor"]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"q": "quick fox"}, ["one"]),
        ({"q": '"brown fox"'}, ["one"]),
        ({"q": "fox -quick"}, ["two"]),
        ({"q": "two"}, ["two"]),
        ({"q": "'; DROP TABLE items; --"}, []),
        ({"attributes": '{"a": {"b": 1}}'}, ["one"]),
        ({"attributes": '{"a": {}}'}, ["one", "two"]),
        ({"attributes": "{}"}, ["one", "two"]),
        ({"created_after": "2000-01-01T00:00:00Z", "created_before": "2999-01-01T00:00:00Z"}, ["one", "two"]),
        ({"created_before": "2000-01-01T00:00:00Z"}, []),
        ({"skip": 1}, ["two"]),
    ],
)
async def test_a_listing_is_narrowed(user: Person, query: dict[str, Any], found: list[str]) -> None:
    await make(user, title="one", description="the quick brown fox", attributes={"a": {"b": 1, "c": 2}})
    await make(user, title="two", description="a slow fox", attributes={"a": {"b": 2}})
    assert await pages(user, sort="title", **query) == [found]


@pytest.mark.parametrize(
    ("query", "where"),
    [
        ({"limit": 0}, "/limit"),
        ({"limit": 101}, "/limit"),
        ({"skip": 10_001}, "/skip"),
        ({"skip": -1}, "/skip"),
        ({"sort": "owner_id"}, "/sort"),
        ({"attributes": "[1]"}, "/attributes"),
        ({"attributes": "{"}, "/attributes"),
        ({"attributes": '{"a": "\\u0000"}'}, "/attributes"),
        ({"q": "\x00"}, "/q"),
        ({"created_after": "yesterday"}, "/created_after"),
        ({"created_after": "2020-01-01T00:00:00"}, "/created_after"),
        ({"owner_id": 2**63}, "/owner_id"),
        ({"unknown": "x"}, "/unknown"),
    ],
)
async def test_a_question_against_the_rules_is_refused(user: Person, query: dict[str, Any], where: str) -> None:
    assert pointers(await user.client.get(ITEMS, params=query)) == [where]


# --- what follows --------------------------------------------------------------------------------------------------------------


async def test_every_change_is_announced_with_it(user: Person, superuser_connection: Any) -> None:
    made = await make(user, attributes={"a": 1})
    path = f"{ITEMS}{made['id']}"
    changed = (await user.client.patch(path, json={"title": "new"})).json()
    await user.client.delete(path)
    rows = await superuser_connection.fetch("SELECT name, user_id, payload::text FROM outbox ORDER BY id")
    told = [
        (row["name"], row["user_id"], Item.model_validate_json(row["payload"]) if row["name"] != "item.deleted" else row["payload"])
        for row in rows
    ]
    deleted = f'{{"id": {made["id"]}}}'
    assert told == [
        ("item.created", user.id, Item.model_validate(made)),
        ("item.updated", user.id, Item.model_validate(changed)),
        ("item.deleted", user.id, deleted),
    ]


async def test_a_repeated_request_with_its_key_makes_one_item(user: Person) -> None:
    headers = {"Idempotency-Key": "one"}
    first = await user.client.post(ITEMS, json={"title": "once"}, headers=headers)
    again = await user.client.post(ITEMS, json={"title": "once"}, headers=headers)
    other_body = await user.client.post(ITEMS, json={"title": "twice"}, headers=headers)
    assert (first.status_code, again.status_code, other_body.status_code) == (201, 201, 422)
    assert again.content == first.content
    assert (again.headers["idempotency-replayed"], again.headers["location"]) == ("true", first.headers["location"])
    assert await pages(user) == [["once"]]


async def test_reading_listing_and_creating_take_one_round_trip_each(user: Person, statements: list[str]) -> None:
    made = await make(user)
    statements.clear()
    await user.client.get(f"{ITEMS}{made['id']}")
    await user.client.get(ITEMS)
    await make(user)
    assert len([text for text in statements if "pg_notify" not in text]) == 3


MANY_ITEMS = """INSERT INTO users (email, password_hash) SELECT n || '@bulk', 'x' FROM generate_series(1, 50) n;
    INSERT INTO items (owner_id, title, description, attributes)
    SELECT u.id, 'title ' || n, 'words ' || n, jsonb_build_object('k', n) FROM users u, generate_series(1, 200) n;
    ANALYZE items"""


async def test_items_read_together_are_found_by_their_key(user: Person, superuser_connection: Any) -> None:
    await superuser_connection.execute(MANY_ITEMS)
    await superuser_connection.execute("SET plan_cache_mode = force_generic_plan")
    ids = list(range(1, 65))
    prepared = await superuser_connection.prepare(f"EXPLAIN {item_crud._GET.several.text}")
    plan = "\n".join(row[0] for row in await prepared.fetch(ids, [user.id] * 64, [False] * 64))
    await superuser_connection.execute("RESET plan_cache_mode")
    assert "Seq Scan" not in plan, plan


async def test_items_made_at_once_are_each_their_own(user: Person, other: Person, statements: list[str]) -> None:
    async def one(person: Person, number: int) -> Any:
        answer = await person.client.post(ITEMS, json={"title": f"{person.id} {number}", "attributes": {"n": number}})
        return answer.status_code, answer.json(), answer.headers["location"]

    asked = [(person, number) for number in range(10) for person in (user, other)]
    answers = await asyncio.gather(*(one(*each) for each in asked))
    for (person, number), (status, item, location) in zip(asked, answers, strict=True):
        assert status == 201
        assert (item["owner_id"], item["title"], item["attributes"]) == (person.id, f"{person.id} {number}", {"n": number})
        assert (await person.client.get(location)).json() == item
    assert any(text == item_crud._CREATE.several.text for text in statements)


@pytest.mark.parametrize("query", ["sort=-created_at", "sort=title", "sort=updated_at", "q=needle", 'attributes={"k": 7}'])
async def test_no_listing_reads_the_whole_table(user: Person, superuser_connection: Any, query: str) -> None:
    await superuser_connection.execute(MANY_ITEMS)
    name, _, value = query.partition("=")
    shape, *values = items._statement(ItemQuery.model_validate({name: value}), user.id, None)
    statement = item_crud._list(shape)
    plan = "\n".join(row[0] for row in await superuser_connection.fetch(f"EXPLAIN {statement.text}", *statement.arguments(values)))
    assert "Seq Scan" not in plan, plan
