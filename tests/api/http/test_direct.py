"""A request that is answered directly gets what ASGI would answer it."""

import json
from typing import Any

import pytest

from app.core.http.protocol import HttpProtocol
from tests.api.conftest import Person
from tests.api.http.conftest import Answer, Service

ITEMS = "/api/v1/items/"
#: What differs between two answers to the same request.
OWN = {"date", "x-request-id", "ratelimit"}
FIRST = b"GET /health/live HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"

JSON_TYPE = "Content-Type: application/json"
ASKED: list[tuple[str, str, list[str], bytes]] = [
    ("GET", "/health/live", [], b""),
    ("GET", "/health/live", ["X-Request-ID: given"], b""),
    ("GET", "/health/live", ["Origin: http://localhost:3000"], b""),
    ("GET", "/health/live", ["Origin: https://foreign.example"], b""),
    ("GET", "/health/live?a=%ff", [], b""),
    ("GET", "/health/live", ["Authorization: a", "Authorization: b"], b""),
    ("GET", "/openapi.json", [], b""),
    ("GET", "/api/v1/openapi.json", [], b""),
    ("GET", "/docs", [], b""),
    ("GET", "/errors/", [], b""),
    ("GET", "/errors/nothing", [], b""),
    ("GET", "/nowhere", [], b""),
    ("GET", ITEMS, ["user"], b""),
    ("GET", f"{ITEMS}?limit=1&sort=title", ["user"], b""),
    ("GET", f"{ITEMS}?limit=1&limit=2", ["user"], b""),
    ("GET", f"{ITEMS}?limit=0&unknown=1", ["user"], b""),
    ("GET", f"{ITEMS}?cursor=none", ["user"], b""),
    ("GET", ITEMS, [], b""),
    ("GET", ITEMS, ["Authorization: Bearer nonsense"], b""),
    ("GET", f"{ITEMS}item", ["user"], b""),
    ("GET", f"{ITEMS}item", ["user", 'If-None-Match: "1"'], b""),
    ("GET", f"{ITEMS}0", ["user"], b""),
    ("GET", f"{ITEMS}9223372036854775807", ["user"], b""),
    ("PUT", ITEMS, ["user"], b"{}"),
    ("POST", ITEMS, ["user", JSON_TYPE], b'{"title": ""}'),
    ("POST", ITEMS, ["user", JSON_TYPE], b'{"title": '),
    ("POST", ITEMS, ["user", "Content-Type: text/plain"], b"{}"),
    ("POST", ITEMS, ["user"], b'{"title": "x"}'),
    ("POST", ITEMS, ["user", JSON_TYPE, "Idempotency-Key: "], b'{"title": "x"}'),
    ("POST", ITEMS, [JSON_TYPE], b'{"title": "x"}'),
    ("POST", ITEMS, ["user", JSON_TYPE, "Connection: close"], b'{"title": ""}'),
    ("PATCH", f"{ITEMS}item", ["user", "Content-Type: application/merge-patch+json", 'If-Match: "9"'], b'{"title": "y"}'),
]


def encoded(method: str, path: str, headers: list[str], body: bytes) -> bytes:
    """Return a request as it stands on the wire."""
    length = [f"Content-Length: {len(body)}"] if body or method != "GET" else []
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", *headers, *length, "", ""]).encode() + body


def compared(answer: Answer) -> dict[str, Any]:
    """Return what two answers to the same request have in common."""
    body: Any = answer.body
    if answer.headers.get("content-type") == "application/problem+json":
        body = {name: value for name, value in answer.json().items() if name != "request_id"}
    return {"status": answer.status, "body": body, "headers": {name: value for name, value in answer.headers.items() if name not in OWN}}


@pytest.mark.parametrize(("method", "path", "headers", "body"), ASKED)
async def test_both_ways_give_the_same_answer(
    service: Service, user: Person, method: str, path: str, headers: list[str], body: bytes
) -> None:
    made = await user.client.post(ITEMS, json={"title": "an item"})
    asked = [f"Authorization: Bearer {user.token}" if each == "user" else each for each in headers]
    request = encoded(method, path.replace("/item", f"/{made.json()['id']}") if path.endswith("/item") else path, asked, body)
    async with service.connect() as wire:
        directly = await wire.ask(request)
    async with service.connect() as wire:  # behind another request that is not answered yet it goes by ASGI
        await wire.say(FIRST + request)
        await wire.answer()
        by_asgi = await wire.answer()
    assert compared(directly) == compared(by_asgi)


async def test_a_body_that_comes_in_pieces_goes_by_asgi(service: Service, user: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    handed: list[str] = []
    hand = HttpProtocol._hand_to_asgi

    def noting(protocol: Any, direct: Any) -> None:
        handed.append(direct.path)
        hand(protocol, direct)

    monkeypatch.setattr(HttpProtocol, "_hand_to_asgi", noting)
    request = encoded("POST", ITEMS, [f"Authorization: Bearer {user.token}", JSON_TYPE], json.dumps({"title": "a title"}).encode())
    async with service.connect() as wire:
        for cut in (len(request), len(request) - 1, len(request) - 12):
            await wire.say(request[:cut])
            if cut < len(request):
                await wire.say(b"")
                async with service.connect() as other:  # by its answer, the first part has been read
                    await other.ask(FIRST)
                await wire.say(request[cut:])
            answer = await wire.answer()
            assert (answer.status, answer.json()["title"]) == (201, "a title")
    assert handed == [ITEMS] * 2
