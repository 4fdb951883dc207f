"""The client of the benchmark, against a server that answers what a test wants."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from loadtests.closed_loop import Request, encode, load

GET = encode("GET", "/")
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

type Answer = Callable[[asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def serving(answer: Answer) -> AsyncGenerator[int]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(65_536):
            await answer(writer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


def saying(*pieces: bytes) -> Answer:
    async def answer(writer: asyncio.StreamWriter) -> None:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.01 if len(pieces) > 1 else 0)

    return answer


async def test_every_connection_repeats_its_request_until_the_end() -> None:
    async with serving(saying(ANSWER)) as port:
        tally = await load(port, [Request(GET)] * 3, seconds=0.1)
    assert tally.answered > 3
    assert (tally.unexpected, tally.wrong) == ([], [])
    assert tally.seconds >= 0.1
    assert tally.per_second == pytest.approx(tally.answered / tally.seconds)


async def test_each_request_is_sent_once_where_there_is_no_time() -> None:
    async with serving(saying(ANSWER)) as port:
        assert (await load(port, [Request(GET)] * 3, seconds=0)).answered == 3


@pytest.mark.parametrize("cut", [5, 25, 40, len(ANSWER) - 1])
async def test_an_answer_may_come_in_pieces(cut: int) -> None:
    async with serving(saying(ANSWER[:cut], ANSWER[cut:])) as port:
        tally = await load(port, [Request(GET, accepts=b"ok".__eq__)], seconds=0)
    assert (tally.answered, tally.unexpected, tally.wrong) == (1, [], [])


async def test_a_name_of_a_header_may_be_in_any_case_and_at_the_end() -> None:
    async with serving(saying(b"HTTP/1.1 200 OK\r\nx: y\r\ncontent-length:3\r\n\r\n", b"yes")) as port:
        assert (await load(port, [Request(GET, accepts=b"yes".__eq__)], seconds=0)).wrong == []


async def test_another_status_is_noted() -> None:
    async with serving(saying(b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n")) as port:
        assert (await load(port, [Request(GET)], seconds=0)).unexpected == [503]


async def test_a_wrong_body_is_noted() -> None:
    async with serving(saying(ANSWER)) as port:
        assert (await load(port, [Request(GET, accepts=b"no".__eq__)], seconds=0)).wrong == [b"ok"]


async def test_a_server_that_hangs_up_is_an_error() -> None:
    async def hang_up(writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with serving(hang_up) as port:
        with pytest.raises(ConnectionError):
            await load(port, [Request(GET)], seconds=5)


async def test_percentiles_are_of_the_answers_in_order() -> None:
    async with serving(saying(ANSWER)) as port:
        tally = await load(port, [Request(GET)], seconds=0)
    tally.latencies = [0.003, 0.001, 0.002, 0.004]
    assert (tally.percentile(0.5), tally.percentile(0.99)) == (0.003, 0.004)
