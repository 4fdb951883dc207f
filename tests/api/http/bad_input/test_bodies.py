"""Bodies against the rules."""

import gzip
import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.api.conftest import Person
from tests.api.http.bad_input.refusals import ask, by, refused
from tests.api.http.conftest import Service
from tests.api.operations import FORM, JSON, MULTIPART, Operation

MERGE_PATCH = "application/merge-patch+json"
MIB = 1024 * 1024
OF_ANOTHER_TYPE: list[Any] = [None, True, 7, 1.5, "text", [None], [[]], [{"a": 1}], {"a": {"b": []}}]


def reading_json(found: list[Operation]) -> Iterator[tuple[Operation, str]]:
    """Return every operation that reads JSON, with each of its content types."""
    for operation in found:
        for media_type in operation.media_types:
            if media_type in {JSON, MERGE_PATCH}:
                yield operation, media_type


def encoded(value: Any) -> bytes:
    return json.dumps(value).encode()


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b'{"a":1}}',
        b'{"a":}',
        b"{'a':1}",
        b'{"a":1,}',
        b"nul",
        b'"\\x41"',
        b'{"a":"\t"}',
        b'{"a":01}',
        b'{"a":+1}',
        b'{"a":1} {"b":2}',
        b"\xef\xbb\xbf{}",
        b"\x00",
        b"title=a",
        gzip.compress(b"{}", mtime=0),
        b'{"title":"\xc3\x28"}',
        b'{"title":"\xed\xa0\x80"}',
        '{"title":"é"}'.encode("latin-1"),
        "{}".encode("utf-16"),
    ],
)
async def test_json_that_is_malformed_or_not_utf_8_is_400(
    service: Service, superuser: Person, everything: list[Operation], body: bytes
) -> None:
    for operation, media_type in reading_json(everything):
        answer = await ask(service, operation.method, operation.path, by(superuser, media_type), body)
        assert refused(answer, 400, because=operation)["type"] == "/errors/malformed-request"


async def test_a_body_that_is_missing_is_422(service: Service, superuser: Person, everything: list[Operation]) -> None:
    for operation in everything:
        for media_type in operation.media_types:
            if media_type != MULTIPART:
                answer = await ask(service, operation.method, operation.path, by(superuser, media_type), b"")
                assert refused(answer, 422, because=operation)["errors"]


async def test_a_body_of_another_type_is_422(service: Service, superuser: Person, everything: list[Operation]) -> None:
    for operation, media_type in reading_json(everything):
        for value in OF_ANOTHER_TYPE:
            answer = await ask(service, operation.method, operation.path, by(superuser, media_type), encoded(value))
            assert refused(answer, 422, because=(operation, value))["errors"]


def spoiled(operation: Operation, media_type: str) -> Iterator[tuple[str, Any, Any]]:
    """Return bodies with one member of another type or size than the document allows: name, value, body."""
    for name, described in operation.members(media_type).items():
        for value in (None, True, 7, -1, 10**400, 1.5, "", "x" * 20_000, [], [1], {}, {"a": 1}):
            if not operation.is_valid(described, value):
                yield name, value, operation.body({name: value}, media_type)


async def test_a_member_of_another_type_or_size_is_named(service: Service, superuser: Person, everything: list[Operation]) -> None:
    for operation, media_type in reading_json(everything):
        for name, value, body in spoiled(operation, media_type):
            answer = await ask(service, operation.method, operation.path, by(superuser, media_type), encoded(body))
            if name == "grant_type" and isinstance(value, str):
                assert refused(answer, 400, 422, because=(operation, value))["error"] in {"unsupported_grant_type", "invalid_request"}
                continue
            errors = refused(answer, 422, because=(operation, name, value))["errors"]
            assert any(f"/{name}" in error["pointer"] for error in errors), (operation, name, value, errors)


async def test_a_member_that_nobody_knows_is_named(service: Service, superuser: Person, everything: list[Operation]) -> None:
    for operation, media_type in reading_json(everything):
        body = encoded(operation.body({"surprise": 1}, media_type))
        answer = await ask(service, operation.method, operation.path, by(superuser, media_type), body)
        errors = refused(answer, 422, because=operation)["errors"]
        assert [error["pointer"] for error in errors] == ["/0/surprise" if operation.takes_many else "/surprise"], operation


def within(value: Any, put: Any) -> Any:
    """Return what stands in place of a member's value; where that is an object, it holds it."""
    return {"n": put} if isinstance(value, dict) else put


@pytest.mark.parametrize("text", ["a\x00b", "a\ud800b"])
async def test_text_that_cannot_be_stored_is_422(service: Service, superuser: Person, everything: list[Operation], text: str) -> None:
    for operation, media_type in reading_json(everything):
        for name, value in operation.example(media_type).items():
            body = encoded(operation.body({name: within(value, text)}, media_type))
            answer = await ask(service, operation.method, operation.path, by(superuser, media_type), body)
            refused(answer, 401 if operation.path.endswith("/refresh") else 422, 422, because=(operation, name))


async def test_a_name_that_cannot_be_stored_is_422(service: Service, superuser: Person, everything: list[Operation]) -> None:
    for operation, media_type in reading_json(everything):
        for body in ({"a\x00b": 1}, {"a\ud800b": 1}):
            answer = await ask(
                service, operation.method, operation.path, by(superuser, media_type), encoded(operation.body(body, media_type))
            )
            refused(answer, 422, because=(operation, body))


@pytest.mark.parametrize("number", [b"1e400", b"-1e400", b"NaN", b"Infinity", b"-Infinity", b"1" * 5000])
async def test_numbers_that_nothing_can_hold_are_422(
    service: Service, superuser: Person, everything: list[Operation], number: bytes
) -> None:
    for operation, media_type in reading_json(everything):
        for name, value in operation.example(media_type).items():
            body = encoded(operation.body({name: within(value, "here")}, media_type)).replace(b'"here"', number)
            answer = await ask(service, operation.method, operation.path, by(superuser, media_type), body)
            refused(answer, 400, 422, because=(operation, name))


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 65 + b"]" * 65,
        b'{"title":"a","attributes":' + b'{"a":' * 64 + b"1" + b"}" * 64 + b"}",
        b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
        b"[" * 1_000_000,
    ],
)
async def test_json_nested_too_deep_is_422(service: Service, superuser: Person, everything: list[Operation], body: bytes) -> None:
    for operation, media_type in reading_json(everything):
        answer = await ask(service, operation.method, operation.path, by(superuser, media_type), body)
        errors = refused(answer, 422, because=operation)["errors"]
        assert errors == [{"pointer": "", "detail": "Must not be nested deeper than 64 levels."}], operation


async def test_a_body_above_the_limit_is_413(service: Service, superuser: Person, everything: list[Operation]) -> None:
    for operation in everything:
        if operation.media_types and MULTIPART not in operation.media_types:
            headers = by(superuser, operation.media_types[0])
            refused(await ask(service, operation.method, operation.path, headers, b" " * (MIB + 1)), 413, because=operation)
            headers["Transfer-Encoding"] = "chunked"
            body = (b"40000\r\n" + b" " * 0x40000 + b"\r\n") * 5 + b"0\r\n\r\n"
            refused(await ask(service, operation.method, operation.path, headers, body), 413, because=operation)


@pytest.mark.parametrize(
    "media_type", ["text/plain", "application/xml", "application/jsonx", "json", "", "*/*", ";", "text/json; charset=utf-8"]
)
async def test_a_content_type_that_the_route_does_not_read_is_415(
    service: Service, superuser: Person, everything: list[Operation], media_type: str
) -> None:
    for operation in everything:
        if operation.media_types:
            answer = await ask(service, operation.method, operation.path, by(superuser, media_type), b"{}")
            refused(answer, 415, because=operation)
            assert set(answer.headers["accept"].split(", ")) >= set(operation.media_types), operation


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"username",
        b"username=a",
        b"username=a&password=%00",
        b"username=%00&password=a",
        b"username=%ED%A0%80&password=a&grant_type=%00",
        b"username=a&password=%FF",
        b"username=a&password=%",
        "username=é&password=a".encode(),
        b"username=a&password=" + b"x" * 2000,
        b"&".join(b"a%d=1" % number for number in range(2000)),
    ],
)
async def test_a_form_against_the_rules_is_refused(service: Service, everything: list[Operation], body: bytes) -> None:
    for operation in everything:
        if FORM in operation.media_types:
            refused(await ask(service, operation.method, operation.path, {"Content-Type": FORM}, body), 400, 422, because=operation)


def part(disposition: str, content: bytes = b"title\na\n", *further: str) -> bytes:
    lines = "".join(f"{line}\r\n" for line in (f"Content-Disposition: {disposition}", *further))
    return b"--b\r\n%b\r\n%b\r\n" % (lines.encode("latin-1"), content)


FILE = 'form-data; name="file"; filename="a.csv"'


@pytest.mark.parametrize(
    ("media_type", "body"),
    [
        (MULTIPART, b"--b--\r\n"),
        (f"{MULTIPART}; boundary=", b"--b--\r\n"),
        (f"{MULTIPART}; boundary=b", b""),
        (f"{MULTIPART}; boundary=b", b"--b--\r\n"),
        (f"{MULTIPART}; boundary=b", b"nonsense"),
        (f"{MULTIPART}; boundary=b", part(FILE)),
        (f"{MULTIPART}; boundary=b", part('form-data; name="file"') + b"--b--\r\n"),
        (f"{MULTIPART}; boundary=b", part("form-data") + b"--b--\r\n"),
        (f"{MULTIPART}; boundary=b", part('form-data; name="other"; filename="a.csv"') + b"--b--\r\n"),
        (f"{MULTIPART}; boundary=b", part(FILE) * 2 + b"--b--\r\n"),
        (f"{MULTIPART}; boundary=b", part(FILE) + part('form-data; name="x"', b"1") + b"--b--\r\n"),
        (f"{MULTIPART}; boundary=b", part('form-data; name="file"; filename="a.exe"') + b"--b--\r\n"),
        (f"{MULTIPART}; boundary=b", part('form-data; name="file"; filename=""') + b"--b--\r\n"),
        (f"{MULTIPART}; boundary=b", b"--b\r\n" + b"X: y\r\n" * 10_000 + b"\r\n--b--\r\n"),
        (f"{MULTIPART}; boundary=b", b"--b\r\nContent-Disposition\r\n\r\n\r\n--b--\r\n"),
    ],
)
async def test_a_multipart_body_that_is_broken_is_refused(
    service: Service, superuser: Person, everything: list[Operation], media_type: str, body: bytes
) -> None:
    for operation in everything:
        if MULTIPART in operation.media_types:
            answer = await ask(service, operation.method, operation.path, by(superuser, media_type), body)
            refused(answer, 400, 415, 422, because=operation)


async def test_a_body_of_an_encoding_that_is_not_spoken_is_refused(
    service: Service, superuser: Person, everything: list[Operation]
) -> None:
    for operation, media_type in reading_json(everything):
        headers = {**by(superuser, media_type), "Content-Encoding": "gzip"}
        body = gzip.compress(encoded(operation.body({}, media_type)), mtime=0)
        refused(await ask(service, operation.method, operation.path, headers, body), 400, 415, because=operation)
