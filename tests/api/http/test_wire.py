"""What arrives on the wire before it is a request: limits, malformed bytes, slow clients."""

import asyncio
from collections.abc import AsyncGenerator

import httpx
import pytest

from app.core.http import protocol
from tests.api.http.conftest import Answer, Service

GET = b"GET /health/live HTTP/1.1\r\nHost: 127.0.0.1\r\n"


def assert_problem(answer: Answer, status: int, slug: str) -> None:
    """Check that an answer is a problem with all that belongs to one."""
    assert answer.status == status
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["type"] == f"/errors/{slug}"
    assert problem["status"] == status
    assert problem["request_id"] == answer.headers["x-request-id"]
    assert answer.headers["x-content-type-options"] == "nosniff"


async def test_a_connection_serves_one_request_after_the_other(service: Service) -> None:
    async with service.connect() as wire:
        for _ in range(3):
            assert (await wire.ask(GET + b"\r\n")).status == 200


async def test_pipelined_requests_are_answered_in_order(service: Service) -> None:
    async with service.connect() as wire:
        await wire.say((GET + b"X-Request-ID: first\r\n\r\n") + (GET + b"X-Request-ID: second\r\n\r\n"))
        assert [(await wire.answer()).headers["x-request-id"] for _ in range(2)] == ["first", "second"]


async def test_headers_of_16_kib_pass_and_one_byte_more_does_not(service: Service) -> None:
    spent = len("hostx-long") + len("127.0.0.1") + 2 * 4
    async with service.connect() as wire:
        fitting = b"X-Long: " + b"a" * (protocol.MAX_HEADER_BYTES - spent)
        assert (await wire.ask(GET + fitting + b"\r\n\r\n")).status == 200
        answer = await wire.ask(GET + fitting + b"a\r\n\r\n")
    assert_problem(answer, 431, "headers-too-large")
    assert answer.headers["connection"] == "close"


async def test_many_small_headers_are_too_large_together(service: Service) -> None:
    async with service.connect() as wire:
        answer = await wire.ask(GET + b"".join(b"X-%d: a\r\n" % number for number in range(2000)) + b"\r\n")
    assert_problem(answer, 431, "headers-too-large")


async def test_a_header_that_never_ends_is_refused_before_it_does(service: Service) -> None:
    async with service.connect() as wire:
        await wire.say(GET + b"X-Endless: ")
        for _ in range(3):
            await wire.say(b"a" * protocol.MAX_HEAD_BYTES)
        assert_problem(await wire.answer(), 431, "headers-too-large")


async def test_a_url_of_8_kib_passes_and_one_byte_more_does_not(service: Service) -> None:
    path = b"/health/live?" + b"a" * (protocol.MAX_URL_BYTES - len("/health/live?"))
    async with service.connect() as wire:
        assert (await wire.ask(b"GET " + path + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")).status == 200
        answer = await wire.ask(b"GET " + path + b"a HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
    assert_problem(answer, 414, "uri-too-long")


@pytest.mark.parametrize(
    "data",
    [
        b"complete nonsense\r\n\r\n",
        b"GET / HTTP/9.9\r\nHost: 127.0.0.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nBad Header\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nNul: a\x00b\r\n\r\n",
        b"CONNECT example.com:443 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
)
async def test_what_is_not_http_is_a_problem(service: Service, data: bytes) -> None:
    async with service.connect() as wire:
        assert_problem(await wire.ask(data), 400, "malformed-request")


async def test_a_broken_chunk_ends_the_request_it_belongs_to(service: Service) -> None:
    head = b"POST /api/v1/auth/refresh HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with service.connect() as wire:
        await wire.say(head)
        await asyncio.sleep(0.05)  # the request begins
        assert_problem(await wire.ask(b"zz\r\n"), 400, "malformed-request")
        assert await wire.rest() == b""


async def test_nonsense_after_a_request_does_not_spoil_its_answer(service: Service) -> None:
    async with service.connect() as wire:
        await wire.say(GET + b"\r\nnonsense\r\n\r\n")
        answer = await wire.answer()
        assert answer.status == 200
        assert await wire.rest() == b""


async def test_trailers_are_not_headers(service: Service) -> None:
    body = b"POST /nowhere HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-Request-ID: trailer\r\n\r\n"
    async with service.connect() as wire:
        answer = await wire.ask(body)
        assert answer.headers["x-request-id"] != "trailer"
        assert (await wire.ask(GET + b"\r\n")).status == 200


async def test_a_head_that_comes_too_slowly_is_a_408(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "HEAD_SECONDS", 0.1)
    async with service.connect() as wire:
        await wire.say(GET)
        assert_problem(await wire.answer(), 408, "request-timeout")


async def test_every_further_head_has_its_own_time(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    async with service.connect() as wire:
        assert (await wire.ask(GET + b"\r\n")).status == 200
        monkeypatch.setattr(protocol, "HEAD_SECONDS", 0.1)
        await wire.say(GET)
        assert_problem(await wire.answer(), 408, "request-timeout")


async def test_a_connection_that_says_nothing_is_closed(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "HEAD_SECONDS", 0.1)
    async with service.connect() as wire:
        assert await wire.rest() == b""


async def test_empty_lines_do_not_keep_a_connection_open(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    async with service.connect() as wire:
        assert (await wire.ask(GET + b"\r\n")).status == 200
        monkeypatch.setattr(protocol, "HEAD_SECONDS", 0.1)
        await wire.say(b"\r\n")
        assert await wire.rest() == b""


async def test_a_body_that_announces_too_much_is_refused_and_its_client_gets_to_know(service: Service) -> None:
    async with httpx.AsyncClient(base_url=service.url) as client:
        response = await client.post("/api/v1/auth/refresh", content=b"x" * 4_000_000, headers={"Content-Type": "application/json"})
        assert response.status_code == 413
        assert response.json()["type"] == "/errors/payload-too-large"
        assert (await client.get("/health/live")).status_code == 200


async def test_a_chunked_body_is_stopped_at_the_limit(service: Service) -> None:
    async def chunks() -> AsyncGenerator[bytes]:
        for _ in range(40):
            yield b"x" * 100_000

    async with httpx.AsyncClient(base_url=service.url) as client:
        response = await client.post("/api/v1/auth/refresh", content=chunks(), headers={"Content-Type": "application/json"})
    assert response.status_code == 413


async def test_the_rest_of_a_refused_body_is_read_for_so_long_only(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "LINGER_BYTES", 100_000)
    head = b"POST /api/v1/auth/refresh HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: 90000000\r\n\r\n"
    async with service.connect() as wire:
        assert_problem(await wire.ask(head), 413, "payload-too-large")
        with pytest.raises(ConnectionError):
            await wire.say(b"x" * 90_000_000)


async def test_who_waits_for_100_continue_is_refused_without_sending_the_body(service: Service) -> None:
    head = (
        b"POST /api/v1/auth/refresh HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        b"Content-Length: 90000000\r\nExpect: 100-continue\r\n\r\n"
    )
    async with service.connect() as wire:
        answer = await wire.ask(head)
        assert_problem(answer, 413, "payload-too-large")
        assert answer.headers["connection"] == "close"


async def test_the_server_does_not_say_what_it_is(service: Service) -> None:
    async with service.connect() as wire:
        answer = await wire.ask(GET + b"\r\n")
    assert "server" not in answer.headers
    assert answer.headers["date"].endswith("GMT")
