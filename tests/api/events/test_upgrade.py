"""The upgrade: who is let through, and how the others are told."""

import base64
import os

import httpx
import pytest

from app.core.config import Settings
from tests.api.conftest import Person
from tests.api.events.conftest import MAX_PER_USER, LocalApi, until


async def test_a_forged_token_is_refused_with_a_problem_that_names_the_request(api: LocalApi) -> None:
    status, problem, headers = await api.refusal(headers={"Authorization": "Bearer a.b.c", "X-Request-ID": "mine-1"})

    assert status == problem["status"] == 401
    assert problem["request_id"] == headers["X-Request-ID"] == "mine-1"
    assert problem["instance"] == "/api/v1/ws"
    assert headers["X-Content-Type-Options"] == "nosniff"


async def test_no_credential_is_refused(api: LocalApi) -> None:
    assert (await api.refusal())[0] == 401


async def test_the_answer_to_an_upgrade_names_the_request(api: LocalApi, user: Person) -> None:
    async with api.connect(user, headers={"X-Request-ID": "mine-2"}) as socket:
        assert socket.response is not None
        assert socket.response.headers["X-Request-ID"] == "mine-2"


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "https://localhost:3000", "http://localhost:3000.evil.example"])
async def test_a_foreign_origin_is_refused_whatever_the_credential(api: LocalApi, user: Person, origin: str) -> None:
    ticket = await api.ticket(user)

    for person, query in ((user, ""), (None, f"?ticket={ticket}"), (None, "")):
        status, problem, _ = await api.refusal(person, query, {"Origin": origin})
        assert (status, problem["type"]) == (403, "/errors/forbidden")

    async with api.connect(query=f"?ticket={ticket}"):  # which was not used up
        pass


async def test_allowed_origins_and_the_apis_own_may_open_sockets(api: LocalApi, live_settings: Settings, user: Person) -> None:
    for origin in (*live_settings.ALLOWED_ORIGINS, f"http://127.0.0.1:{api.port}", live_settings.PUBLIC_URL):
        async with api.connect(user, headers={"Origin": origin}):
            pass


@pytest.mark.parametrize(
    ("query", "pointer"), [("ticket=", "/ticket"), ("last_event_id=", "/last_event_id"), (f"last_event_id={'9' * 65}", "/last_event_id")]
)
async def test_a_bad_parameter_is_refused_by_its_name(api: LocalApi, user: Person, query: str, pointer: str) -> None:
    status, problem, _ = await api.refusal(user, f"?{query}")

    assert status == 422
    assert [error["pointer"] for error in problem["errors"]] == [pointer]


async def test_a_path_without_sockets_is_not_found(api: LocalApi) -> None:
    async with httpx.AsyncClient() as client:
        response = await client.get(f"{api.url}/items/", headers=_handshake())

    assert response.status_code == 404
    assert response.json()["type"] == "/errors/not-found"


async def test_a_malformed_handshake_is_a_problem(api: LocalApi) -> None:
    async with httpx.AsyncClient() as client:
        response = await client.get(f"{api.url}/ws", headers=_handshake() | {"Sec-WebSocket-Key": "short", "X-Request-ID": "mine-3"})

    assert response.status_code == 400
    assert response.headers["Content-Type"] == "application/problem+json"
    assert response.json()["request_id"] == response.headers["X-Request-ID"] == "mine-3"


async def test_an_upgrade_by_another_method_is_a_problem(api: LocalApi) -> None:
    async with httpx.AsyncClient() as client:
        response = await client.post(f"{api.url}/ws", headers=_handshake())

    assert response.status_code == 405
    assert response.headers["Allow"] == "GET"
    assert response.json()["type"] == "/errors/method-not-allowed"


async def test_a_plain_request_is_told_to_upgrade(api: LocalApi) -> None:
    async with httpx.AsyncClient() as client:
        response = await client.get(f"{api.url}/ws")

    assert response.status_code == 426
    assert response.headers["Upgrade"] == "websocket"
    assert response.json()["type"] == "/errors/upgrade-required"


async def test_a_foreign_host_is_refused(api: LocalApi) -> None:
    async with httpx.AsyncClient() as client:
        response = await client.get(f"{api.url}/ws", headers=_handshake() | {"Host": "evil.example"})

    assert response.status_code == 400
    assert response.json()["type"] == "/errors/invalid-host"


async def test_no_compression_is_agreed_on(api: LocalApi, user: Person) -> None:
    async with api.connect(user, headers={"Sec-WebSocket-Extensions": "permessage-deflate"}) as socket:
        assert socket.response is not None
        assert "Sec-WebSocket-Extensions" not in socket.response.headers


async def test_a_user_has_so_many_sockets_and_no_more(api: LocalApi, user: Person, other: Person) -> None:
    sockets = [await api.connect(user) for _ in range(MAX_PER_USER)]

    status, problem, headers = await api.refusal(user)

    assert (status, problem["type"]) == (429, "/errors/too-many-sockets")
    assert int(headers["Retry-After"]) > 0
    async with api.connect(other):
        pass
    await sockets.pop().close()
    await until(lambda: len(api.hub) < MAX_PER_USER)
    async with api.connect(user):
        pass
    for socket in sockets:
        await socket.close()


async def test_a_process_has_so_many_sockets_and_no_more(
    api: LocalApi, user: Person, other: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    await until(lambda: len(api.hub) == 0)
    monkeypatch.setattr(api.hub, "_max_sockets", 1)
    async with api.connect(user):
        assert (await api.refusal(other))[1]["type"] == "/errors/too-many-sockets"


def _handshake() -> dict[str, str]:
    key = base64.b64encode(os.urandom(16)).decode()
    return {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": key}
