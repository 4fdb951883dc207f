"""Every route of the API has a journey that calls it, and a budget; and every journey does what it says, on the real API."""

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Mapping
from itertools import count
from typing import Any, cast
from uuid import uuid4

import httpx
import pytest
from fastapi import FastAPI

from loadtests.gate.budgets import load_budgets
from loadtests.scenarios import JOURNEYS
from loadtests.scenarios.import_job import ROWS
from loadtests.scenarios.visit import API, Answer, BrokenError, Check, Person
from tests.api.conftest import MakePerson, app, client, make_person
from tests.api.conftest import Person as SignedIn

__all__ = ["app", "client", "make_person"]

#: What wants a worker to come to its end.
WITH_A_WORKER = {"import_job", "live_events", "cancel_job"}
METHODS = {"get", "post", "put", "patch", "delete"}
ADMIN = 1


def routes(app: FastAPI) -> set[str]:
    """Return every route of the OpenAPI document, as slo.yaml writes them."""
    paths: dict[str, dict[str, Any]] = app.openapi()["paths"]
    return {f"{method.upper()} {path}" for path, item in paths.items() for method in item if method in METHODS}


def called() -> set[str]:
    return {route for journey in JOURNEYS.values() for route in journey.calls}


async def test_every_route_has_a_journey_that_calls_it(app: FastAPI) -> None:
    assert routes(app) - called() == set(), "write a journey in loadtests/scenarios that calls them"


async def test_no_journey_calls_a_route_that_is_gone(app: FastAPI) -> None:
    assert called() - routes(app) == set()


async def test_every_route_has_a_budget_and_every_budget_a_route(app: FastAPI) -> None:
    assert set(load_budgets().endpoints) == routes(app)


def test_every_flow_is_measured_by_a_journey_that_begins_it() -> None:
    flows = load_budgets().flows
    measured = {name: journey for journey in JOURNEYS.values() for name in journey.flows}
    assert set(measured) == set(flows)
    assert all(flows[name].begins in journey.calls for name, journey in measured.items())


class Try:
    """A visit on the application in this process: what is expected of a journey's answers is expected of the real ones.

    Args:
        loop: Where the application runs; journeys run in a thread.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, http: httpx.AsyncClient, person: Person, superuser: Person) -> None:
        self.person, self.superuser, self.chance = person, superuser, random.Random(1)
        self.asked: list[str] = []
        self.ended: list[tuple[str, str | None]] = []
        self._loop, self._http, self._numbers = loop, http, count()

    def ask(  # noqa: PLR0913  # as ``Visit`` has it
        self,
        route: str,
        path: str | None = None,
        *,
        expect: int = 200,
        tolerate: tuple[int, ...] = (),
        token: str | None = None,
        headers: Mapping[str, str] | None = None,
        json: Any = None,
        data: bytes | None = None,
        check: Check | None = None,
    ) -> Answer:
        self.asked.append(route)
        method, _, template = route.partition(" ")
        sent = dict(headers or {})
        if bearer := self.person.token if token is None else token:
            sent["Authorization"] = f"Bearer {bearer}"
        options: dict[str, Any] = {"json": json} if json is not None else {"content": data}
        asking = self._http.request(method, path or template, headers=sent, **options)
        response = asyncio.run_coroutine_threadsafe(asking, self._loop).result()
        assert response.status_code == expect, f"{route} answered {response.text}"
        value = response.json() if response.content else None
        fault = check(value) if check else None
        assert fault is None, f"{route}: {fault}: {response.text}"
        return Answer(response.status_code, dict(response.headers), value)

    def listen(self, ticket: str) -> Any:
        raise AssertionError("needs a socket")

    def begin_flow(self, name: str) -> None: ...

    def end_flow(self, name: str, fault: str | None = None) -> None:
        self.ended.append((name, fault))

    def made(self, item_id: int, title: str) -> None: ...

    def removed(self, item_id: int) -> None: ...

    def accepted(self, job_id: int, title: str, rows: int, *, cancelled: bool = False) -> None: ...

    def name(self) -> str:
        return f"load-try-{next(self._numbers)}"

    def address(self) -> str:
        return f"{uuid4().hex}@example.com"


async def visitor(made: SignedIn, items: int = 0) -> Person:
    """Return somebody as journeys know them, with items."""
    bodies = [{"title": f"kept {number}", "attributes": {"colour": ("red", "green", "blue")[number % 3]}} for number in range(items)]
    kept: list[Any] = (await made.client.post(f"{API}/items/batch", json=bodies)).json() if bodies else []
    return Person(made.id, made.email, made.token, "", 0, [(item["id"], item["title"]) for item in kept])


@pytest.mark.parametrize("name", sorted(set(JOURNEYS) - WITH_A_WORKER))
async def test_a_journey_calls_what_it_says_and_finds_what_it_expects(
    name: str, client: httpx.AsyncClient, make_person: MakePerson
) -> None:
    person, admin = await visitor(await make_person(), 60), await visitor(await make_person(is_superuser=True))
    visit = Try(asyncio.get_running_loop(), client, person, admin)
    await asyncio.to_thread(JOURNEYS[name].run, visit)
    assert Counter(visit.asked) == Counter(JOURNEYS[name].calls)


async def test_a_cancelled_import_is_accepted_and_cancelled(client: httpx.AsyncClient, make_person: MakePerson) -> None:
    person = await visitor(await make_person())
    visit = Try(asyncio.get_running_loop(), client, person, person)
    await asyncio.to_thread(JOURNEYS["cancel_job"].run, visit)
    assert Counter(visit.asked) == Counter(JOURNEYS["cancel_job"].calls)


class Played(Try):
    """A visit on a service that is played: it answers what an item, a ticket or a job would be, and sends these frames.

    Args:
        frames: Of the socket, in their order.
    """

    def __init__(self, frames: list[dict[str, Any]]) -> None:
        nobody = Person(1, "", "", "", 0)
        super().__init__(asyncio.new_event_loop(), httpx.AsyncClient(), nobody, nobody)
        self._loop.close()
        self.frames, self.closed = frames, False

    def ask(self, route: str, path: str | None = None, **options: Any) -> Answer:
        self.asked.append(route)
        job = {"kind": "import", "state": "finished", "progress": ROWS}
        value: Any = {"id": 7, "ticket": "t", "upload": {"url": "u"}, "title": "load-try-0", **job}
        value = [value] if route.endswith("/jobs/") else value
        check = cast("Check | None", options.get("check"))
        assert check is None or check(value) is None, route
        return Answer(200, {}, value)

    def listen(self, ticket: str) -> "Played":
        assert ticket == "t"
        return self

    def wait_for(self, accept: Callable[[Mapping[str, Any]], bool], seconds: float) -> Mapping[str, Any]:
        while self.frames:
            if accept(frame := self.frames.pop(0)):
                return frame
        raise BrokenError

    def close(self) -> None:
        self.closed = True


def frame(kind: str, item_id: int = 7, **data: Any) -> dict[str, Any]:
    return {"type": kind, "data": {"id": item_id, **data}}


MISSED = {"type": "events.missed"}
FINISHED = frame("job.finished", counts={"created": ROWS})


@pytest.mark.parametrize(
    ("name", "frames", "ended"),
    [
        ("live_events", [MISSED, frame("item.created", 8), frame("item.created"), frame("item.deleted")], [("live-event", None)]),
        (
            "live_events",
            [frame("item.created"), frame("item.created"), frame("item.deleted")],
            [("live-event", None), ("live-event", "item.created came twice or out of order")],
        ),
        ("import_job", [frame("job.progress"), frame("job.finished", 8), FINISHED], [("import", None)]),
        ("import_job", [frame("job.finished", counts={"created": 99})], [("import", "job.finished with 99 items")]),
        ("import_job", [frame("job.failed", counts={"created": 0})], [("import", "job.failed with 0 items")]),
    ],
)
def test_a_flow_ends_with_its_own_event_once(name: str, frames: list[dict[str, Any]], ended: list[tuple[str, str | None]]) -> None:
    visit = Played(frames)
    JOURNEYS[name].run(visit)
    assert visit.ended == ended
    assert Counter(visit.asked) == Counter(JOURNEYS[name].calls)
    assert visit.closed


def test_an_event_that_does_not_come_breaks_the_visit_and_closes_its_socket() -> None:
    visit = Played([frame("item.created", 8)])
    with pytest.raises(BrokenError):
        JOURNEYS["live_events"].run(visit)
    assert visit.closed
