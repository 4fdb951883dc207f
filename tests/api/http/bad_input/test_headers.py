"""Headers against the rules."""

import json

import pytest

from tests.api.conftest import Person
from tests.api.http.bad_input.refusals import Headers, ask, by, refused
from tests.api.http.conftest import Service
from tests.api.operations import JSON, Operation

NOT_HTTP = [
    b"X: a\x00b", b"X\x00: a", b"X : a", b": a", b"X\xff: a", b"a", b"X: a\x0bb\r\n folded", b"Content-Length: -1", b"Content-Length: 1e3",
    b"Transfer-Encoding: gzip", b"Transfer-Encoding: chunked\r\nContent-Length: 3",
]  # fmt: skip


@pytest.mark.parametrize(
    "host", ["", "example.com", "127.0.0.1.example.com", "127.0.0.1@example.com", "127.0.0.1, example.com", "[::1", "é"]
)
async def test_a_host_that_is_somebody_else_is_400(service: Service, superuser: Person, everything: list[Operation], host: str) -> None:
    for operation in everything:
        if operation.path.startswith("/health/"):
            continue  # the platform's probes name a process by its address
        answer = await ask(service, operation.method, operation.path, {**by(superuser), "Host": host}, b"")
        assert refused(answer, 400, because=operation)["type"] == "/errors/invalid-host"


@pytest.mark.parametrize(
    "doubled",
    [
        "Host: 127.0.0.1",
        "Authorization: Bearer x",
        "Content-Type: application/json",
        "Origin: null",
        "Content-Length: 0",
        "Content-Length: 1",
    ],
)
async def test_a_header_that_comes_twice_and_may_not_is_400(
    service: Service, superuser: Person, everything: list[Operation], doubled: str
) -> None:
    name, _, value = doubled.partition(": ")
    for operation in everything:
        headers: Headers = {**by(superuser, JSON), "Origin": "null", "Host": f"127.0.0.1\r\n{doubled}" if name == "Host" else "127.0.0.1"}
        if name != "Host":
            headers = {name.lower(): value, "Content-Length": "0", **headers}
        refused(await ask(service, operation.method, operation.path, headers, b""), 400, because=operation)


@pytest.mark.parametrize("key", [b"", b"k" * 256, b"\xc3\xa9", b"\xff", b"a\tb", b"a\r\nIdempotency-Key: b"])
async def test_an_idempotency_key_against_the_rules_is_422(
    service: Service, superuser: Person, everything: list[Operation], key: bytes
) -> None:
    for operation in everything:
        if "Idempotency-Key" in operation.parameters("header"):
            headers = {**by(superuser, JSON), "Idempotency-Key": key}
            answer = await ask(service, operation.method, operation.path, headers, json.dumps(operation.body()).encode())
            errors = refused(answer, 422, because=operation)["errors"]
            assert [error["pointer"] for error in errors] == ["/Idempotency-Key"], operation


@pytest.mark.parametrize("headers", NOT_HTTP)
async def test_headers_that_are_not_http_are_400(service: Service, headers: bytes) -> None:
    async with service.connect() as wire:
        answer = await wire.ask(b"POST /api/v1/auth/login HTTP/1.1\r\nHost: 127.0.0.1\r\n%b\r\n\r\n" % headers)
    refused(answer, 400, because=headers)


@pytest.mark.parametrize("given", ["a b", "é", "x" * 129, "", "<script>", "a\tb"])
async def test_a_request_id_that_is_not_well_formed_is_replaced(service: Service, given: str) -> None:
    problem = refused(await ask(service, "GET", "/nowhere", {"X-Request-ID": given}), 404, because=given)
    assert len(problem["request_id"]) == 32
    answer = await ask(service, "GET", "/nowhere", {"X-Request-ID": "mine.1_2-3"})
    assert refused(answer, 404, because=given)["request_id"] == "mine.1_2-3"
