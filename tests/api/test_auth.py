"""Signing in and staying signed in."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any, override
from uuid import UUID

import bcrypt
import pytest
from fastapi import FastAPI
from httpx import ASGITransport, AsyncClient, Response
from jose import jwt

from app.core.config import Settings
from app.core.errors import TooManyRequests
from app.core.passwords import Passwords, Verification
from app.core.security import hash_opaque_token
from app.schemas.token import PasswordGrant
from app.services import auth
from app.services.auth import Client, Guard
from tests.api.conftest import PASSWORD, MakePerson, Person
from tests.unit.test_security import FORGERIES

LOGIN = "/api/v1/auth/login"
REFRESH = "/api/v1/auth/refresh"
LOGOUT = "/api/v1/auth/logout"
SESSIONS = "/api/v1/auth/sessions"
ME = "/api/v1/users/me"


async def sign_in(client: AsyncClient, person: Person, password: str = PASSWORD, **headers: str) -> dict[str, Any]:
    """Return the tokens of a new session."""
    response = await client.post(LOGIN, data={"username": person.email, "password": password}, headers=headers)
    assert response.status_code == 200, response.text
    tokens: dict[str, Any] = response.json()
    return tokens


async def refresh(client: AsyncClient, token: str, **headers: str) -> Response:
    """Present a refresh token."""
    return await client.post(REFRESH, json={"refresh_token": token}, headers=headers)


@pytest.fixture(autouse=True)
def no_local_counts(app: FastAPI) -> None:
    """Forget what the process counted by itself, for when Redis is away: every test comes from the same address."""
    for counts in app.state.resources.limits._counts.values():
        counts.clear()


def bearer(tokens: dict[str, Any]) -> dict[str, str]:
    """Return the header that goes with tokens."""
    return {"Authorization": f"Bearer {tokens['access_token']}"}


def is_oauth_error(response: Response, status: int, slug: str, error: str) -> bool:
    """Tell whether an answer is a problem that OAuth 2.0 libraries understand as well."""
    problem = response.json()
    assert response.headers["content-type"] == "application/problem+json"
    assert problem["error_description"]
    return (response.status_code, problem["type"], problem["error"]) == (status, f"/errors/{slug}", error)


async def age_last_use(superuser_connection: Any, seconds: int) -> None:
    """Make every use of a refresh token older."""
    await superuser_connection.execute("UPDATE refresh_tokens SET used_at = used_at - make_interval(secs => $1)", seconds)


# --- sign-in -------------------------------------------------------------------------------------------------------------------


async def test_an_access_token_of_a_sign_in_opens_the_api(client: AsyncClient, user: Person) -> None:
    tokens = await sign_in(client, user)
    assert set(tokens) == {"access_token", "refresh_token", "token_type", "expires_in"}
    assert (tokens["token_type"], tokens["expires_in"]) == ("bearer", 900)
    me = await client.get(ME, headers=bearer(tokens))
    assert (me.status_code, me.json()["email"]) == (200, user.email)


async def test_tokens_are_not_to_be_stored_by_caches(client: AsyncClient, user: Person) -> None:
    response = await client.post(LOGIN, data={"username": user.email, "password": PASSWORD})
    assert "no-store" in response.headers["cache-control"]


async def test_an_address_is_recognised_in_any_case(client: AsyncClient, user: Person) -> None:
    for username in (user.email.upper(), user.email.title(), f" {user.email} "):
        form = {"grant_type": "password", "username": username, "password": PASSWORD, "scope": ""}
        assert (await client.post(LOGIN, data=form)).status_code == 200


async def test_nothing_tells_a_wrong_password_from_an_unknown_account(client: AsyncClient, user: Person) -> None:
    wrong = await client.post(LOGIN, data={"username": user.email, "password": "wrong"})
    unknown = await client.post(LOGIN, data={"username": "nobody@example.com", "password": "wrong"})
    assert is_oauth_error(wrong, 401, "invalid-credentials", "invalid_grant")
    ignored = {"request_id": None}
    assert wrong.json() | ignored == unknown.json() | ignored
    varying = {"x-request-id": "", "ratelimit": ""}
    assert dict(wrong.headers) | varying == dict(unknown.headers) | varying


@pytest.mark.parametrize("change", ["is_active = false", "deleted_at = now()"])
async def test_an_account_that_is_switched_off_or_deleted_cannot_sign_in(
    client: AsyncClient, user: Person, superuser_connection: Any, change: str
) -> None:
    await superuser_connection.execute(f"UPDATE users SET {change} WHERE id = $1", user.id)
    response = await client.post(LOGIN, data={"username": user.email, "password": PASSWORD})
    assert is_oauth_error(response, 401, "invalid-credentials", "invalid_grant")


async def test_a_bcrypt_hash_is_replaced_at_the_next_sign_in(client: AsyncClient, user: Person, superuser_connection: Any) -> None:
    former = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
    await superuser_connection.execute("UPDATE users SET password_hash = $1 WHERE id = $2", former, user.id)
    await sign_in(client, user)
    kept = await superuser_connection.fetchval("SELECT password_hash FROM users WHERE id = $1", user.id)
    assert kept.startswith("$argon2id$")
    await sign_in(client, user)


@pytest.mark.parametrize(
    ("form", "pointer"),
    [
        ({"username": "a@example.com"}, "/password"),
        ({"password": "x"}, "/username"),
        ({"username": "a\0@example.com", "password": "x"}, "/username"),
        ({"username": "a@example.com", "password": "x\0"}, "/password"),
        ({"username": "a@example.com", "password": "x" * 1025}, "/password"),
    ],
)
async def test_a_form_that_lacks_something_is_422_invalid_request(client: AsyncClient, form: dict[str, str], pointer: str) -> None:
    response = await client.post(LOGIN, data=form)
    assert is_oauth_error(response, 422, "validation-failed", "invalid_request")
    assert [error["pointer"] for error in response.json()["errors"]] == [pointer]


async def test_another_grant_is_400_unsupported_grant_type(client: AsyncClient, user: Person) -> None:
    form = {"grant_type": "client_credentials", "username": user.email, "password": PASSWORD}
    assert is_oauth_error(await client.post(LOGIN, data=form), 400, "unsupported-grant-type", "unsupported_grant_type")
    body = {"grant_type": "password", "refresh_token": "x"}
    assert is_oauth_error(await client.post(REFRESH, json=body), 400, "unsupported-grant-type", "unsupported_grant_type")


async def test_a_sign_in_as_json_is_415(client: AsyncClient, user: Person) -> None:
    response = await client.post(LOGIN, json={"username": user.email, "password": PASSWORD})
    assert is_oauth_error(response, 415, "unsupported-media-type", "invalid_request")


async def test_a_refresh_token_is_kept_as_its_hash_alone(client: AsyncClient, user: Person, superuser_connection: Any) -> None:
    token = (await sign_in(client, user))["refresh_token"]
    assert await superuser_connection.fetchval("SELECT token_hash FROM refresh_tokens") == hash_opaque_token(token)


# --- wrong sign-ins ------------------------------------------------------------------------------------------------------------


async def test_after_ten_wrong_passwords_an_account_takes_no_right_one_either(client: AsyncClient, user: Person, other: Person) -> None:
    form = {"username": user.email, "password": "wrong"}
    assert [(await client.post(LOGIN, data=form)).status_code for _ in range(10)] == [401] * 10
    refused = await client.post(LOGIN, data=form | {"password": PASSWORD})
    assert is_oauth_error(refused, 429, "too-many-requests", "slow_down")
    assert 0 < int(refused.headers["retry-after"]) <= 3600
    assert (await client.post(LOGIN, data={"username": user.email.upper(), "password": PASSWORD})).status_code == 429
    await sign_in(client, other)


async def test_an_unknown_account_is_throttled_like_a_known_one(client: AsyncClient, valkey: Any) -> None:
    form = {"username": "nobody@example.com", "password": "wrong"}
    assert [(await client.post(LOGIN, data=form)).status_code for _ in range(11)] == [401] * 10 + [429]
    assert not [key for key in await valkey.keys() if b"nobody" in key]


async def test_right_passwords_are_not_counted(client: AsyncClient, user: Person) -> None:
    for _ in range(11):
        await sign_in(client, user)


async def test_after_a_hundred_wrong_passwords_an_address_signs_nobody_in(app: FastAPI, client: AsyncClient, user: Person) -> None:
    for _ in range(100):
        await app.state.resources.limits.count("login-address", "127.0.0.1")
    response = await client.post(LOGIN, data={"username": user.email, "password": PASSWORD})
    assert is_oauth_error(response, 429, "too-many-requests", "slow_down")


class SlowPasswords(Passwords):
    """Compares passwords when it is told to, so that many are on their way together."""

    def __init__(self) -> None:
        super().__init__(1)
        self.arrived = asyncio.Semaphore(0)
        self.turns: dict[str, asyncio.Event] = {"wrong": asyncio.Event(), "right": asyncio.Event()}

    @override
    async def verify(self, password: str, hashed: str | None) -> Verification:
        self.arrived.release()
        await self.turns[password].wait()
        return Verification(matches=password == "right")


async def test_of_guesses_on_their_way_together_none_behind_the_limit_succeeds(app: FastAPI, client: AsyncClient) -> None:
    passwords = SlowPasswords()
    guard = Guard(passwords, app.state.resources.limits, Client("192.0.2.1", None))
    wrong = [asyncio.create_task(guard.verify("a@example.com", "wrong", "hash")) for _ in range(10)]
    right = asyncio.create_task(guard.verify("a@example.com", "right", "hash"))
    for _ in range(11):
        await passwords.arrived.acquire()
    passwords.turns["wrong"].set()
    assert [verification.matches for verification in await asyncio.gather(*wrong)] == [False] * 10
    passwords.turns["right"].set()
    with pytest.raises(TooManyRequests):
        await right
    passwords.close()


# --- refresh -------------------------------------------------------------------------------------------------------------------


async def test_a_refresh_gives_the_next_pair_of_the_same_session(client: AsyncClient, user: Person) -> None:
    first = await sign_in(client, user)
    response = await refresh(client, first["refresh_token"])
    assert response.status_code == 200, response.text
    second = response.json()
    assert second["refresh_token"] != first["refresh_token"]
    claims = [jwt.get_unverified_claims(tokens["access_token"]) for tokens in (first, second)]
    assert claims[0]["sid"] == claims[1]["sid"]
    assert claims[0]["jti"] != claims[1]["jti"]
    assert (await client.get(ME, headers=bearer(second))).status_code == 200
    assert (await refresh(client, second["refresh_token"])).status_code == 200


async def test_a_refresh_is_read_from_a_form_too_and_what_else_is_in_it_is_ignored(client: AsyncClient, user: Person) -> None:
    token = (await sign_in(client, user))["refresh_token"]
    form = {"grant_type": "refresh_token", "refresh_token": token, "client_id": "cli", "scope": "all"}
    assert (await client.post(REFRESH, data=form)).status_code == 200


async def test_a_refresh_moves_the_end_of_the_session(client: AsyncClient, user: Person, superuser_connection: Any) -> None:
    token = (await sign_in(client, user))["refresh_token"]
    await superuser_connection.execute("UPDATE sessions SET expires_at = now() + interval '1 hour'")
    await refresh(client, token)
    assert await superuser_connection.fetchval(
        "SELECT bool_or(expires_at BETWEEN now() + interval '29 days' AND now() + interval '30 days') FROM sessions"
    )


async def test_two_uses_of_one_token_at_once_both_get_a_pair(client: AsyncClient, user: Person) -> None:
    token = (await sign_in(client, user))["refresh_token"]
    responses = await asyncio.gather(*(refresh(client, token) for _ in range(5)))
    assert [response.status_code for response in responses] == [200] * 5
    pairs = [response.json() for response in responses]
    assert len({pair["refresh_token"] for pair in pairs}) == 5
    assert {jwt.get_unverified_claims(pair["access_token"])["sid"] for pair in pairs} == {
        jwt.get_unverified_claims(pairs[0]["access_token"])["sid"]
    }
    for pair in pairs:
        assert (await refresh(client, pair["refresh_token"])).status_code == 200


async def test_a_used_token_comes_back_within_ten_seconds_and_is_honoured(
    client: AsyncClient, user: Person, superuser_connection: Any
) -> None:
    token = (await sign_in(client, user))["refresh_token"]
    await refresh(client, token)
    await age_last_use(superuser_connection, 9)
    assert (await refresh(client, token)).status_code == 200


@pytest.fixture
async def far_client(app: FastAPI) -> AsyncGenerator[AsyncClient]:
    """Somebody at another address."""
    async with AsyncClient(transport=ASGITransport(app, client=("203.0.113.9", 1)), base_url="http://127.0.0.1") as far:
        yield far


async def test_refresh_with_a_token_used_long_ago_ends_the_session(client: AsyncClient, user: Person, superuser_connection: Any) -> None:
    first = await sign_in(client, user)
    second = (await refresh(client, first["refresh_token"])).json()
    await age_last_use(superuser_connection, 11)
    assert (await client.get(ME, headers=bearer(second))).status_code == 200
    assert is_oauth_error(await refresh(client, first["refresh_token"]), 401, "refresh-reused", "invalid_grant")
    assert (await client.get(ME, headers=bearer(second))).status_code == 401
    assert is_oauth_error(await refresh(client, second["refresh_token"]), 401, "invalid-grant", "invalid_grant")


async def test_refresh_with_a_used_token_by_another_program_ends_the_session(client: AsyncClient, user: Person) -> None:
    first = await sign_in(client, user)
    second = (await refresh(client, first["refresh_token"])).json()
    stolen = await refresh(client, first["refresh_token"], **{"User-Agent": "thief/1.0"})
    assert is_oauth_error(stolen, 401, "refresh-reused", "invalid_grant")
    assert (await client.get(ME, headers=bearer(second))).status_code == 401


async def test_refresh_with_a_used_token_from_another_address_ends_the_session(
    client: AsyncClient, far_client: AsyncClient, user: Person
) -> None:
    first = await sign_in(client, user)
    second = (await refresh(client, first["refresh_token"])).json()
    assert is_oauth_error(await refresh(far_client, first["refresh_token"]), 401, "refresh-reused", "invalid_grant")
    assert (await client.get(ME, headers=bearer(second))).status_code == 401


async def test_a_token_not_used_yet_may_come_from_another_address(client: AsyncClient, far_client: AsyncClient, user: Person) -> None:
    token = (await sign_in(client, user))["refresh_token"]
    assert (await refresh(far_client, token, **{"User-Agent": "the same phone, another network"})).status_code == 200


async def test_a_session_that_is_reused_leaves_the_others_alone(client: AsyncClient, user: Person) -> None:
    first, bystander = await sign_in(client, user), await sign_in(client, user)
    await refresh(client, first["refresh_token"])
    await refresh(client, first["refresh_token"], **{"User-Agent": "thief/1.0"})
    assert (await refresh(client, bystander["refresh_token"])).status_code == 200


@pytest.mark.parametrize(
    "end",
    [
        "UPDATE sessions SET revoked_at = now()",
        "UPDATE sessions SET expires_at = now()",
        "UPDATE users SET is_active = false",
        "UPDATE users SET deleted_at = now()",
        "DELETE FROM sessions",
    ],
)
async def test_a_refresh_token_ends_with_its_session_and_account(
    client: AsyncClient, user: Person, superuser_connection: Any, end: str
) -> None:
    token = (await sign_in(client, user))["refresh_token"]
    await superuser_connection.execute(end)
    assert is_oauth_error(await refresh(client, token), 401, "invalid-grant", "invalid_grant")


@pytest.mark.parametrize("token", ["unknown", "é\u2028", "x" * 512])
async def test_an_unknown_refresh_token_is_401_invalid_grant(client: AsyncClient, token: str) -> None:
    assert is_oauth_error(await refresh(client, token), 401, "invalid-grant", "invalid_grant")


async def test_an_access_token_is_no_refresh_token_and_the_reverse(client: AsyncClient, user: Person) -> None:
    tokens = await sign_in(client, user)
    assert is_oauth_error(await refresh(client, tokens["access_token"]), 401, "invalid-grant", "invalid_grant")
    assert (await client.get(ME, headers={"Authorization": f"Bearer {tokens['refresh_token']}"})).status_code == 401


@pytest.mark.parametrize(
    ("body", "status", "slug"),
    [
        (b"", 422, "validation-failed"),
        (b"{}", 422, "validation-failed"),
        (b"[]", 422, "validation-failed"),
        (b"null", 422, "validation-failed"),
        (b'{"refresh_token": 1}', 422, "validation-failed"),
        (b'{"refresh_token": "x", "misspelt": 1}', 422, "validation-failed"),
        (b'{"refresh_token": "' + b"x" * 513 + b'"}', 422, "validation-failed"),
        (b'{"refresh_token"', 400, "malformed-request"),
    ],
)
async def test_a_refresh_that_cannot_be_read_is_invalid_request(client: AsyncClient, body: bytes, status: int, slug: str) -> None:
    response = await client.post(REFRESH, content=body, headers={"Content-Type": "application/json"})
    assert is_oauth_error(response, status, slug, "invalid_request")


async def test_a_refresh_of_another_type_is_415(client: AsyncClient) -> None:
    response = await client.post(REFRESH, content=b"<token/>", headers={"Content-Type": "application/xml"})
    assert is_oauth_error(response, 415, "unsupported-media-type", "invalid_request")


async def test_a_refresh_token_with_a_lone_surrogate_is_no_server_error(client: AsyncClient) -> None:
    response = await client.post(REFRESH, content=b'{"refresh_token": "\\ud800"}', headers={"Content-Type": "application/json"})
    assert response.status_code in {401, 422}


@pytest.mark.parametrize(
    "authorization",
    [
        *(pytest.param(f"Bearer {make()}", id=name) for name, make in FORGERIES.items()),
        "Bearer",
        "Basic YWRtaW46YWRtaW4=",
        "Bearer a b",
        "Token x",
    ],
)
async def test_a_forged_token_is_a_401_problem_with_a_request_id(client: AsyncClient, authorization: str) -> None:
    response = await client.get(ME, headers={b"Authorization": authorization.encode()})
    problem = response.json()
    assert (response.status_code, response.headers["content-type"]) == (401, "application/problem+json")
    assert problem["request_id"] == response.headers["x-request-id"]
    assert response.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize("change", [{"sid": str(UUID(int=7))}, {"sub": "999999"}], ids=["session", "account"])
async def test_a_token_of_no_session_of_its_account_is_401(client: AsyncClient, user: Person, settings: Settings, change: Any) -> None:
    claims = jwt.get_unverified_claims(user.token) | change
    token = jwt.encode(claims, settings.SECRET_KEY.get_secret_value(), headers={"typ": "at+jwt"})
    assert (await client.get(ME, headers={"Authorization": f"Bearer {token}"})).status_code == 401


# --- sessions ------------------------------------------------------------------------------------------------------------------


async def test_logging_out_ends_the_session_its_access_and_its_refresh_token(client: AsyncClient, user: Person) -> None:
    tokens = await sign_in(client, user)
    assert (await client.get(ME, headers=bearer(tokens))).status_code == 200
    ended = await client.post(LOGOUT, headers=bearer(tokens))
    assert (ended.status_code, ended.content) == (204, b"")
    refused = await client.get(ME, headers=bearer(tokens))
    assert refused.status_code == 401
    assert refused.headers["www-authenticate"] == 'Bearer error="invalid_token"'
    assert (await refresh(client, tokens["refresh_token"])).status_code == 401
    assert (await user.client.get(ME)).status_code == 200


async def test_sessions_are_listed_with_their_device_the_last_used_first(client: AsyncClient, user: Person) -> None:
    phone = await sign_in(client, user, **{"User-Agent": "phone/1.0"})
    laptop = await sign_in(client, user, **{"User-Agent": "laptop/1.0"})
    await refresh(client, phone["refresh_token"], **{"User-Agent": "phone/1.1"})
    listed = (await client.get(SESSIONS, headers=bearer(laptop))).json()
    assert [(session["user_agent"], session["is_current"]) for session in listed] == [
        ("phone/1.1", False),
        ("laptop/1.0", True),
        (None, False),
    ]
    assert set(listed[0]) == {"id", "user_agent", "address", "created_at", "last_used_at", "expires_at", "is_current"}
    assert listed[0]["address"] == "127.0.0.1"
    assert listed[0]["last_used_at"] > listed[1]["last_used_at"]
    assert listed[0]["created_at"].endswith("Z")


async def test_an_endless_user_agent_is_cut(client: AsyncClient, user: Person) -> None:
    tokens = await sign_in(client, user, **{"User-Agent": "x" * 5000})
    listed = (await client.get(SESSIONS, headers=bearer(tokens))).json()
    assert {len(session["user_agent"]) for session in listed if session["is_current"]} == {512}


async def test_one_session_is_ended_by_its_id(client: AsyncClient, user: Person) -> None:
    tokens = await sign_in(client, user)
    session_id = jwt.get_unverified_claims(tokens["access_token"])["sid"]
    assert (await user.client.delete(f"{SESSIONS}/{session_id}")).status_code == 204
    assert (await client.get(ME, headers=bearer(tokens))).status_code == 401
    assert (await user.client.delete(f"{SESSIONS}/{session_id}")).status_code == 404
    assert [session["is_current"] for session in (await user.client.get(SESSIONS)).json()] == [True]


async def test_somebody_elses_session_is_404_and_stays(user: Person, other: Person) -> None:
    assert (await user.client.delete(f"{SESSIONS}/{other.session_id}")).status_code == 404
    assert (await other.client.get(ME)).status_code == 200


async def test_a_session_id_that_is_none_is_422(user: Person) -> None:
    assert (await user.client.delete(f"{SESSIONS}/first")).status_code == 422


async def test_all_other_sessions_are_ended_at_once(client: AsyncClient, user: Person, other: Person) -> None:
    tokens = [await sign_in(client, user) for _ in range(3)]
    for each in tokens:
        assert (await client.get(ME, headers=bearer(each))).status_code == 200
    assert (await user.client.delete(SESSIONS)).status_code == 204
    assert [(await client.get(ME, headers=bearer(each))).status_code for each in tokens] == [401, 401, 401]
    assert (await user.client.get(ME)).status_code == 200
    assert (await other.client.get(ME)).status_code == 200


@pytest.mark.parametrize(("method", "path"), [("POST", LOGOUT), ("GET", SESSIONS), ("DELETE", SESSIONS), ("DELETE", f"{SESSIONS}/x")])
async def test_sessions_are_for_those_who_are_signed_in(client: AsyncClient, method: str, path: str) -> None:
    response = await client.request(method, path)
    assert (response.status_code, response.headers["www-authenticate"]) == (401, "Bearer")


async def test_a_sign_in_and_a_change_of_the_password_do_not_miss_each_other(
    client: AsyncClient, make_person: MakePerson, superuser_connection: Any
) -> None:
    person = await make_person()
    sign_ins = [client.post(LOGIN, data={"username": person.email, "password": PASSWORD}) for _ in range(3)]
    change = person.client.post(f"{ME}/password", json={"current_password": PASSWORD, "new_password": "another strong one"})
    *signed_in, changed = await asyncio.gather(*sign_ins, change)
    assert changed.status_code == 204
    for response in signed_in:
        if response.status_code == 200:
            assert (await client.get(ME, headers=bearer(response.json()))).status_code == 401
    assert await superuser_connection.fetchval("SELECT count(*) FROM sessions WHERE revoked_at IS NULL") == 1


async def test_a_password_that_changes_while_it_is_compared_opens_nothing(
    app: FastAPI, settings: Settings, user: Person, superuser_connection: Any
) -> None:
    passwords = SlowPasswords()
    guard = Guard(passwords, app.state.resources.limits, Client("192.0.2.1", None))
    grant = PasswordGrant(username=user.email, password="right")
    signing_in = asyncio.create_task(auth.login(app.state.resources.database.autocommit, settings, guard, grant))
    await passwords.arrived.acquire()
    await superuser_connection.execute("UPDATE users SET password_hash = 'another' WHERE id = $1", user.id)
    passwords.turns["right"].set()
    with pytest.raises(auth.InvalidCredentials):
        await signing_in
    assert await superuser_connection.fetchval("SELECT count(*) FROM sessions") == 1
    passwords.close()
