"""The faults that the gate is tried with are there, and nothing else is wrong."""

from types import SimpleNamespace
from typing import Any, cast

import httpx
import pytest

from loadtests.faults import app as faults
from loadtests.faults.app import FAULTS, Faulty
from loadtests.gate.trial import FAULT_NAMES, IDENTICAL


class Service:
    """Stands for the application."""

    def __init__(self) -> None:
        self.asked: list[int] = []
        autocommit = SimpleNamespace(value=self.value)
        self.state = SimpleNamespace(resources=SimpleNamespace(database=SimpleNamespace(autocommit=autocommit)))

    async def value(self, statement: object, row: int) -> None:
        self.asked.append(row)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b'{"title":"load-1"}'})


async def get(faulty: Faulty, path: str, times: int = 1) -> list[httpx.Response]:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(cast("Any", faulty)), base_url="http://127.0.0.1") as client:
        return [await client.get(path) for _ in range(times)]


def test_every_fault_is_tried_by_its_name() -> None:
    assert set(FAULTS) == set(FAULT_NAMES)


@pytest.mark.parametrize("name", sorted(FAULTS))
async def test_health_is_never_faulty(name: str) -> None:
    assert {answer.status_code for answer in await get(FAULTS[name](Service()), "/health/ready", 300)} == {200}


async def test_no_fault_changes_nothing() -> None:
    answers = await get(FAULTS[IDENTICAL](Service()), "/api/v1/items/1", 300)
    assert {(answer.status_code, answer.text) for answer in answers} == {(200, '{"title":"load-1"}')}


async def test_errors_are_one_in_a_hundred() -> None:
    answers = await get(FAULTS["errors"](Service()), "/api/v1/items/1", 2000)
    assert 8 <= sum(answer.status_code == 500 for answer in answers) <= 40


async def test_wrong_bodies_are_one_item_in_a_hundred_of_the_same_length() -> None:
    answers = await get(FAULTS["wrong-body"](Service()), "/api/v1/items/1", 2000)
    assert 8 <= sum("loud" in answer.text for answer in answers) <= 40
    assert {len(answer.content) for answer in answers} == {18}
    assert not any("loud" in answer.text for answer in await get(FAULTS["wrong-body"](Service()), "/api/v1/items/", 500))


async def test_a_listing_asks_for_every_row() -> None:
    service = Service()
    await get(FAULTS["n-plus-one"](service), "/api/v1/items/?limit=20")
    await get(FAULTS["n-plus-one"](service), "/api/v1/items/7")
    assert service.asked == list(range(20))


async def test_the_loop_stands_still_once(monkeypatch: pytest.MonkeyPatch) -> None:
    stood: list[float] = []
    monkeypatch.setattr(faults, "time", SimpleNamespace(sleep=stood.append))
    await get(FAULTS["freeze"](Service()), "/api/v1/items/1", faults.FREEZE_AFTER + 50)
    assert stood == [2.0]


async def test_the_tail_is_two_in_a_hundred(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    monkeypatch.setattr(faults, "asyncio", SimpleNamespace(sleep=sleep))
    await get(FAULTS["slow-tail"](Service()), "/api/v1/items/1", 2000)
    assert 20 <= len(waits) <= 65
    assert set(waits) == {0.15}


async def test_a_tenth_more_processor_time_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock of processor time is ours: every look at it costs a microsecond, every request a millisecond."""
    clock = SimpleNamespace(now=0.0)

    def process_time() -> float:
        clock.now += 1e-6
        return clock.now

    class Working(Service):
        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            clock.now += 0.001
            await super().__call__(scope, receive, send)

    monkeypatch.setattr(faults, "time", SimpleNamespace(process_time=process_time))
    faulty = FAULTS["cpu"](Working())
    began = clock.now
    await get(faulty, "/api/v1/items/1", 100)
    assert 0.1 * 1.095 <= clock.now - began <= 0.1 * 1.12


async def test_what_is_no_request_goes_straight_through() -> None:
    seen: list[str] = []

    class Lifespan(Service):
        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            seen.append(scope["type"])

    for kind in ("lifespan", "websocket"):
        nobody: Any = None
        await FAULTS["errors"](Lifespan())({"type": kind, "path": "/"}, nobody, nobody)
    assert seen == ["lifespan", "websocket"]
