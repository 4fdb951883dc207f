"""What a body may be."""

import json
import time
from typing import Any

import pytest
from starlette.requests import Request

from app.core.errors import MalformedRequest, PayloadTooLarge, UnsupportedMediaType, ValidationFailed
from app.core.http.body import StrictRequest, declared_length, limited, parse_json, refuse_deep, refuse_large, require_media_type


def nested(depth: int, opening: str = "[", closing: str = "]") -> bytes:
    """JSON of that depth."""
    return (opening * depth + closing * depth).encode()


def request(body: bytes = b"", content_type: str | None = None, **headers: str) -> StrictRequest:
    """A request with a body."""
    fields = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    if content_type is not None:
        fields.append((b"content-type", content_type.encode()))

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body}

    return StrictRequest({"type": "http", "method": "POST", "path": "/", "headers": fields}, receive)


@pytest.mark.parametrize("body", [nested(64), nested(32, '{"a":[', "]}"), b"[" + b"[]," * 5000 + b"[]]", b'"' + b"[" * 100 + b'"'])
def test_json_of_64_levels_is_not_too_deep(body: bytes) -> None:
    refuse_deep(body)


@pytest.mark.parametrize(
    "body",
    [
        nested(65),
        nested(33, '{"a":[', "]}"),
        b'{"a":"\\"]]]]","b":' + nested(64) + b"}",
        nested(500_000),
        b"[" * 500 + b"1" + b"]" * 500,
    ],
)
def test_json_of_more_levels_is(body: bytes) -> None:
    with pytest.raises(ValidationFailed):
        refuse_deep(body)


@pytest.mark.parametrize(
    "body", [b"[]" * 500_000, b'"\\' * 500_000, b'"' * 1_000_000, b"[" * 1_000_000, b'{"a":' * 200_000, nested(64) * 8000]
)
def test_no_body_takes_long_to_judge(body: bytes) -> None:
    began = time.process_time()
    with pytest.raises((MalformedRequest, ValidationFailed)):
        parse_json(body)
    assert time.process_time() - began < 0.5


@pytest.mark.parametrize("body", [b"", b"{", b"{'a': 1}", b"[1,]", b"01", b'"\x01"', b"nul", b"[" * 50, b'{"a":1}}', b"\xef\xbb\xbf{}"])
def test_what_is_not_json_is_malformed(body: bytes) -> None:
    with pytest.raises(MalformedRequest, match="not JSON"):
        parse_json(body)


@pytest.mark.parametrize("body", [b'"\xff"', '"é"'.encode("latin-1"), '{"a": 1}'.encode("utf-16")])
def test_what_is_not_utf_8_is_malformed(body: bytes) -> None:
    with pytest.raises(MalformedRequest, match="not UTF-8"):
        parse_json(body)


@pytest.mark.parametrize("body", [b"NaN", b"[Infinity]", b"-Infinity", b"1e999", b"-1e999", b"9" * 5000])
def test_numbers_that_no_field_can_hold_are_refused(body: bytes) -> None:
    with pytest.raises(ValidationFailed):
        parse_json(body)


def test_big_integers_keep_their_value() -> None:
    assert parse_json(str(2**200).encode()) == 2**200
    assert parse_json(b'{"a": [1.5, -0.0, 1e300]}') == {"a": [1.5, -0.0, 1e300]}


async def test_a_strict_request_parses_its_body_once() -> None:
    asked = request(b'{"a": [1]}')
    assert await asked.json() is await asked.json()


async def test_a_strict_request_refuses_what_pythons_json_takes() -> None:
    with pytest.raises(ValidationFailed):
        await request(b"NaN").json()


@pytest.mark.parametrize("given", ["application/json", "Application/JSON; charset=utf-8"])
def test_a_body_of_the_right_type_is_read(given: str) -> None:
    require_media_type(request(content_type=given, content_length="2"), "application/json")


@pytest.mark.parametrize("given", ["text/plain", "application/json-patch+json", "", "application", None])
def test_a_body_of_another_type_is_not(given: str | None) -> None:
    with pytest.raises(UnsupportedMediaType) as refused:
        require_media_type(request(content_type=given, content_length="2"), "application/json", "application/merge-patch+json")
    assert refused.value.headers["Accept"] == "application/json, application/merge-patch+json"


@pytest.mark.parametrize("headers", [{}, {"content_length": "0"}])
def test_no_body_has_no_type_to_refuse(headers: dict[str, str]) -> None:
    require_media_type(request(b"", None, **headers), "application/json")


def test_a_chunked_body_has_a_type() -> None:
    with pytest.raises(UnsupportedMediaType):
        require_media_type(request(transfer_encoding="chunked"), "application/json")


def test_an_announced_body_over_the_limit_is_refused_unread() -> None:
    refuse_large(None, 10)
    refuse_large(10, 10)
    with pytest.raises(PayloadTooLarge):
        refuse_large(11, 10)


@pytest.mark.parametrize(("headers", "length"), [([], None), ([(b"content-length", b"12")], 12), ([(b"content-length", b"a")], None)])
def test_the_declared_length_is_a_number(headers: list[tuple[bytes, bytes]], length: int | None) -> None:
    assert declared_length(headers) == length


async def test_a_body_is_stopped_where_it_passes_the_limit() -> None:
    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"12345", "more_body": True}

    receive_limited = limited(receive, 10)
    await receive_limited()
    await receive_limited()
    with pytest.raises(PayloadTooLarge):
        await receive_limited()


async def test_a_disconnect_passes_the_limit() -> None:
    async def receive() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    assert await limited(receive, 0)() == {"type": "http.disconnect"}


def test_the_plain_request_is_looser() -> None:
    """Why there is a strict one."""
    assert isinstance(request(), Request)
    assert json.loads("NaN") != json.loads("NaN")
