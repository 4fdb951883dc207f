"""The relay's process and Celery's side of it: what goes into the queues, how it ends, what it watches."""

import asyncio
import json
import os
import signal
import subprocess
from collections.abc import AsyncGenerator, Generator
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest
from redis.asyncio import Redis

from app.core import streams
from app.core.config import Settings, get_settings
from app.core.queues import BULK_QUEUE, MAIN_QUEUE
from app.core.resources import Resources
from app.core.settings_checks import LONGEST_TASK_SECONDS
from app.crud import outbox
from app.services.relay import MARKER
from app.services.users import WELCOME
from tests.tasks.conftest import Outbox, until


@pytest.fixture
async def relay(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, valkey: Redis) -> AsyncGenerator[ModuleType]:
    """The module behind the process; Celery reads the environment when it is imported."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    get_settings.cache_clear()
    relay = import_module("app.tasks.relay")
    monkeypatch.setattr(relay, "POLL_SECONDS", 0.1)
    monkeypatch.setattr(relay, "WATCH_SECONDS", 0.05)
    yield relay
    get_settings.cache_clear()


@pytest.fixture
def worker_process(relay: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Generator[subprocess.Popen[bytes]]:
    """A process that passes for the relay's worker."""
    process = subprocess.Popen(["sleep", "60"])
    monkeypatch.setattr(os, "getppid", lambda: process.pid)
    monkeypatch.setattr(relay, "MOST_STANDSTILLS", 3)
    yield process
    process.kill()
    process.wait()


async def promise(resources: Resources) -> None:
    async with resources.database.write() as session:
        await outbox.add_event(session, 1, "item.created", {"id": 1})
        await outbox.add_task(session, WELCOME, {"user_id": 1}, headers={"request_id": "r-1"})


async def test_it_publishes_what_is_promised_until_it_is_stopped(
    relay: ModuleType, resources: Resources, promised: Outbox, valkey: Redis
) -> None:
    running = asyncio.create_task(relay.run(resources.settings, os.getppid()))
    await promise(resources)
    await until(lambda: valkey.llen(MAIN_QUEUE))
    await until(lambda: valkey.xlen(streams.key(1)))
    await until(lambda: valkey.exists(MARKER))
    running.cancel()
    await asyncio.wait([running])
    (row,) = await promised.rows()
    message = json.loads(await valkey.lindex(MAIN_QUEUE, 0) or b"")
    assert message["headers"]["id"] == str(row["message_id"])
    assert message["headers"]["task"] == WELCOME
    assert message["headers"]["request_id"] == "r-1"
    assert message["headers"]["outbox_id"] == row["id"]
    assert "user_id" not in message["headers"]  # what a task is given stays in the database


async def test_it_ends_with_its_worker(relay: ModuleType, task_settings: Settings) -> None:
    async with asyncio.timeout(10):
        await relay.run(task_settings, parent=-1)


async def test_it_outlasts_whatever_fails(relay: ModuleType, caplog: pytest.LogCaptureFixture) -> None:
    errors = iter([ConnectionError("passes"), ValueError("a fault of ours"), None])
    done = asyncio.Event()

    async def work() -> int:
        if (error := next(errors)) is not None:
            raise error
        done.set()
        return 0

    running = asyncio.create_task(relay._repeat(work, asyncio.Event(), 0))
    async with asyncio.timeout(10):
        await done.wait()
    running.cancel()
    assert "the relay waits: ConnectionError: passes" in caplog.text
    assert "the relay failed" in caplog.text


async def test_it_kills_a_worker_whose_loop_stands_still(
    relay: ModuleType, valkey: Redis, tmp_path: Path, worker_process: subprocess.Popen[bytes]
) -> None:
    heartbeat = tmp_path / "heartbeat"
    heartbeat.touch()
    async with asyncio.timeout(10):
        await relay._watch(valkey, worker_process.pid, heartbeat)
    assert worker_process.wait() == -signal.SIGKILL


async def test_it_spares_a_worker_that_beats(
    relay: ModuleType, valkey: Redis, tmp_path: Path, worker_process: subprocess.Popen[bytes]
) -> None:
    heartbeat = tmp_path / "heartbeat"
    heartbeat.touch()
    watching = asyncio.create_task(relay._watch(valkey, worker_process.pid, heartbeat))
    for beat in range(20):
        os.utime(heartbeat, (beat, beat))
        await asyncio.sleep(relay.WATCH_SECONDS)
    assert not watching.done()
    assert worker_process.poll() is None
    watching.cancel()


async def test_the_timetable_names_tasks_that_exist_and_expire(relay: ModuleType, task_settings: Settings) -> None:
    celery_app = import_module("app.core.celery_app")
    celery = celery_app.create_celery(task_settings)
    celery.loader.import_default_modules()
    assert set(celery_app.SCHEDULE) <= set(celery_app.celery_app.tasks)
    for entry in celery.conf.beat_schedule.values():
        assert timedelta(seconds=entry["options"]["expires"]) == entry["schedule"]
    routed = {name: celery.amqp.router.route({}, name)["queue"].name for name in (*celery_app.SCHEDULE, WELCOME)}
    assert routed[WELCOME] == MAIN_QUEUE
    assert routed["app.tasks.maintenance_tasks.purge_users"] == BULK_QUEUE


async def test_the_longest_task_is_as_long_as_the_settings_think(relay: ModuleType, task_settings: Settings) -> None:
    celery = import_module("app.core.celery_app").create_celery(task_settings)
    celery.loader.import_default_modules()
    limits = [task.time_limit or celery.conf.task_time_limit for name, task in celery.tasks.items() if name.startswith("app.")]
    assert max(limits) == LONGEST_TASK_SECONDS


async def test_celery_takes_its_patience_from_the_settings(relay: ModuleType, task_settings: Settings) -> None:
    patient = task_settings.model_copy(update={"BROKER_VISIBILITY_TIMEOUT": 9000, "WORKER_SOFT_SHUTDOWN_SECONDS": 45})
    celery = import_module("app.core.celery_app").create_celery(patient)
    assert celery.conf.broker_transport_options["visibility_timeout"] == 9000
    assert celery.conf.worker_soft_shutdown_timeout == 45


async def test_every_scheduled_task_runs(relay: ModuleType, resources: Resources) -> None:
    maintenance, upkeep = import_module("app.tasks.maintenance_tasks"), import_module("app.tasks.outbox_tasks")
    for task in (
        upkeep.purge_inbox,
        maintenance.purge_idempotency_keys,
        maintenance.purge_sessions,
        maintenance.purge_users,
        maintenance.purge_uploads,
    ):
        await task(resources)
