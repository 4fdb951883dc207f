"""Open-loop load: requests come when they come, however slow the answers are, and none is ever sent again.

Each has an intended start, the arrivals of a Poisson process, and its latency counts from there: what waits behind a slow answer is
slow too. Every answer but the expected one is a failure, and so is a connection that is refused or reset.
"""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import httpx

from tests.reliability.actors import API, Person, Record

#: Parts of the mix: reading one, reading a page, making, changing.
MIX = {"item": 45, "list": 20, "create": 20, "change": 15}
EXPECTED = {"item": 200, "list": 200, "create": 201, "repeat": 201, "change": 200}
#: A create that is sent once more on purpose, with its key, must be answered with the item that exists.
REPEATED_SHARE = 0.05
NEW_CONNECTION_SHARE = 0.25
TIMEOUT_SECONDS = 15
SHOWN_FAILURES = 10


@dataclass(frozen=True, slots=True)
class Sample:
    """A request that ended.

    Attributes:
        kind: Which of the mix.
        phase: What the cluster was doing.
        at: Intended start, in seconds since the load began.
        seconds: From the intended start to the answer.
        fault: What went wrong; empty where nothing did.
    """

    kind: str
    phase: str
    at: float
    seconds: float
    fault: str


@dataclass(slots=True)
class Load:
    """Open-loop load on an address.

    Attributes:
        url: Where.
        people: On whose behalf.
        record: Keeps what is acknowledged.
        rate: Requests a second, on average.
        phase: What the cluster is doing now; set it, and samples say so.
        samples: The requests that ended.
    """

    url: str
    people: list[Person]
    record: Record
    rate: float
    phase: str = "before"
    samples: list[Sample] = field(default_factory=list[Sample])
    _free: list[tuple[Person, int]] = field(default_factory=list[tuple[Person, int]])
    _chance: random.Random = field(default_factory=lambda: random.Random(1))
    _changes: int = 0

    @asynccontextmanager
    async def running(self) -> AsyncGenerator["Load"]:
        """Send for the length of the block; wait for the last answers at its end."""
        sending = asyncio.create_task(self._send())
        try:
            yield self
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)

    async def until(self, requests: int) -> None:
        """Wait until so many requests have ended."""
        while len(self.samples) < requests:  # noqa: ASYNC110  # a count that grows has no event
            await asyncio.sleep(0.2)

    async def _send(self) -> None:
        loop = asyncio.get_running_loop()
        pooled = httpx.Limits(max_connections=None, max_keepalive_connections=100, keepalive_expiry=30)
        single = httpx.Limits(max_connections=None, max_keepalive_connections=0)
        options: dict[str, Any] = {"base_url": self.url + API, "timeout": TIMEOUT_SECONDS, "trust_env": False}
        async with httpx.AsyncClient(limits=pooled, **options) as kept, httpx.AsyncClient(limits=single, **options) as new:
            began = intended = loop.time()
            under_way: set[asyncio.Task[None]] = set()
            try:
                while True:
                    intended += self._chance.expovariate(self.rate)
                    await asyncio.sleep(intended - loop.time())
                    client = new if self._chance.random() < NEW_CONNECTION_SHARE else kept
                    task = asyncio.create_task(self._one(client, intended, began))
                    under_way.add(task)
                    task.add_done_callback(under_way.discard)
            finally:
                await asyncio.gather(*under_way)

    async def _one(self, client: httpx.AsyncClient, intended: float, began: float) -> None:
        kind = self._chance.choices(list(MIX), list(MIX.values()))[0]
        if not self._free and kind in {"item", "change"}:
            kind = "create"
        phase = self.phase
        fault = ""
        try:
            match kind:
                case "item":
                    person, item_id = self._chance.choice(self._free)
                    await self._ask(client, kind, "GET", f"/items/{item_id}", person)
                case "list":
                    await self._ask(client, kind, "GET", "/items/?limit=20", self._chance.choice(self.people))
                case "change":
                    await self._change(client)
                case _:
                    await self._create(client)
        except (httpx.TransportError, UnexpectedAnswerError) as error:
            fault = _describe(error)
        self.record.requests += 1
        self.samples.append(Sample(kind, phase, intended - began, asyncio.get_running_loop().time() - intended, fault))

    async def _create(self, client: httpx.AsyncClient) -> None:
        person = self._chance.choice(self.people)
        body = {"title": f"{person.id}/{uuid4().hex}", "attributes": {"n": 0}}
        headers = {"Idempotency-Key": uuid4().hex}
        made = await self._ask(client, "create", "POST", "/items/", person, json=body, headers=headers)
        item_id = made.json()["id"]
        self.record.owners[item_id] = person.id
        self.record.items[item_id] = body
        if self._chance.random() < REPEATED_SHARE:
            again = await self._ask(client, "repeat", "POST", "/items/", person, json=body, headers=headers)
            if again.json()["id"] != item_id:
                raise UnexpectedAnswerError(f"create sent again with its key made item {again.json()['id']} beside {item_id}")
        self._free.append((person, item_id))

    async def _change(self, client: httpx.AsyncClient) -> None:
        # An item is changed by one request at a time: which of two was last, its client could not know.
        person, item_id = self._free.pop(self._chance.randrange(len(self._free)))
        self._changes += 1
        number = self._changes
        await self._ask(client, "change", "PATCH", f"/items/{item_id}", person, json={"attributes": {"n": number}})
        self.record.items[item_id] = {**self.record.items[item_id], "attributes": {"n": number}}
        self._free.append((person, item_id))

    async def _ask(
        self,
        client: httpx.AsyncClient,
        kind: str,
        method: str,
        path: str,
        person: Person,
        headers: dict[str, str] | None = None,
        **options: Any,
    ) -> httpx.Response:
        response = await client.request(method, path, headers=person.headers | (headers or {}), **options)
        if response.status_code != EXPECTED[kind]:
            raise UnexpectedAnswerError(f"{method} {path} answered {response.status_code}: {response.text[:200]}")
        return response


class UnexpectedAnswerError(Exception):
    """An answer with another status, or another content, than it must have."""


def _describe(error: BaseException) -> str:
    """Return what an error says, and what was at the bottom of it."""
    first = f"{type(error).__name__}: {error}"
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    bottom = f"{type(error).__name__}: {error}"
    return first if bottom == first else f"{first} ({bottom})"


def failures(samples: list[Sample]) -> list[str]:
    """Return a line for each of the first failures."""
    failed = [sample for sample in samples if sample.fault]
    return [f"{one.at:.1f} s, {one.phase}: {one.kind} failed after {one.seconds:.2f} s: {one.fault}" for one in failed[:SHOWN_FAILURES]]


def figures(samples: list[Sample]) -> dict[str, Any]:
    """Return what the samples say, in all and by phase; latencies in milliseconds."""
    phases = dict.fromkeys(sample.phase for sample in samples)
    return {
        "requests": len(samples),
        "failed": sum(bool(sample.fault) for sample in samples),
        "first failures": failures(samples),
        "kinds": dict(Counter(sample.kind for sample in samples)),
        "latency ms": _latency(samples),
        **{f"latency ms, {phase}": _latency([sample for sample in samples if sample.phase == phase]) for phase in phases},
    }


def _latency(samples: list[Sample]) -> dict[str, float]:
    ordered = sorted(sample.seconds * 1000 for sample in samples)
    if not ordered:
        return {}
    places = {"p50": 0.5, "p95": 0.95, "p99": 0.99, "max": 1.0}
    return {"n": len(ordered)} | {
        place: round(ordered[min(len(ordered) - 1, int(share * len(ordered)))], 1) for place, share in places.items()
    }
