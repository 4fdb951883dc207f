"""The requests that are measured, and what a right answer to each is."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from loadtests.bench.people import Person
from loadtests.closed_loop import Request, encode

API: Final = "/api/v1/items/"
NEW_ITEM: Final[dict[str, Any]] = {
    "title": "a new item",
    "description": "made by a client",
    "attributes": {"colour": "red", "weight": 3},
}
MOMENT: Final = rb'"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,6})?(?:\+00:00|Z)"'


@dataclass(frozen=True, slots=True)
class Scenario:
    """A request that everybody sends over and over.

    Attributes:
        name: As tables call it.
        status: The status of its answer.
        request: Makes a person's request.
        writes: Whether it leaves rows behind.
    """

    name: str
    status: int
    request: Callable[[Person], bytes]
    writes: bool = False


@dataclass(frozen=True, slots=True)
class Contender:
    """A server that is measured.

    Attributes:
        name: ``ours`` or a peer's name.
        title: As tables call it.
        port: Where it listens.
        pid: The first of its processes.
        exact: Whether its bodies are the API's to the byte; if not, they are the same JSON.
    """

    name: str
    title: str
    port: int
    pid: int
    exact: bool = True


SCENARIOS: Final = (
    Scenario("item", 200, lambda person: encode("GET", f"{API}{person.item_id}", person.token)),
    Scenario("list of 50", 200, lambda person: encode("GET", f"{API}?limit=50", person.token)),
    Scenario("create", 201, lambda person: encode("POST", API, person.token, json.dumps(NEW_ITEM).encode()), writes=True),
    Scenario("health", 200, lambda _person: encode("GET", "/health/live")),
)


def expecting(scenario: Scenario, person: Person, body: bytes) -> Request:
    """Return a person's request that accepts answers like ``body`` alone: the same bytes, or an item made anew.

    Args:
        scenario: What is asked for.
        person: Who asks.
        body: A right answer of the same server.
    """
    accepts = made_anew(body) if scenario.writes else body.__eq__
    return Request(scenario.request(person), scenario.status, accepts)


def made_anew(body: bytes) -> Callable[[bytes], bool]:
    """Return what accepts a created item like that of ``body``, with an id and moments of its own."""
    pattern = re.escape(body)
    pattern = re.sub(rb'^\\\{"id":\d+,', rb'\\{"id":\\d+,', pattern)
    for name in (b"created_at", b"updated_at"):
        pattern = re.sub(b'"%b":"[^"]+"' % name, lambda _found, name=name: b'"%b":%b' % (name, MOMENT), pattern)
    compiled = re.compile(pattern)
    return lambda other: compiled.fullmatch(other) is not None
