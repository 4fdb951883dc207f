"""The taps count what a process asks, exactly, and change nothing on the way."""

from collections import Counter
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING

import asyncpg
import pytest

from app.core.redis import connect
from loadtests.gate.counters import NUMBER, Counts, compare_counts
from loadtests.gate.finding import Verdict
from loadtests.gate.taps import PostgresReader, RedisReader, Tap, tapped

if TYPE_CHECKING:
    from app.local.servers.valkey import Valkey
    from tests.worker import WorkerDatabase


@pytest.fixture
async def taps(postgres: "WorkerDatabase", valkey_instance: "Valkey") -> AsyncGenerator[dict[str, Tap]]:
    with tapped({"database": postgres.superuser_url, "redis": valkey_instance.url()}) as opened:
        yield opened


async def test_statements_are_counted_by_their_text_prepared_or_not(taps: dict[str, Tap]) -> None:
    connection = await asyncpg.connect(taps["database"].url)
    try:
        for number in range(5):
            assert await connection.fetchval("SELECT $1::int + 1", number) == number + 1
        await connection.execute("SELECT 2")
        assert await connection.fetchval("SELECT length($1)", "x" * 300_000) == 300_000
    finally:
        await connection.close()
    counts = taps["database"].counts
    assert (counts["SELECT $1::int + 1"], counts["SELECT 2"], counts["SELECT length($1)"]) == (5, 1, 1)


async def test_commands_are_counted_by_their_names_in_pipelines_too(taps: dict[str, Tap]) -> None:
    redis = connect(taps["redis"].url)
    try:
        async with redis.pipeline(transaction=False) as pipeline:
            for _ in range(7):
                pipeline.incr("tapped")
            assert (await pipeline.execute())[-1] == 7
        await redis.set("large", b"x" * 200_000)
        await redis.delete("tapped", "large")
    finally:
        await redis.aclose()
    counts = taps["redis"].counts
    assert (counts["INCRBY"] + counts["INCR"], counts["SET"], counts["DEL"]) == (7, 1, 1)


def test_messages_that_come_in_pieces_are_understood() -> None:
    startup = b"\x00\x00\x00\x08\x00\x03\x00\x00"
    query = b"Q\x00\x00\x00\x0dSELECT 1\x00"
    for step in (1, 3, 7):
        counts: Counter[str] = Counter()
        reader = PostgresReader(counts)
        sent = startup + query * 3
        for begin in range(0, len(sent), step):
            reader.feed(sent[begin : begin + step])
        assert counts == {"SELECT 1": 3}
        commands: Counter[str] = Counter()
        understood = RedisReader(commands)
        sent = b"*2\r\n$3\r\nGET\r\n$4\r\na\r\nb\r\n" * 3
        for begin in range(0, len(sent), step):
            understood.feed(sent[begin : begin + step])
        assert commands == {"GET": 3}


def test_one_statement_more_fails_unless_it_is_accepted_and_one_less_is_a_note() -> None:
    few, many = {"GET /": Counts(Counter(a=1), Counter(), 10)}, {"GET /": Counts(Counter(a=1, b=20), Counter(), 10)}
    by_check = {finding.check: finding for finding in compare_counts(few, many, frozenset())}
    assert by_check["SQL statements"].verdict is Verdict.FAIL
    assert "20 more of: b" in by_check["SQL statements"].sentence
    assert by_check["Redis commands"].verdict is by_check["bytes answered"].verdict is Verdict.PASS
    assert {finding.verdict for finding in compare_counts(few, many, frozenset(["GET /"]))} == {Verdict.PASS, Verdict.NOTE}
    assert {finding.verdict for finding in compare_counts(many, few, frozenset())} == {Verdict.PASS, Verdict.NOTE}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (b'{"id":9,"items":[1,22]}', b'{"id":10,"items":[333,4]}'),
        (b'{"created_at":"2026-01-01T00:00:00.120001Z"}', b'{"created_at":"2026-01-01T00:00:00.12Z"}'),
    ],
)
def test_ids_and_fractions_do_not_count_as_bytes(one: bytes, other: bytes) -> None:
    assert len(NUMBER.sub(b"0", one)) == len(NUMBER.sub(b"0", other))


def test_digits_within_texts_do() -> None:
    assert NUMBER.sub(b"0", b'{"title":"room 101"}') == b'{"title":"room 101"}'
