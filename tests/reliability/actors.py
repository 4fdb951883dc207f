"""The load: people who write items, register, import files and watch live events, and remember what they were told."""

import asyncio
import contextlib
import json
import random
from collections import Counter
from dataclasses import dataclass, field
from itertools import count
from typing import Any
from uuid import uuid4

import httpx
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidHandshake, WebSocketException

API = "/api/v1"
PASSWORD = "correct horse battery staple"
IMPORT_ROWS = 3000
RETRY_SECONDS = 0.2
PATIENCE_SECONDS = 90
#: A request that fails with one of these says: nothing was kept, or the first attempt is still under way.
REPEATED = frozenset({409, 429, 500, 502, 503, 504})


@dataclass(slots=True)
class Record:
    """What the service acknowledged, and what its clients saw."""

    items: dict[int, dict[str, Any]] = field(default_factory=dict[int, dict[str, Any]])
    deleted: set[int] = field(default_factory=set[int])
    registered: set[str] = field(default_factory=set[str])
    jobs: dict[int, str] = field(default_factory=dict[int, str])
    owners: dict[int, int] = field(default_factory=dict[int, int])
    faults: list[str] = field(default_factory=list[str])
    requests: int = 0
    retries: int = 0


@dataclass(slots=True)
class Watch:
    """What one socket's client saw, over all its connections."""

    user_id: int
    frames: Counter[str] = field(default_factory=Counter[str])
    events: set[tuple[str, int, int]] = field(default_factory=set[tuple[str, int, int]])
    connections: int = 0
    missed: int = 0


class Client:
    """Sends a request until it is answered, as a careful client does."""

    def __init__(self, url: str, record: Record) -> None:
        self._http = httpx.AsyncClient(base_url=url, timeout=10)
        self._record = record
        self.url = url

    async def close(self) -> None:
        """Close its connections."""
        await self._http.aclose()

    async def send(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Return the first answer that is one; a request that may not be repeated carries an Idempotency-Key."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            for attempt in count():
                self._record.requests += 1
                self._record.retries += attempt > 0
                with contextlib.suppress(httpx.TransportError):
                    response = await self._http.request(method, API + path, **options)
                    if response.status_code not in REPEATED and not _is_of_a_proxy(response):
                        return response
                await asyncio.sleep(RETRY_SECONDS)
        raise AssertionError


def _is_of_a_proxy(response: httpx.Response) -> bool:
    """Say whether an error is none of the service's, which are all problems: a proxy without a server behind it answers 404, too."""
    return response.is_error and not response.headers.get("Content-Type", "").startswith("application/problem+json")


@dataclass(slots=True)
class Person:
    """Somebody signed in."""

    id: int
    email: str
    headers: dict[str, str]


def _fresh() -> dict[str, str]:
    return {"Idempotency-Key": uuid4().hex, "X-Forwarded-For": f"198.18.{random.randrange(256)}.{random.randrange(256)}"}


async def register(client: Client, record: Record) -> Person:
    """Register somebody and sign in."""
    email = f"{uuid4().hex}@example.com"
    made = await client.send("POST", "/users/", json={"email": email, "password": PASSWORD}, headers=_fresh())
    if made.status_code != 201:
        record.faults.append(f"registration answered {made.status_code}: {made.text}")
    record.registered.add(email)
    token = await client.send("POST", "/auth/login", data={"username": email, "password": PASSWORD})
    return Person(made.json()["id"], email, {"Authorization": f"Bearer {token.json()['access_token']}"})


async def write(client: Client, record: Record, person: Person) -> None:
    """Make items, change some, delete some, for ever."""
    for number in count():
        body = {"title": f"{person.id}/{number}/{uuid4().hex}", "attributes": {"n": 0}}
        made = await client.send("POST", "/items/", json=body, headers=person.headers | _fresh())
        if made.status_code != 201:
            record.faults.append(f"create answered {made.status_code}: {made.text}")
            continue
        item_id = made.json()["id"]
        record.owners[item_id] = person.id
        record.items[item_id] = body
        if number % 3 == 1:
            changed = await client.send("PATCH", f"/items/{item_id}", json={"attributes": {"n": 1}}, headers=person.headers)
            if changed.status_code == 200:
                record.items[item_id] = {**body, "attributes": {"n": 1}}
        if number % 7 == 2:
            del record.items[item_id]  # while the answer is out, and if the load ends before it, it may be there or gone
            gone = await client.send("DELETE", f"/items/{item_id}", headers=person.headers)
            if gone.status_code in {204, 404}:  # 404: an earlier attempt did it, and its answer was lost
                record.deleted.add(item_id)
            else:
                record.faults.append(f"delete answered {gone.status_code}: {gone.text}")
        await asyncio.sleep(0.02)


async def join(client: Client, record: Record) -> None:
    """Register people, for ever."""
    while True:
        await register(client, record)
        await asyncio.sleep(0.3)


async def bring(client: Client, record: Record, person: Person) -> None:
    """Import files, one after the other, for ever."""
    while True:
        name = f"import-{uuid4().hex}"
        lines = [f'{name}-{row},"row {row}","{{""row"": {row}}}"' for row in range(IMPORT_ROWS)]
        file = ("rows.csv", "\n".join(["title,description,attributes", *lines]).encode(), "text/csv")
        started = await client.send("POST", "/items/imports", files={"file": file}, headers=person.headers | _fresh())
        if started.status_code != 202:
            record.faults.append(f"import answered {started.status_code}: {started.text}")
            continue
        job_id = started.json()["id"]
        record.jobs[job_id] = name
        await finished(client, person, job_id)


async def finished(client: Client, person: Person, job_id: int) -> dict[str, Any]:
    """Return a job once it is through."""
    while True:
        job: dict[str, Any] = (await client.send("GET", f"/jobs/{job_id}", headers=person.headers)).json()
        if job["state"] not in {"queued", "running"}:
            return job
        await asyncio.sleep(0.3)


async def watch(client: Client, person: Person, seen: Watch) -> None:
    """Follow a person's live events for ever, resuming after each end."""
    last: str | None = None
    address = client.url.replace("http", "ws", 1) + f"{API}/ws"
    while True:
        query = f"?last_event_id={last}" if last else ""
        with contextlib.suppress(OSError, InvalidHandshake, WebSocketException, TimeoutError):
            async with connect(address + query, additional_headers=person.headers, open_timeout=5, proxy=None) as socket:
                seen.connections += 1
                async for message in socket:
                    frame = json.loads(message)
                    if frame["type"] == "events.missed":
                        seen.missed += 1
                        seen.events |= await _reload(client, person)
                        continue
                    last = str(frame["id"])
                    seen.frames[last] += 1
                    if frame["type"].startswith("item."):
                        seen.events.add((frame["type"], frame["data"]["id"], frame["data"].get("version", 0)))
        await asyncio.sleep(RETRY_SECONDS)


async def _reload(client: Client, person: Person) -> set[tuple[str, int, int]]:
    """Load the state anew, as the protocol asks for: what is there now was seen."""
    found: set[tuple[str, int, int]] = set()
    path: str | None = "/items/?limit=100"
    while path is not None:
        response = await client.send("GET", path, headers=person.headers)
        for item in response.json():
            found |= {("item.created", item["id"], 1), ("item.updated", item["id"], item["version"])}
        path = response.links["next"]["url"].removeprefix(API) if "next" in response.links else None
    return found
