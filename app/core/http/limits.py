"""Rate limits, counted in Redis and spent in the process.

A lease of some dozens or hundreds of requests costs one round trip (one Lua script); what is leased is spent without
one. While Redis is away, requests pass unchecked and a metric says so; wrong logins are then counted in the process.
"""

import asyncio
import logging
import time
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from redis.asyncio import Redis
from redis.exceptions import RedisError

from app.core import metrics
from app.core.errors import TooManyRequests
from app.core.http.policies import COUNTED, POLICIES, SPENT, Policy
from app.core.http.proxy import subscriber

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

REDIS_TIMEOUT_SECONDS: Final = 0.25
PROBE_SECONDS: Final = 0.5
MAX_SUBJECTS: Final = 50_000

logger = logging.getLogger(__name__)

type SubjectKey = int | str

#: Takes up to ARGV[3] of the quota ARGV[1] within the window of ARGV[2] milliseconds that the first taking began.
#: Returns what was taken, what is left, and the milliseconds until the window ends.
TAKE: Final = """
local used = tonumber(redis.call('GET', KEYS[1]) or 0)
local ends = redis.call('PTTL', KEYS[1])
if ends < 0 then
  used, ends = 0, tonumber(ARGV[2])
end
local taken = math.max(0, math.min(tonumber(ARGV[3]), tonumber(ARGV[1]) - used))
if taken > 0 then
  redis.call('SET', KEYS[1], used + taken, 'PX', ends)
end
return {taken, tonumber(ARGV[1]) - used - taken, ends}
"""


class Decision(NamedTuple):
    """Whether a request may pass, and how its sender stands.

    Attributes:
        allowed: Whether it may.
        policy: The policy.
        left: Requests left in the window.
        seconds: Until the window ends.
    """

    allowed: bool
    policy: Policy
    left: int
    seconds: int

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """The headers that tell the sender."""
        return [self.policy.header, (b"ratelimit", self.policy.standing % (self.left, self.seconds))]

    @property
    def lines(self) -> bytes:
        """The same as they stand on the wire."""
        return self.policy.lines % (self.left, self.seconds)

    def problem(self) -> TooManyRequests:
        """Return the refusal. Its headers are the decision's, ``Retry-After`` added."""
        told = {name.decode(): value.decode() for name, value in self.headers}
        return TooManyRequests(headers={**told, "Retry-After": str(self.seconds)})


class _Taken(NamedTuple):
    tokens: int
    left: int
    resets_at: float


@dataclass(slots=True)
class _Lease:
    """What a process may still spend for a subject, until when, and what Redis had left after it."""

    tokens: int
    left: int
    resets_at: float
    allowed: metrics.Tally


@dataclass(slots=True)
class _Count:
    count: int
    resets_at: float


class _Tallies:
    """A policy's decisions, by outcome."""

    def __init__(self, policy: Policy) -> None:
        def tally(decision: str) -> metrics.Tally:
            return metrics.tally(metrics.RATE_LIMIT_DECISIONS.labels(policy.name, decision))

        self.allowed, self.refused, self.unchecked = tally("allowed"), tally("refused"), tally("unchecked")


def _remember[Value](known: dict[SubjectKey, Value], subject: SubjectKey, value: Value) -> None:
    """Keep a subject's value, letting go of the one renewed longest ago where there are too many."""
    known.pop(subject, None)
    if len(known) >= MAX_SUBJECTS:
        del known[next(iter(known))]
    known[subject] = value


def _decide(policy: Policy, allowed: bool, left: int, resets_at: float, now: float) -> Decision:  # noqa: FBT001  # a decision
    return Decision(allowed, policy, left, int(resets_at - now) + 1)


class Limits:
    """The process's share of the rate limits.

    Args:
        redis: Where the counts are.
        timeout: Seconds that Redis has to answer.
    """

    def __init__(self, redis: Redis, timeout: float = REDIS_TIMEOUT_SECONDS) -> None:
        self._redis = redis
        self._take_in_redis: Callable[..., Awaitable[Any]] = redis.register_script(TAKE)
        self._timeout = timeout
        self._leases: dict[str, dict[SubjectKey, _Lease]] = {policy.name: {} for policy in SPENT}
        self._counts: dict[str, dict[SubjectKey, _Count]] = {policy.name: {} for policy in COUNTED}
        self._tallies = {policy.name: _Tallies(policy) for policy in POLICIES.values()}
        self._renewals: dict[tuple[str, SubjectKey], asyncio.Task[None]] = {}
        self._probe: asyncio.Task[None] | None = None

    def spend(self, policy: Policy, subject: SubjectKey) -> Decision | None:
        """Spend one request of a lease; never waits.

        Args:
            policy: The route's policy.
            subject: A user's id, or an address as ``app.core.http.proxy.subscriber`` returns it.

        Returns:
            The decision, or ``None`` where ``lease`` has to be asked.
        """
        lease = self._leases[policy.name].get(subject)
        now = time.monotonic()
        if lease is None or now >= lease.resets_at:
            return None
        if lease.tokens:
            lease.tokens -= 1
            lease.allowed.count += 1
            return _decide(policy, True, lease.tokens + lease.left, lease.resets_at, now)
        if lease.left > 0:
            return None
        self._tallies[policy.name].refused.count += 1
        return _decide(policy, False, 0, lease.resets_at, now)

    async def lease(self, policy: Policy, subject: SubjectKey) -> Decision:
        """Lease further requests and spend one of them. Requests of one subject share a round trip."""
        while (decision := self.spend(policy, subject)) is None:
            key = (policy.name, subject)
            renewal = self._renewals.get(key)
            if renewal is None:
                renewal = self._renewals[key] = asyncio.create_task(self._renew(policy, subject))
            # One request's end must not be the end of the others that wait.
            await asyncio.shield(renewal)
        return decision

    async def _renew(self, policy: Policy, subject: SubjectKey) -> None:
        try:
            taken = await self._take(policy, subject, policy.block)
            tallies = self._tallies[policy.name]
            if taken is None:
                until = time.monotonic() + PROBE_SECONDS
                lease = _Lease(policy.block, policy.quota - policy.block, until, tallies.unchecked)
            else:
                lease = _Lease(taken.tokens, taken.left, taken.resets_at, tallies.allowed)
            _remember(self._leases[policy.name], subject, lease)
        finally:
            del self._renewals[policy.name, subject]

    async def check(self, name: str, subject: SubjectKey) -> None:
        """Refuse a subject that has no more of a counted policy, without counting.

        Args:
            name: A policy of ``policies.COUNTED``.
            subject: What the policy counts by: an account or an address.

        Raises:
            TooManyRequests: with ``Retry-After``.
        """
        await self._counted(POLICIES[name], subject, 0)

    async def count(self, name: str, subject: SubjectKey) -> None:
        """Count one against a counted policy.

        Args:
            name: A policy of ``policies.COUNTED``.
            subject: What the policy counts by: an account or an address.

        Raises:
            TooManyRequests: with ``Retry-After``, if the quota was used up before.
        """
        await self._counted(POLICIES[name], subject, 1)

    async def _counted(self, policy: Policy, subject: SubjectKey, wanted: int) -> None:
        if policy.per == "address":
            subject = subscriber(str(subject))
        # Counted here as well, so that nobody starts anew at the moment Redis goes away.
        here = self._count_here(policy, subject, wanted)
        taken = await self._take(policy, subject, wanted)
        tallies = self._tallies[policy.name]
        left, resets_at = (policy.quota - here.count, here.resets_at) if taken is None else (taken.left, taken.resets_at)
        exhausted = left <= 0 if wanted == 0 else left < 0 or (taken is not None and taken.tokens == 0)
        if exhausted:
            tallies.refused.count += 1
            raise _decide(policy, False, 0, resets_at, time.monotonic()).problem()
        (tallies.allowed if taken else tallies.unchecked).count += wanted

    def _count_here(self, policy: Policy, subject: SubjectKey, wanted: int) -> _Count:
        known, now = self._counts[policy.name], time.monotonic()
        entry = known.get(subject)
        if entry is None or now >= entry.resets_at:
            entry = _Count(0, now + policy.window)
            if wanted:
                _remember(known, subject, entry)
        entry.count += wanted
        return entry

    async def _take(self, policy: Policy, subject: SubjectKey, wanted: int) -> _Taken | None:
        """Take of a quota in Redis; ``None`` where Redis does not answer."""
        if self._probe is not None:
            return None
        # Accounts are told apart without being named: keys of Redis end up in its logs and dumps.
        key = f"limit:{policy.name}:{blake2b(str(subject).encode(), digest_size=16).hexdigest()}"
        try:
            async with asyncio.timeout(self._timeout):
                answer = await self._take_in_redis(keys=[key], args=[policy.quota, policy.window * 1000, wanted])
        except (RedisError, OSError, TimeoutError) as error:
            self._break(error)
            return None
        tokens, left, milliseconds = cast("list[int]", answer)
        return _Taken(tokens, left, time.monotonic() + milliseconds / 1000)

    def _break(self, error: Exception) -> None:
        """Ask Redis nothing more until it answers a ping again, so that a hung one delays one request and not all."""
        if self._probe is None:
            logger.warning("rate limits are not checked: Redis does not answer (%s)", type(error).__name__)
            self._probe = asyncio.create_task(self._wait_for_redis())

    async def _wait_for_redis(self) -> None:
        while True:
            await asyncio.sleep(PROBE_SECONDS)
            try:
                async with asyncio.timeout(self._timeout):
                    await self._redis.ping()  # pyright: ignore[reportUnknownMemberType]  # its options are untyped
            except (RedisError, OSError, TimeoutError):
                continue
            logger.info("rate limits are checked again")
            self._probe = None
            return

    async def close(self) -> None:
        """Stop waiting for Redis."""
        pending = [task for task in (self._probe, *self._renewals.values()) if task is not None]
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)
