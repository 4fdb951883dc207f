"""How soon a revocation is effective in every process, whatever Redis does."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from fastapi import FastAPI
from httpx import AsyncClient
from redis.exceptions import RedisError

from app.core.config import Settings
from app.core.revocations import Revocations, Subject
from app.local.servers import Running, start, valkey, wait_until_ready
from app.local.servers.ports import free_port
from app.main import create_app
from tests.api.conftest import MakePerson, Person, client_of

ME = "/api/v1/users/me"
LOGOUT = "/api/v1/auth/logout"
USUALLY = 1.0
WITHOUT_REDIS = 5.0


class OwnValkey:
    """A Valkey that a test may stop and hang."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.server = valkey.prepare(folder, free_port(), uuid4().hex, durable=False)
        self._running: Running | None = None

    async def start(self) -> None:
        """Start it and wait until it answers."""
        self._running = start(self.server.program, self._folder / "valkey.log")
        await wait_until_ready(self.server, self._running)

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        assert self._running is not None
        os.kill(self._running.pid, number)

    def kill(self) -> None:
        """End it at once."""
        assert self._running is not None
        self._running.kill()


@dataclass(frozen=True, slots=True)
class Platform:
    """Two processes of the API, each with its own memory, on one database and one Valkey."""

    here: FastAPI
    there: FastAPI
    valkey: OwnValkey


@pytest.fixture
async def platform(setting_values: dict[str, str], database: object, tmp_path: Path) -> AsyncGenerator[Platform]:
    """Two started processes."""
    own = OwnValkey(tmp_path)
    await own.start()
    values: dict[str, Any] = {**setting_values, "REDIS_URL": own.server.url()}
    settings = Settings(_env_file=None, **values)  # pyright: ignore[reportCallIssue]  # the same as in tests/conftest.py
    async with AsyncExitStack() as stack:
        stack.callback(own.kill)
        apps = [create_app(settings) for _ in range(2)]
        for app in apps:
            await stack.enter_async_context(app.router.lifespan_context(app))
        for app in apps:
            await heard(app)
        yield Platform(apps[0], apps[1], own)


async def heard(app: FastAPI) -> None:
    """Wait until a process hears what is published."""
    told: asyncio.Event = asyncio.Event()
    revocations: Revocations = app.state.revocations
    unknown = uuid4()
    end = revocations.subscribe(lambda subject: told.set() if subject == unknown else None)
    async with asyncio.timeout(10):
        while not told.is_set():
            with suppress(RedisError):
                await app.state.resources.redis.publish("revocations", str(unknown))
            await asyncio.sleep(0.02)
    end()


async def remembered_by(app: FastAPI, person: Person) -> AsyncClient:
    """Return a client of a process that remembers the person's token."""
    client = client_of(app, person.headers)
    assert (await client.get(ME)).status_code == 200
    return client


async def seconds_until(client: AsyncClient, status: int, path: str = ME) -> float:
    """Return how long it takes until a request is answered with a status."""
    started = time.monotonic()
    async with asyncio.timeout(15):
        while True:
            if (await client.get(path)).status_code == status:
                break
            await asyncio.sleep(0.02)
    return time.monotonic() - started


async def log_out(platform: Platform, person: Person) -> AsyncClient:
    """End a person's session in one process and return a client of the other, which remembers it."""
    there = await remembered_by(platform.there, person)
    here = await remembered_by(platform.here, person)
    assert (await here.post(LOGOUT)).status_code == 204
    assert (await here.get(ME)).status_code == 401
    return there


async def test_a_session_that_ended_here_ends_there_within_a_second(platform: Platform, user: Person) -> None:
    assert await seconds_until(await log_out(platform, user), 401) < USUALLY


async def test_while_redis_hangs_a_session_ends_everywhere_within_five_seconds(platform: Platform, user: Person) -> None:
    platform.valkey.signal(signal.SIGSTOP)
    assert await seconds_until(await log_out(platform, user), 401) < WITHOUT_REDIS


async def test_while_redis_is_down_a_session_ends_everywhere_within_five_seconds(platform: Platform, user: Person) -> None:
    platform.valkey.kill()
    assert await seconds_until(await log_out(platform, user), 401) < WITHOUT_REDIS


async def test_after_redis_hung_revocations_travel_fast_again(platform: Platform, make_person: MakePerson) -> None:
    platform.valkey.signal(signal.SIGSTOP)
    await seconds_until(await log_out(platform, await make_person()), 401)
    platform.valkey.signal(signal.SIGCONT)
    await heard(platform.there)
    assert await seconds_until(await log_out(platform, await make_person()), 401) < USUALLY


async def test_after_redis_was_restarted_revocations_travel_fast_again(platform: Platform, user: Person) -> None:
    platform.valkey.kill()
    await platform.valkey.start()
    await heard(platform.there)
    await heard(platform.here)
    assert await seconds_until(await log_out(platform, user), 401) < USUALLY


async def test_what_is_revoked_in_the_database_alone_is_noticed(platform: Platform, user: Person, superuser_connection: Any) -> None:
    client = await remembered_by(platform.here, user)
    await superuser_connection.execute("UPDATE sessions SET revoked_at = now() WHERE id = $1", user.session_id)
    assert await seconds_until(client, 401) < WITHOUT_REDIS


async def test_a_superuser_who_is_none_any_more_is_none_anywhere(platform: Platform, make_person: MakePerson) -> None:
    boss, former = await make_person(is_superuser=True), await make_person(is_superuser=True)
    there = await remembered_by(platform.there, former)
    assert (await there.get("/api/v1/users/")).status_code == 200
    here = await remembered_by(platform.here, boss)
    assert (await here.patch(f"/api/v1/users/{former.id}", json={"is_superuser": False})).status_code == 200
    assert await seconds_until(there, 403, "/api/v1/users/") < USUALLY
    assert (await there.get(ME)).status_code == 200


async def test_an_account_that_is_switched_off_is_signed_out_everywhere(platform: Platform, make_person: MakePerson) -> None:
    boss, person = await make_person(is_superuser=True), await make_person()
    there = await remembered_by(platform.there, person)
    here = await remembered_by(platform.here, boss)
    assert (await here.patch(f"/api/v1/users/{person.id}", json={"is_active": False})).status_code == 200
    assert await seconds_until(there, 401) < USUALLY


async def test_who_listens_is_told_of_a_revocation_in_another_process(platform: Platform, user: Person) -> None:
    told: list[Subject] = []
    ended = asyncio.Event()

    def listen(subject: Subject) -> None:
        told.append(subject)
        ended.set()

    end = platform.there.state.revocations.subscribe(listen)
    here = await remembered_by(platform.here, user)
    await here.post(LOGOUT)
    async with asyncio.timeout(USUALLY):
        await ended.wait()
    assert told == [user.session_id]
    end()


async def test_a_revocation_that_is_not_committed_is_not_announced(platform: Platform, user: Person) -> None:
    told: list[Subject] = []
    revocations: Revocations = platform.here.state.revocations
    revocations.subscribe(told.append)
    async with platform.here.state.resources.database.write() as session:
        await session.connection()
        revocations.announce_after_commit(session, user.session_id)
        await session.rollback()
    assert told == []
    async with platform.here.state.resources.database.write() as session:
        await session.connection()
        revocations.announce_after_commit(session, user.session_id)
        assert told == []
    assert told == [user.session_id]
