"""What must be true after the load, whatever it was: nothing lost, nothing doubled, nothing of one person shown to another."""

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any, Final

import asyncpg

from loadtests.gate.finding import Finding, Verdict
from loadtests.gate.outcome import GateError
from loadtests.gate.people import Service
from loadtests.gate.recorder import Acknowledged
from loadtests.scenarios.visit import API, Person

QUIET_SECONDS: Final = 120
POLL_SECONDS: Final = 0.5
#: Items and jobs that somebody else tries to read.
PRIED: Final = 50
OPEN_STATES: Final = frozenset({"queued", "running"})


def verify(service: Service, people: Sequence[Person], told: Acknowledged, database_url: str | None) -> list[Finding]:
    """Look at everything that was acknowledged.

    Args:
        service: Where to look.
        people: Who made what; they are signed in anew, as the run may have outlived their tokens.
        told: What the service said yes to.
        database_url: Where the outbox is, if the gate may look into it.
    """
    fresh = {person.id: service.sign_in(person.id, person.email) for person in people}
    jobs = _settle_jobs(service, fresh, told)
    items = {owner: _items_of(service, person) for owner, person in fresh.items()}
    findings = [*_items(items, told), *_jobs(items, told, jobs), _foreign(items), *_prying(service, fresh, told)]
    return findings if database_url is None else [*findings, *asyncio.run(_queue(database_url))]


def _finding(check: str, faults: Sequence[object], looked_at: int) -> Finding:
    sentence = f"For example {', '.join(map(str, faults[:5]))}." if faults else ""
    return Finding(
        "after the load", check, Verdict.FAIL if faults else Verdict.PASS, str(len(faults)), "0", looked_at, sentence, certain=True
    )


def _settle_jobs(service: Service, people: dict[int, Person], told: Acknowledged) -> dict[int, Any]:
    """Return every job that was accepted, once none of them is under way or the time is up."""
    found: dict[int, Any] = {}
    ends = time.monotonic() + QUIET_SECONDS
    for job_id, _title, _rows, owner, _cancelled in told.jobs:
        while True:
            try:
                found[job_id] = service.send(200, "GET", f"/jobs/{job_id}", people[owner].token).json()
            except GateError as error:
                found[job_id] = {"state": str(error), "counts": {"created": None}}
            if found[job_id]["state"] not in OPEN_STATES or time.monotonic() > ends:
                break
            time.sleep(POLL_SECONDS)
    return found


def _items_of(service: Service, person: Person) -> list[Any]:
    found: list[Any] = []
    path: str | None = "/items/?limit=100&sort=created_at"
    while path is not None:
        response = service.send(200, "GET", path, person.token)
        found += [(item["id"], item["title"], item["owner_id"]) for item in response.json()]
        path = response.links["next"]["url"].removeprefix(API) if "next" in response.links else None
    return found


def _items(items: dict[int, list[Any]], told: Acknowledged) -> list[Finding]:
    there = {item_id: title for owned in items.values() for item_id, title, _ in owned}
    removed = set(told.removed)
    kept = {item_id: title for item_id, title, _ in told.made if item_id not in removed}
    lost = [item_id for item_id, title in kept.items() if there.get(item_id) != title]
    titles = Counter(title for owned in items.values() for _, title, _ in owned)
    return [
        _finding("acknowledged items that are gone", lost, len(kept)),
        _finding("deleted items that are there", sorted(removed & there.keys()), len(removed)),
        _finding("items that were made twice", [title for title, number in titles.items() if number > 1], len(titles)),
    ]


def _jobs(items: dict[int, list[Any]], told: Acknowledged, jobs: dict[int, Any]) -> list[Finding]:
    made: dict[str, int] = defaultdict(int)
    for owned in items.values():
        for _, title, _ in owned:
            made[title.rpartition("-")[0]] += 1
    unfinished: list[str] = []
    miscounted: list[str] = []
    for job_id, title, rows, _owner, cancelled in told.jobs:
        state, created = jobs[job_id]["state"], jobs[job_id]["counts"]["created"]
        if state not in ({"finished", "cancelled"} if cancelled else {"finished"}):
            unfinished.append(f"job {job_id}: {state}")
        elif made[title] != created or (state == "finished" and created != rows):
            miscounted.append(f"job {job_id} of {rows} rows says {created} and made {made[title]}")
    return [
        _finding("accepted jobs without a good end", unfinished, len(told.jobs)),
        _finding("jobs whose items are not those they count", miscounted, len(told.jobs)),
    ]


def _foreign(items: dict[int, list[Any]]) -> Finding:
    shown = [item_id for owner, owned in items.items() for item_id, _, of in owned if of != owner]
    return _finding("items of others in a listing", shown, sum(map(len, items.values())))


def _prying(service: Service, people: dict[int, Person], told: Acknowledged) -> list[Finding]:
    """Let people ask for what is not theirs."""
    owners = list(people)

    def denied(owner: int, path: str) -> bool:
        other = people[owners[(owners.index(owner) + 1) % len(owners)]]
        try:
            service.send(404, "GET", path, other.token)
        except GateError:
            return False
        return True

    removed = set(told.removed)
    standing = [(item_id, owner) for item_id, _, owner in told.made if item_id not in removed][-PRIED:]
    read: list[Any] = [item_id for item_id, owner in standing if not denied(owner, f"/items/{item_id}")]
    seen: list[Any] = [job[0] for job in told.jobs[-PRIED:] if not denied(job[3], f"/jobs/{job[0]}")]
    return [
        _finding("items that somebody else could read", read, len(standing)),
        _finding("jobs that somebody else could read", seen, len(told.jobs[-PRIED:])),
    ]


async def _queue(database_url: str) -> list[Finding]:
    """Wait until nothing is promised any more."""
    connection = await asyncpg.connect(database_url)
    try:
        ends = time.monotonic() + QUIET_SECONDS
        while left := await connection.fetchval("SELECT count(*) FROM outbox WHERE parked_at IS NULL"):
            if time.monotonic() > ends:
                break
            await asyncio.sleep(POLL_SECONDS)
        parked = await connection.fetchval("SELECT count(*) FROM outbox WHERE parked_at IS NOT NULL")
    finally:
        await connection.close()
    return [_finding("promises not kept", range(left), 1), _finding("promises parked", range(parked), 1)]
