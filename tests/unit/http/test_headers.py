"""Security headers, request ids, trace context, CORS."""

import pytest

from app.core.http.cors import Cors
from app.core.http.headers import add_security, new_request_id, request_id, traceparent

TRACE = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def test_every_answer_gets_the_security_headers() -> None:
    given = [(b"content-type", b"application/json")]
    add_security(given, https=False)
    added = dict(given)
    assert added[b"x-content-type-options"] == b"nosniff"
    assert b"frame-ancestors 'none'" in added[b"content-security-policy"]
    assert added[b"cache-control"] == b"private, no-store"
    assert b"strict-transport-security" not in added


def test_what_a_route_says_about_caching_and_policy_stays() -> None:
    given = [(b"cache-control", b"public"), (b"content-security-policy", b"default-src 'self'")]
    add_security(given, https=False)
    assert [value for name, value in given if name == b"cache-control"] == [b"public"]
    assert [value for name, value in given if name == b"content-security-policy"] == [b"default-src 'self'"]
    assert (b"x-content-type-options", b"nosniff") in given


def test_https_is_remembered_by_the_client() -> None:
    given: list[tuple[bytes, bytes]] = []
    add_security(given, https=True)
    assert dict(given)[b"strict-transport-security"].startswith(b"max-age=31536000")


@pytest.mark.parametrize("given", [b"a", b"A-Z.0_9", b"x" * 128])
def test_a_well_formed_request_id_is_kept(given: bytes) -> None:
    assert request_id(given) == given.decode()


@pytest.mark.parametrize("given", [None, b"", b"x" * 129, b"a b", b"a\nb", "é".encode(), b"id\n"])
def test_any_other_request_id_is_replaced(given: bytes | None) -> None:
    made = request_id(given)
    assert len(made) == 32
    assert made.encode() != given


def test_request_ids_differ() -> None:
    assert len({new_request_id() for _ in range(1000)}) == 1000


def test_a_well_formed_traceparent_is_passed_on() -> None:
    assert traceparent(TRACE) == TRACE.decode()


@pytest.mark.parametrize(
    "given", [None, b"", TRACE[:-1], TRACE.upper(), b"ff" + TRACE[2:], b"00-" + b"0" * 32 + TRACE[35:], TRACE[:36] + b"0" * 16 + b"-01"]
)
def test_any_other_traceparent_is_dropped(given: bytes | None) -> None:
    assert traceparent(given) is None


CORS = Cors(["https://app.example.com/", "http://localhost:80", "http://localhost:3000"])


def test_an_allowed_origin_may_read_with_credentials() -> None:
    headers = dict(CORS.headers(b"https://app.example.com"))
    assert headers[b"access-control-allow-origin"] == b"https://app.example.com"
    assert headers[b"access-control-allow-credentials"] == b"true"
    assert b"ETag" in headers[b"access-control-expose-headers"]
    assert headers[b"vary"] == b"Origin"


@pytest.mark.parametrize(
    "origin", [None, b"null", b"https://evil.example.com", b"https://app.example.com.evil.com", b"https://app.example.com:8443"]
)
def test_any_other_origin_may_not(origin: bytes | None) -> None:
    assert CORS.headers(origin) == [(b"vary", b"Origin")]


def test_a_default_port_is_no_other_origin() -> None:
    assert CORS.allows(b"http://localhost")
    assert CORS.allows(b"http://localhost:3000")
    assert not CORS.allows(b"http://localhost:3001")


def test_a_preflight_of_an_allowed_origin_learns_what_it_may_send() -> None:
    headers = dict(CORS.preflight(b"http://localhost:3000"))
    assert headers[b"access-control-allow-origin"] == b"http://localhost:3000"
    assert b"PATCH" in headers[b"access-control-allow-methods"]
    assert b"Idempotency-Key" in headers[b"access-control-allow-headers"]
    assert b"*" not in b"".join(headers.values())


def test_a_preflight_of_a_foreign_origin_learns_nothing() -> None:
    assert [name for name, _ in CORS.preflight(b"https://evil.example.com")] == [b"vary"]
