"""Asking in bytes, and what every refusal must be."""

from typing import Any

from app.core.errors import catalogue
from tests.api.conftest import Person
from tests.api.http.conftest import Answer, Service

type Headers = dict[str, str | bytes]

SECURITY = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cache-control": "private, no-store",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
}


def request(method: str, target: str | bytes, headers: Headers, body: bytes | None = None) -> bytes:
    """Return a request's bytes. ``Host`` and ``Content-Length`` are added unless they are given."""
    wanted: Headers = {"Host": "127.0.0.1", **headers}
    if body is not None and "Transfer-Encoding" not in wanted:
        wanted = {"Content-Length": str(len(body)), **wanted}
    lines = [b"%b: %b" % (name.encode("latin-1"), _bytes(value)) for name, value in wanted.items()]
    return b"%b %b HTTP/1.1\r\n%b\r\n\r\n%b" % (method.encode(), _bytes(target), b"\r\n".join(lines), body or b"")


def _bytes(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode("latin-1")


async def ask(service: Service, method: str, target: str | bytes, headers: Headers | None = None, body: bytes | None = None) -> Answer:
    """Send a request over a connection of its own and return the answer."""
    async with service.connect() as wire:
        return await wire.ask(request(method, target, headers or {}, body))


def refused(answer: Answer, *statuses: int, because: object) -> dict[str, Any]:
    """Return the problem of a refusal, once everything is as it has to be.

    Args:
        answer: What was answered.
        statuses: The statuses it may have.
        because: The request, for the message of a failure.
    """
    assert answer.status in statuses, f"{because}: {answer.status} {answer.body[:300]!r}"
    assert answer.headers["content-type"] == "application/problem+json", because
    problem: dict[str, Any] = answer.json()
    assert problem["status"] == answer.status, because
    assert problem["request_id"] == answer.headers["x-request-id"], because
    known = catalogue()[problem["type"].removeprefix("/errors/")]
    assert (known.status, known.title) == (answer.status, problem["title"]), because
    assert problem["detail"], because
    assert {name: answer.headers.get(name) for name in SECURITY} == SECURITY, because
    assert b"Traceback" not in answer.body, because
    assert b", line " not in answer.body, because
    return problem


def by(person: Person, media_type: str | None = None) -> Headers:
    """Return the headers of a person's request."""
    return {**person.headers} if media_type is None else {**person.headers, "Content-Type": media_type}
