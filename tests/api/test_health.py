"""What the platform asks."""

import asyncio
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from app.core.config import Settings
from app.core.drain import Drain
from app.core.schema import NEEDED, TOLERATED_AHEAD, is_accepted
from app.main import create_app
from app.services import health
from tests.api.conftest import client_of
from tests.worker import WorkerDatabase

NOWHERE = "redis://127.0.0.1:1/0"


@pytest.fixture(autouse=True)
def ignorant(app: FastAPI) -> None:
    """Know nothing of what other tests found."""
    if hasattr(app.state, "readiness"):
        del app.state.readiness


@pytest.fixture
def attentive(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ask anew every time."""
    monkeypatch.setattr(health, "REMEMBERED_SECONDS", 0.0)


async def ask(settings: Settings, *paths: str) -> list[httpx.Response]:
    """Start an application, ask it, stop it."""
    app = create_app(settings)
    async with app.router.lifespan_context(app), client_of(app) as client:
        return [await client.get(path) for path in paths]


async def test_the_root_says_that_the_api_is_running(client: httpx.AsyncClient) -> None:
    response = await client.get("/")
    assert response.json() == {"message": "API is running"}


@pytest.mark.parametrize("path", ["/health/live", "/health/ready", "/health/startup"])
async def test_a_healthy_process_says_so(client: httpx.AsyncClient, path: str) -> None:
    response = await client.get(path)
    assert (response.status_code, response.json()) == (200, {"status": "ok"})
    assert "ratelimit" not in response.headers


async def test_without_redis_the_process_is_alive_and_not_ready(settings: Settings) -> None:
    alive, ready, started = await ask(
        settings.model_copy(update={"REDIS_URL": NOWHERE}), "/health/live", "/health/ready", "/health/startup"
    )
    assert (alive.status_code, ready.status_code, started.status_code) == (200, 503, 503)
    assert ready.json()["detail"] == "Not ready: Redis does not answer as it should."
    assert ready.headers["content-type"] == "application/problem+json"


async def test_without_postgresql_the_process_is_alive_and_not_ready(settings: Settings) -> None:
    gone = settings.model_copy(update={"DATABASE_URL": "postgresql://platform_app:x@127.0.0.1:1/gone"})
    alive, ready = await ask(gone, "/health/live", "/health/ready")
    assert (alive.status_code, ready.status_code) == (200, 503)
    assert "PostgreSQL" in ready.json()["detail"]


@pytest.mark.parametrize(("revision", "status"), [("0000", 503), (f"{NEEDED:04}", 200), (f"{NEEDED + 1:04}", 200), ("9999", 503)])
async def test_readiness_takes_a_database_that_is_not_too_far_ahead(
    app: FastAPI, client: httpx.AsyncClient, superuser_connection: Any, attentive: None, revision: str, status: int
) -> None:
    before = await superuser_connection.fetchval("SELECT version_num FROM alembic_version")
    await superuser_connection.execute("UPDATE alembic_version SET version_num = $1", revision)
    try:
        response = await client.get("/health/ready")
    finally:
        await superuser_connection.execute("UPDATE alembic_version SET version_num = $1", before)
    assert response.status_code == status


async def test_the_range_begins_at_the_newest_migration_of_this_release(postgres: WorkerDatabase, superuser_connection: Any) -> None:
    assert await superuser_connection.fetchval("SELECT version_num FROM alembic_version") == f"{NEEDED:04}"
    assert not is_accepted(f"{NEEDED + TOLERATED_AHEAD + 1:04}")
    assert not is_accepted("")


async def test_readiness_is_asked_once_a_second_at_most(client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "REMEMBERED_SECONDS", 60.0)
    await client.get("/health/ready")

    async def never(*_args: object) -> str:
        pytest.fail("the database was asked again")

    monkeypatch.setattr("app.crud.revision.current", never)
    assert all([(await client.get("/health/ready")).is_success for _ in range(5)])


async def test_a_dependency_that_hangs_is_not_waited_for(
    client: httpx.AsyncClient, attentive: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hang(*_args: object) -> str:
        await asyncio.Event().wait()
        return ""

    monkeypatch.setattr(health, "CHECK_SECONDS", 0.05)
    monkeypatch.setattr("app.crud.revision.current", hang)
    assert (await client.get("/health/ready")).status_code == 503


async def test_what_has_started_has_started(client: httpx.AsyncClient, attentive: None, monkeypatch: pytest.MonkeyPatch) -> None:
    async def outdated(*_args: object) -> str:
        return "0000"

    assert (await client.get("/health/startup")).status_code == 200
    monkeypatch.setattr("app.crud.revision.current", outdated)
    assert (await client.get("/health/ready")).status_code == 503
    assert (await client.get("/health/startup")).status_code == 200


async def test_a_process_about_to_end_is_not_ready_and_answers_all_else(app: FastAPI, client: httpx.AsyncClient) -> None:
    drain, app.state.drain = app.state.drain, Drain()
    app.state.drain.begin()
    try:
        ready, live = await client.get("/health/ready"), await client.get("/health/live")
    finally:
        app.state.drain = drain
    assert (ready.status_code, live.status_code) == (503, 200)
    assert ready.json()["type"] == "/errors/service-unavailable"
    assert ready.headers["retry-after"] == "1"


async def test_who_waits_for_the_drain_goes_on_when_it_begins() -> None:
    drain = Drain()
    waiting = asyncio.create_task(drain.wait())
    await asyncio.sleep(0)
    assert not waiting.done()
    drain.begin()
    await waiting


async def test_a_probe_may_name_the_pod_by_its_address(client: httpx.AsyncClient) -> None:
    by_address = {"Host": "10.1.2.3:8000"}
    assert (await client.get("/health/live", headers=by_address)).status_code == 200
    assert (await client.get("/", headers=by_address)).status_code == 400
