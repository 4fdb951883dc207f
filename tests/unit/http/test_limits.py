"""Rate limits against a real Valkey, one that is gone, and one that hangs."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import pytest
from redis.asyncio import Redis

from app.core.config import Settings
from app.core.errors import TooManyRequests
from app.core.http import limits as module
from app.core.http.limits import Limits
from app.core.http.policies import POLICIES, Policy
from app.core.redis import connect
from app.local.servers.ports import free_port

READ = POLICIES["read"]
SMALL = Policy("read", 10, 60, "caller", 4, "Ten, four at a time.")
BRIEF = Policy("read", 2, 1, "caller", 1, "Two a second.")

type MakeLimits = Callable[[Redis], Limits]


@pytest.fixture
async def make_limits() -> AsyncGenerator[MakeLimits]:
    """Make limits that are closed at the end."""
    made: list[Limits] = []

    def make(redis: Redis) -> Limits:
        made.append(Limits(redis))
        return made[-1]

    yield make
    for limits in made:
        await limits.close()


@pytest.fixture
async def hung_redis() -> AsyncGenerator[Redis]:
    """A Redis that takes every command and answers none."""
    connections: list[asyncio.StreamWriter] = []

    async def take(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(writer)

    server = await asyncio.start_server(take, "127.0.0.1", 0)
    client = connect(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0")
    yield client
    await client.aclose()
    for connection in connections:
        connection.close()
    server.close()
    await server.wait_closed()


@pytest.fixture
async def absent_redis() -> AsyncGenerator[Redis]:
    """A Redis where nobody listens."""
    client = connect("redis://127.0.0.1:1/0")
    yield client
    await client.aclose()


class Line:
    """A line to Valkey that can be cut and mended."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._server: asyncio.Server | None = None
        self._writers: list[asyncio.StreamWriter] = []
        self.port = free_port()

    async def mend(self) -> None:
        """Take connections."""
        self._server = await asyncio.start_server(self._connect, "127.0.0.1", self.port)

    async def cut(self) -> None:
        """End every connection and take no more."""
        if self._server is not None:
            self._server.close()
        for writer in self._writers:
            writer.close()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
        self._writers += [writer, far_writer]
        await asyncio.gather(_copy(reader, far_writer), _copy(far_reader, writer))


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
    writer.close()


@pytest.fixture
async def line(valkey: Redis) -> AsyncGenerator[Line]:
    """A line to this worker's Valkey, whole at first."""
    line = Line(valkey.connection_pool.connection_kwargs["port"])
    await line.mend()
    yield line
    await line.cut()


@pytest.fixture
async def distant_redis(line: Line, settings: Settings) -> AsyncGenerator[Redis]:
    """Valkey at the end of the line."""
    address = urlsplit(str(settings.REDIS_URL))
    client = connect(urlunsplit(address._replace(netloc=f"{address.netloc.rpartition(':')[0]}:{line.port}")))
    yield client
    await client.aclose()


async def ask(valkey: Redis, *command: str) -> Any:
    """Run a command of Redis."""
    untyped: Any = valkey  # its commands' options have no types
    return await untyped.execute_command(*command)


async def round_trips(valkey: Redis) -> int:
    """Scripts run since the last reset."""
    statistics: dict[str, dict[str, int]] = await ask(valkey, "INFO", "commandstats")
    return statistics.get("cmdstat_evalsha", {"calls": 0})["calls"]


async def passes(limits: Limits, policy: Policy, subject: int | str) -> bool:
    """Whether one more request passes."""
    return (limits.spend(policy, subject) or await limits.lease(policy, subject)).allowed


async def test_exactly_the_quota_passes(valkey: Redis, make_limits: MakeLimits) -> None:
    limits = make_limits(valkey)
    assert [await passes(limits, SMALL, 1) for _ in range(12)] == [True] * 10 + [False] * 2


async def test_two_processes_share_a_quota(valkey: Redis, make_limits: MakeLimits) -> None:
    first, second = make_limits(valkey), make_limits(valkey)
    passed = [await passes(limits, SMALL, 1) for _ in range(20) for limits in (first, second)]
    assert sum(passed) == 10


async def test_subjects_and_policies_do_not_share(valkey: Redis, make_limits: MakeLimits) -> None:
    limits = make_limits(valkey)
    for _ in range(11):
        await passes(limits, SMALL, 1)
    assert not await passes(limits, SMALL, 1)
    assert await passes(limits, SMALL, 2)
    assert await passes(limits, POLICIES["write"], 1)


async def test_a_lease_is_spent_without_a_round_trip(valkey: Redis, make_limits: MakeLimits) -> None:
    limits = make_limits(valkey)
    await limits.lease(READ, 1)
    await ask(valkey, "CONFIG", "RESETSTAT")
    assert all(limits.spend(READ, 1) for _ in range(READ.block - 1))
    assert limits.spend(READ, 1) is None
    assert await round_trips(valkey) == 0
    await limits.lease(READ, 1)
    assert await round_trips(valkey) == 1


async def test_requests_that_wait_for_a_lease_share_its_round_trip(valkey: Redis, make_limits: MakeLimits) -> None:
    limits = make_limits(valkey)
    await limits.lease(READ, 0)
    await ask(valkey, "CONFIG", "RESETSTAT")
    decisions = await asyncio.gather(*(limits.lease(READ, 1) for _ in range(50)))
    assert all(decision.allowed for decision in decisions)
    assert await round_trips(valkey) == 1


async def test_a_request_that_is_cut_off_takes_no_other_with_it(valkey: Redis, make_limits: MakeLimits) -> None:
    limits = make_limits(valkey)
    first = asyncio.create_task(limits.lease(READ, 1))
    second = asyncio.create_task(limits.lease(READ, 1))
    await asyncio.sleep(0)
    first.cancel()
    assert (await second).allowed


async def test_a_refusal_is_remembered_without_a_round_trip(valkey: Redis, make_limits: MakeLimits) -> None:
    limits = make_limits(valkey)
    for _ in range(10):
        await passes(limits, SMALL, 1)
    await limits.lease(SMALL, 1)
    await ask(valkey, "CONFIG", "RESETSTAT")
    assert not await passes(limits, SMALL, 1)
    assert await round_trips(valkey) == 0


async def test_a_window_ends(valkey: Redis, make_limits: MakeLimits) -> None:
    limits = make_limits(valkey)
    assert [await passes(limits, BRIEF, 1) for _ in range(3)] == [True, True, False]
    async with asyncio.timeout(5):
        while not await passes(limits, BRIEF, 1):  # noqa: ASYNC110  # it is Redis's clock that is waited for
            await asyncio.sleep(0)


async def test_a_decision_says_how_its_subject_stands(valkey: Redis, make_limits: MakeLimits) -> None:
    limits = make_limits(valkey)
    decision = await limits.lease(SMALL, 1)
    assert decision.headers == [(b"ratelimit-policy", b'"read";q=10;w=60'), (b"ratelimit", b'"read";r=9;t=60')]
    assert decision.lines == b'ratelimit-policy: "read";q=10;w=60\r\nratelimit: "read";r=9;t=60\r\n'


async def test_a_refusal_says_when_to_come_back(valkey: Redis, make_limits: MakeLimits) -> None:
    limits = make_limits(valkey)
    for _ in range(10):
        await passes(limits, SMALL, 1)
    problem = (await limits.lease(SMALL, 1)).problem()
    assert problem.status == 429
    assert 58 <= int(problem.headers["Retry-After"]) <= 61
    assert problem.headers["ratelimit"].startswith('"read";r=0;t=')


async def test_no_more_than_so_many_subjects_are_remembered(
    valkey: Redis, make_limits: MakeLimits, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_SUBJECTS", 3)
    limits = make_limits(valkey)
    for subject in range(5):
        await limits.lease(READ, subject)
    assert limits.spend(READ, 1) is None
    assert limits.spend(READ, 2) is not None


async def test_while_redis_is_gone_requests_pass_and_one_alone_waits(absent_redis: Redis, make_limits: MakeLimits) -> None:
    limits = make_limits(absent_redis)
    assert await passes(limits, SMALL, 1)
    began = time.perf_counter()
    assert all([await passes(limits, SMALL, subject) for subject in range(100) for _ in range(30)])
    assert time.perf_counter() - began < 0.25


async def test_a_redis_that_hangs_delays_one_request_by_a_quarter_of_a_second(hung_redis: Redis, make_limits: MakeLimits) -> None:
    limits = make_limits(hung_redis)
    began = time.perf_counter()
    assert await passes(limits, SMALL, 1)
    assert time.perf_counter() - began < 0.6
    began = time.perf_counter()
    assert all([await passes(limits, SMALL, subject) for subject in range(100)])
    assert time.perf_counter() - began < 0.25


async def test_once_redis_is_back_limits_hold_again(
    line: Line, distant_redis: Redis, make_limits: MakeLimits, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PROBE_SECONDS", 0.05)
    limits = make_limits(distant_redis)
    await line.cut()
    assert all([await passes(limits, SMALL, 1) for _ in range(30)])
    await line.mend()
    async with asyncio.timeout(5):
        while await passes(limits, SMALL, 1):  # noqa: ASYNC110  # it is the probe that is waited for
            await asyncio.sleep(0)


async def test_counting_refuses_what_comes_after_the_quota(valkey: Redis, make_limits: MakeLimits) -> None:
    limits = make_limits(valkey)
    for _ in range(10):
        await limits.check("login-account", "a@example.com")
        await limits.count("login-account", "a@example.com")
    with pytest.raises(TooManyRequests):
        await limits.check("login-account", "a@example.com")
    with pytest.raises(TooManyRequests) as refused:
        await limits.count("login-account", "a@example.com")
    assert int(refused.value.headers["Retry-After"]) > 3500
    await limits.check("login-account", "b@example.com")


async def test_checking_does_not_count(valkey: Redis, make_limits: MakeLimits) -> None:
    limits = make_limits(valkey)
    for _ in range(20):
        await limits.check("login-account", "a@example.com")


async def test_addresses_of_one_ipv6_subscriber_count_together(valkey: Redis, make_limits: MakeLimits) -> None:
    limits = make_limits(valkey)
    for number in range(100):
        await limits.count("registration", f"2001:db8::{number:x}")
    with pytest.raises(TooManyRequests):
        await limits.check("registration", "2001:db8::ffff")


async def test_without_redis_wrong_logins_are_counted_in_the_process(absent_redis: Redis, make_limits: MakeLimits) -> None:
    limits = make_limits(absent_redis)
    for _ in range(10):
        await limits.count("login-account", "a@example.com")
    with pytest.raises(TooManyRequests):
        await limits.check("login-account", "a@example.com")
    with pytest.raises(TooManyRequests):
        await limits.count("login-account", "a@example.com")
    await limits.check("login-account", "b@example.com")


async def test_wrong_logins_do_not_begin_anew_where_redis_goes_away(line: Line, distant_redis: Redis, make_limits: MakeLimits) -> None:
    limits = make_limits(distant_redis)
    for _ in range(10):
        await limits.count("login-account", "a@example.com")
    await line.cut()
    with pytest.raises(TooManyRequests):
        await limits.check("login-account", "a@example.com")


async def test_keys_name_nobody(valkey: Redis, make_limits: MakeLimits) -> None:
    limits = make_limits(valkey)
    await limits.count("login-account", "somebody@example.com")
    (key,) = await ask(valkey, "KEYS", "limit:*")
    assert b"somebody" not in key
    assert 0 < await ask(valkey, "TTL", key) <= 3600
