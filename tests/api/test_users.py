"""Accounts through the API."""

import asyncio
import json
from typing import Any
from uuid import uuid4

import pytest
from fastapi import FastAPI
from httpx import AsyncClient, Response

from tests.api.conftest import PASSWORD, MakePerson, Person

USERS = "/api/v1/users/"
ME = "/api/v1/users/me"
LOGIN = "/api/v1/auth/login"
NEW_PASSWORD = "another strong one"
MEMBERS = {"id", "email", "is_active", "is_superuser", "created_at", "updated_at"}


@pytest.fixture(autouse=True)
def no_local_counts(app: FastAPI) -> None:
    """Forget what the process counted by itself, for when Redis is away: every test comes from the same address."""
    for counts in app.state.resources.limits._counts.values():
        counts.clear()


def an_account(**members: Any) -> dict[str, Any]:
    """Return the body of a registration."""
    return {"email": f"{uuid4().hex}@example.com", "password": "strongpassword", **members}


def pointers(response: Response) -> list[str]:
    """Return where a 422 found faults."""
    assert response.status_code == 422, response.text
    return [error["pointer"] for error in response.json()["errors"]]


def problem_of(response: Response) -> tuple[int, str]:
    """Return an answer's status and type."""
    assert response.headers["content-type"] == "application/problem+json"
    return response.status_code, response.json()["type"]


async def signs_in(client: AsyncClient, email: str, password: str) -> bool:
    """Tell whether an address and a password open a session."""
    response = await client.post(LOGIN, data={"username": email, "password": password})
    return response.status_code == 200


# --- registration --------------------------------------------------------------------------------------------------------------


async def test_a_registration_answers_201_with_the_account(client: AsyncClient) -> None:
    response = await client.post(USERS, json={"email": "test@example.com", "password": "strongpassword", "is_active": True})
    assert response.status_code == 201, response.text
    made = response.json()
    assert (made["email"], made["is_active"], made["is_superuser"]) == ("test@example.com", True, False)
    assert set(made) == MEMBERS
    assert response.headers["location"] == f"{USERS}{made['id']}"
    assert await signs_in(client, "test@example.com", "strongpassword")


async def test_a_registration_promises_one_welcome_mail(client: AsyncClient, superuser_connection: Any) -> None:
    made = (await client.post(USERS, json=an_account(), headers={"X-Request-ID": "the-registration"})).json()
    promised = await superuser_connection.fetch("SELECT kind, name, payload, headers FROM outbox")
    assert [(row["kind"], row["name"], json.loads(row["payload"])) for row in promised] == [
        ("task", "app.tasks.email_tasks.send_welcome_email", {"user_id": made["id"]})
    ]
    assert json.loads(promised[0]["headers"])["request_id"] == "the-registration"


async def test_an_address_is_taken_whatever_its_case_and_nothing_is_promised_for_it(
    client: AsyncClient, user: Person, superuser_connection: Any
) -> None:
    response = await client.post(USERS, json=an_account(email=user.email.upper()))
    assert problem_of(response) == (409, "/errors/email-taken")
    assert await superuser_connection.fetchval("SELECT count(*) FROM outbox") == 0


async def test_of_registrations_at_once_one_gets_the_address(client: AsyncClient, superuser_connection: Any) -> None:
    body = an_account()
    responses = await asyncio.gather(*(client.post(USERS, json=body) for _ in range(4)))
    assert sorted(response.status_code for response in responses) == [201, 409, 409, 409]
    assert await superuser_connection.fetchval("SELECT count(*) FROM outbox") == 1


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"email": "nobody"}, "/email"),
        ({"email": f"{'x' * 250}@example.com"}, "/email"),
        ({"email": None}, "/email"),
        ({"password": "short77"}, "/password"),
        ({"password": "password1"}, "/password"),
        ({"password": "with\0nul-in-it"}, "/password"),
        ({"password": "x" * 1025}, "/password"),
        ({"password": 12345678901}, "/password"),
        ({"is_active": "perhaps"}, "/is_active"),
        ({"misspelt": 1}, "/misspelt"),
    ],
)
async def test_a_registration_against_the_rules_is_422(client: AsyncClient, change: dict[str, Any], pointer: str) -> None:
    assert pointers(await client.post(USERS, json=an_account(**change))) == [pointer]


async def test_a_422_does_not_repeat_the_password(client: AsyncClient) -> None:
    response = await client.post(USERS, json=an_account(password="pass1", email="pass1"))
    assert response.status_code == 422
    assert "pass1" not in response.text


@pytest.mark.parametrize("claim", [{"is_superuser": True}, {"is_superuser": False}, {"is_active": False}])
async def test_nobody_but_a_superuser_decides_on_rights(client: AsyncClient, user: Person, claim: dict[str, Any], app: FastAPI) -> None:
    assert problem_of(await client.post(USERS, json=an_account(**claim))) == (403, "/errors/forbidden")
    assert problem_of(await user.client.post(USERS, json=an_account(**claim))) == (403, "/errors/forbidden")


async def test_a_superuser_decides_on_rights(superuser: Person) -> None:
    made = (await superuser.client.post(USERS, json=an_account(is_superuser=True, is_active=False))).json()
    assert (made["is_superuser"], made["is_active"]) == (True, False)


async def test_a_registration_with_a_token_that_does_not_hold_is_401(client: AsyncClient) -> None:
    response = await client.post(USERS, json=an_account(), headers={"Authorization": "Bearer nonsense"})
    assert response.status_code == 401


async def test_after_a_hundred_registrations_an_address_registers_nobody(app: FastAPI, client: AsyncClient, superuser: Person) -> None:
    for _ in range(100):
        await app.state.resources.limits.count("registration", "127.0.0.1")
    refused = await client.post(USERS, json=an_account())
    assert problem_of(refused) == (429, "/errors/too-many-requests")
    assert 0 < int(refused.headers["retry-after"]) <= 3600
    assert (await superuser.client.post(USERS, json=an_account())).status_code == 201


async def test_a_registration_repeated_with_its_idempotency_key_is_answered_from_the_first(
    client: AsyncClient, superuser_connection: Any
) -> None:
    body, headers = an_account(), {"Idempotency-Key": "once"}
    first = await client.post(USERS, json=body, headers=headers)
    again = await client.post(USERS, json=body, headers=headers)
    assert (first.status_code, again.status_code, again.headers["idempotency-replayed"]) == (201, 201, "true")
    assert first.content == again.content
    assert await superuser_connection.fetchval("SELECT count(*) FROM outbox") == 1


# --- one's own account ---------------------------------------------------------------------------------------------------------


async def test_one_reads_ones_own_account(user: Person) -> None:
    me = await user.client.get(ME)
    assert (me.status_code, set(me.json()), me.json()["id"], me.json()["email"]) == (200, MEMBERS, user.id, user.email)
    assert (await user.client.get(f"{USERS}{user.id}")).json() == me.json()


async def test_one_changes_ones_address(client: AsyncClient, user: Person) -> None:
    changed = await user.client.patch(ME, json={"email": "new@example.com"})
    assert (changed.status_code, changed.json()["email"]) == (200, "new@example.com")
    assert changed.json()["updated_at"] > changed.json()["created_at"]
    assert await signs_in(client, "new@example.com", PASSWORD)
    assert not await signs_in(client, user.email, PASSWORD)


async def test_one_may_spell_ones_own_address_anew(user: Person) -> None:
    changed = await user.client.patch(ME, json={"email": user.email.upper()})
    assert changed.status_code == 200


async def test_a_change_of_nothing_changes_nothing(user: Person) -> None:
    assert (await user.client.patch(ME, json={})).json()["email"] == user.email


async def test_an_address_of_somebody_else_is_409_and_counts_as_a_registration(user: Person, other: Person, app: FastAPI) -> None:
    assert problem_of(await user.client.patch(ME, json={"email": other.email})) == (409, "/errors/email-taken")
    for _ in range(99):
        await app.state.resources.limits.count("registration", "127.0.0.1")
    assert (await user.client.patch(ME, json={"email": other.email})).status_code == 429


@pytest.mark.parametrize(
    ("patch", "pointer"),
    [
        ({"is_superuser": True}, "/is_superuser"),
        ({"is_active": False}, "/is_active"),
        ({"password": NEW_PASSWORD}, "/password"),
        ({"id": 1}, "/id"),
        ({"email": "nobody"}, "/email"),
    ],
)
async def test_one_changes_nothing_else_of_oneself(user: Person, patch: dict[str, Any], pointer: str) -> None:
    assert pointers(await user.client.patch(ME, json=patch)) == [pointer]


async def test_an_address_cannot_be_taken_away(user: Person) -> None:
    assert pointers(await user.client.patch(ME, json={"email": None})) == ["/email"]


async def test_a_new_password_ends_all_other_sessions(client: AsyncClient, user: Person, make_person: MakePerson) -> None:
    form = {"username": user.email, "password": PASSWORD}
    elsewhere = {"Authorization": f"Bearer {(await client.post(LOGIN, data=form)).json()['access_token']}"}
    assert (await client.get(ME, headers=elsewhere)).status_code == 200
    changed = await user.client.post(f"{ME}/password", json={"current_password": PASSWORD, "new_password": NEW_PASSWORD})
    assert (changed.status_code, changed.content) == (204, b"")
    assert (await client.get(ME, headers=elsewhere)).status_code == 401
    assert (await user.client.get(ME)).status_code == 200
    assert await signs_in(client, user.email, NEW_PASSWORD)
    assert not await signs_in(client, user.email, PASSWORD)


async def test_a_wrong_current_password_is_403_and_changes_nothing(client: AsyncClient, user: Person) -> None:
    response = await user.client.post(f"{ME}/password", json={"current_password": "wrong", "new_password": NEW_PASSWORD})
    assert problem_of(response) == (403, "/errors/wrong-password")
    assert await signs_in(client, user.email, PASSWORD)


async def test_who_guesses_the_current_password_is_stopped_like_at_the_sign_in(client: AsyncClient, user: Person) -> None:
    body = {"current_password": "wrong", "new_password": NEW_PASSWORD}
    statuses = [(await user.client.post(f"{ME}/password", json=body)).status_code for _ in range(11)]
    assert statuses == [403] * 10 + [429]
    assert not await signs_in(client, user.email, PASSWORD)


@pytest.mark.parametrize("password", ["short77", "password1"])
async def test_a_new_password_follows_the_rules(user: Person, password: str) -> None:
    response = await user.client.post(f"{ME}/password", json={"current_password": PASSWORD, "new_password": password})
    assert pointers(response) == ["/new_password"]


async def test_of_two_changes_of_the_password_at_once_one_wins(user: Person, client: AsyncClient) -> None:
    bodies = [{"current_password": PASSWORD, "new_password": f"{NEW_PASSWORD} {number}"} for number in range(2)]
    responses = await asyncio.gather(*(user.client.post(f"{ME}/password", json=body) for body in bodies))
    assert sorted(response.status_code for response in responses) in ([204, 409], [204, 403])
    winner = [response.status_code for response in responses].index(204)
    assert await signs_in(client, user.email, bodies[winner]["new_password"])


async def test_who_deletes_the_own_account_is_signed_out_and_cannot_sign_in(client: AsyncClient, user: Person) -> None:
    assert (await user.client.delete(ME)).status_code == 204
    assert (await user.client.get(ME)).status_code == 401
    assert not await signs_in(client, user.email, PASSWORD)


async def test_the_address_of_a_deleted_account_is_free(client: AsyncClient, user: Person) -> None:
    await user.client.delete(ME)
    assert (await client.post(USERS, json=an_account(email=user.email))).status_code == 201


# --- others' accounts ----------------------------------------------------------------------------------------------------------


async def test_somebody_elses_account_is_404(user: Person, other: Person) -> None:
    assert problem_of(await user.client.get(f"{USERS}{other.id}")) == (404, "/errors/not-found")


@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
async def test_only_a_superuser_changes_and_deletes_accounts(user: Person, other: Person, method: str) -> None:
    for account in (other.id, user.id):
        response = await user.client.request(method, f"{USERS}{account}", json={"is_superuser": True} if method == "PATCH" else None)
        assert problem_of(response) == (403, "/errors/forbidden")


async def test_a_superuser_reads_changes_and_deletes_any_account(superuser: Person, user: Person) -> None:
    path = f"{USERS}{user.id}"
    assert (await superuser.client.get(path)).json()["email"] == user.email
    changed = await superuser.client.patch(path, json={"email": "renamed@example.com", "is_superuser": True})
    assert (changed.json()["email"], changed.json()["is_superuser"]) == ("renamed@example.com", True)
    assert (await user.client.get(USERS)).status_code == 200
    assert (await superuser.client.delete(path)).status_code == 204
    assert (await user.client.get(ME)).status_code == 401
    for response in (
        await superuser.client.get(path),
        await superuser.client.patch(path, json={"is_active": True}),
        await superuser.client.delete(path),
    ):
        assert problem_of(response) == (404, "/errors/not-found")


async def test_an_account_that_is_switched_off_is_signed_out_and_on_again_signs_in(
    client: AsyncClient, superuser: Person, user: Person
) -> None:
    path = f"{USERS}{user.id}"
    assert (await user.client.get(ME)).status_code == 200
    assert (await superuser.client.patch(path, json={"is_active": False})).json()["is_active"] is False
    assert (await user.client.get(ME)).status_code == 401
    assert not await signs_in(client, user.email, PASSWORD)
    await superuser.client.patch(path, json={"is_active": True})
    assert (await user.client.get(ME)).status_code == 401
    assert await signs_in(client, user.email, PASSWORD)


async def test_a_superuser_does_not_give_an_account_the_address_of_another(superuser: Person, user: Person, other: Person) -> None:
    response = await superuser.client.patch(f"{USERS}{user.id}", json={"email": other.email})
    assert problem_of(response) == (409, "/errors/email-taken")


async def test_a_right_is_a_truth_value(superuser: Person, user: Person) -> None:
    patch = {"is_active": None, "is_superuser": "perhaps"}
    assert pointers(await superuser.client.patch(f"{USERS}{user.id}", json=patch)) == ["/is_active", "/is_superuser"]


@pytest.mark.parametrize("number", ["0", "-1", "x", str(2**63)])
async def test_an_id_that_is_none_is_422(superuser: Person, number: str) -> None:
    assert pointers(await superuser.client.get(f"{USERS}{number}")) == ["/user_id"]


@pytest.mark.parametrize(("method", "path"), [("GET", USERS), ("GET", ME), ("PATCH", ME), ("DELETE", ME), ("GET", f"{USERS}1")])
async def test_accounts_are_for_those_who_are_signed_in(client: AsyncClient, method: str, path: str) -> None:
    response = await client.request(method, path, json={} if method == "PATCH" else None)
    assert (response.status_code, response.headers["www-authenticate"]) == (401, "Bearer")


# --- the listing ---------------------------------------------------------------------------------------------------------------


async def test_only_a_superuser_lists_accounts(user: Person) -> None:
    assert problem_of(await user.client.get(USERS)) == (403, "/errors/forbidden")


async def test_accounts_are_listed_in_the_order_of_their_ids_page_by_page_and_back(superuser: Person, make_person: MakePerson) -> None:
    ids = [superuser.id, *[(await make_person()).id for _ in range(6)]]
    path, back, pages = f"{USERS}?limit=3", "", list[list[int]]()
    while path:
        response = await superuser.client.get(path)
        pages.append([account["id"] for account in response.json()])
        path, back = (response.links.get(relation, {}).get("url", "") for relation in ("next", "prev"))
    assert pages == [ids[:3], ids[3:6], ids[6:]]
    response = await superuser.client.get(back)
    assert [account["id"] for account in response.json()] == ids[3:6]
    response = await superuser.client.get(response.links["prev"]["url"])
    assert [account["id"] for account in response.json()] == ids[:3]
    assert "prev" not in response.links


async def test_a_listing_passes_over_as_many_as_asked_and_leaves_out_who_was_deleted(superuser: Person, make_person: MakePerson) -> None:
    people = [await make_person() for _ in range(3)]
    await superuser.client.delete(f"{USERS}{people[1].id}")
    listed = (await superuser.client.get(USERS, params={"skip": 1})).json()
    assert [account["id"] for account in listed] == [people[0].id, people[2].id]
    assert {tuple(account) for account in listed} == {("id", "email", "is_active", "is_superuser", "created_at", "updated_at")}


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ({"limit": 101}, "/limit"),
        ({"limit": 0}, "/limit"),
        ({"skip": 10_001}, "/skip"),
        ({"cursor": "forged"}, "/cursor"),
        ({"misspelt": 1}, "/misspelt"),
    ],
)
async def test_a_question_against_the_rules_is_422(superuser: Person, query: dict[str, Any], pointer: str) -> None:
    assert pointers(await superuser.client.get(USERS, params=query)) == [pointer]


async def test_a_cursor_does_not_go_with_skip(superuser: Person, make_person: MakePerson) -> None:
    await make_person()
    path = (await superuser.client.get(USERS, params={"limit": 1})).links["next"]["url"]
    assert pointers(await superuser.client.get(f"{path}&skip=1")) == ["/skip"]


async def test_a_change_is_documented_as_members_that_may_be_left_out_but_not_null(client: AsyncClient) -> None:
    schemas = (await client.get("/api/v1/openapi.json")).json()["components"]["schemas"]
    assert schemas["UserPatch"].get("required", []) == []
    assert {name: member["type"] for name, member in schemas["UserPatch"]["properties"].items()} == {
        "email": "string",
        "is_active": "boolean",
        "is_superuser": "boolean",
    }


# --- what it costs -------------------------------------------------------------------------------------------------------------


async def test_a_request_with_a_remembered_token_costs_one_statement_and_nothing_of_redis(
    user: Person, valkey: Any, statements: list[str]
) -> None:
    for _ in range(2):  # remembers the token, then leases its user's share of the limit
        await user.client.get(ME)
    statements.clear()
    before = await commands_by_tests(valkey)
    assert (await user.client.get(ME)).status_code == 200
    after = await commands_by_tests(valkey)
    assert after == before
    assert len([text for text in statements if "security_changed_at >" not in text]) == 1


async def commands_by_tests(valkey: Any) -> dict[str, int]:
    """Return how many commands Valkey has worked on that are not about its connections."""
    counted = await valkey.info("commandstats")
    return {name: each["calls"] for name, each in counted.items() if name not in {"cmdstat_info", "cmdstat_ping"}}
