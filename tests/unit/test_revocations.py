"""Revocations survive whatever fails on their way."""

import asyncio
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from redis.asyncio import Redis

from app.core import revocations
from app.core.redis import connect
from app.core.revocations import OVERLAP_SECONDS, Revocations, Subject, parse


class Marks:
    """Stands for PostgreSQL: what was revoked, or the errors it raises first."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.rows: list[tuple[Subject, datetime]] = []
        self.asked: list[timedelta] = []
        self.answered = asyncio.Condition()

    async def recent(self, age: timedelta) -> Iterable[tuple[Subject, datetime]]:
        self.asked.append(age)
        async with self.answered:
            self.answered.notify_all()
        if self.errors:
            raise self.errors.pop(0)
        return list(self.rows)

    async def polls(self, count: int) -> None:
        """Wait for as many further polls to have begun."""
        wanted = len(self.asked) + count
        async with asyncio.timeout(5), self.answered:
            await self.answered.wait_for(lambda: len(self.asked) >= wanted)


@pytest.fixture
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Poll a hundred times as often."""
    monkeypatch.setattr(revocations, "POLL_SECONDS", 0.02)


async def test_a_poll_that_fails_is_repeated_and_looks_back_behind_the_failure(fast: None, valkey: Redis) -> None:
    marks = Marks(OSError("no route"), RuntimeError("a fault of ours"))
    session = uuid4()
    marks.rows.append((session, datetime.now(UTC)))
    told: list[Subject] = []
    watched = Revocations(valkey, marks.recent)
    watched.subscribe(told.append)
    async with watched.watching():
        await marks.polls(5)
    assert told == [session]
    assert min(marks.asked) >= timedelta(seconds=OVERLAP_SECONDS)


async def test_what_a_poll_found_before_is_told_again_only_when_it_changed_again(fast: None, valkey: Redis) -> None:
    marks = Marks()
    marks.rows.append((7, datetime(2026, 1, 1, tzinfo=UTC)))
    told: list[Subject] = []
    watched = Revocations(valkey, marks.recent)
    watched.subscribe(told.append)
    async with watched.watching():
        await marks.polls(3)
        assert told == [7]
        marks.rows[0] = (7, datetime(2026, 1, 2, tzinfo=UTC))
        await marks.polls(3)
        assert told == [7, 7]


async def test_who_listens_no_more_is_told_nothing(valkey: Redis) -> None:
    told: list[Subject] = []
    watched = Revocations(valkey, Marks().recent)
    end = watched.subscribe(told.append)
    async with watched.watching():
        watched.announce(1)
        end()
        watched.announce(2)
    assert told == [1]


async def test_announcing_does_not_wait_for_redis_that_is_gone() -> None:
    nowhere = connect("redis://127.0.0.1:1/0")
    told: list[Subject] = []
    watched = Revocations(nowhere, Marks().recent)
    watched.subscribe(told.append)
    async with watched.watching():
        watched.announce(7)
        assert told == [7]
    await nowhere.aclose()


def test_a_message_is_read_for_what_it_names_and_nothing_else() -> None:
    session = UUID("01890a5d-ac96-774b-bcce-b302099a8057")
    assert parse(f"{session} 7 -1 nonsense \udcff 8".encode(errors="surrogateescape")) == [session, 7, 8]
