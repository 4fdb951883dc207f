"""A real scheduler on a real Valkey that is late, dies and forgets, or hangs."""

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Generator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import pytest
from redis.asyncio import Redis

from app.core.config import get_settings
from app.core.queues import BULK_QUEUE, MAIN_QUEUE
from tests.tasks.conftest import REPOSITORY, Broker, until

EVERY_SECOND = "tests.tasks.timetable"


@dataclass
class Beat:
    """A scheduler in a process of its own."""

    process: subprocess.Popen[bytes]
    log: Path
    heartbeat: Path

    @property
    def output(self) -> str:
        return self.log.read_text()

    async def beats(self, times: int, seconds: float) -> None:
        """Wait until it has touched its file so many times more, each time within so many seconds."""
        for _ in range(times):
            before = self._touched_at()
            await until(lambda before=before: self._touched_at() > before, seconds)
        assert self.process.poll() is None, self.output

    def _touched_at(self) -> float:
        return self.heartbeat.stat().st_mtime if self.heartbeat.exists() else 0.0

    async def stopped(self) -> int:
        self.process.terminate()
        await until(lambda: self.process.poll() is not None, 10)
        return self.process.returncode


type StartBeat = Callable[..., Beat]


@pytest.fixture
def start_beat(environment: dict[str, str], broker: Broker, tmp_path: Path) -> Generator[StartBeat]:
    """Start schedulers, one after the other, on the Valkey that may be killed; they share what they remember."""
    started: list[Beat] = []

    def start_one(app: str = "app.core.celery_app") -> Beat:
        log, heartbeat = tmp_path / f"beat-{len(started)}.log", tmp_path / "heartbeat"
        variables = environment | {"REDIS_URL": broker.server.url(), "WORKER_HEARTBEAT_FILE": str(heartbeat)}
        options = ("--schedule", str(tmp_path / "schedule"), "--max-interval", "1")
        with log.open("wb") as output:
            command = [sys.executable, "-m", "celery", "--quiet", "--app", app, "beat", *options]
            process = subprocess.Popen(command, cwd=REPOSITORY, env=variables, stdout=output, stderr=subprocess.STDOUT)
        started.append(Beat(process, log, heartbeat))
        return started[-1]

    yield start_one
    for beat in started:
        beat.process.terminate()
        assert beat.process.wait(30) == 0, beat.output


async def waiting(redis: Redis) -> Counter[str]:
    """How many messages wait, by task."""
    messages = [message for queue in (MAIN_QUEUE, BULK_QUEUE) for message in await redis.lrange(queue, 0, -1)]
    return Counter(json.loads(message)["headers"]["task"] for message in messages)


async def test_a_scheduler_that_remembers_nothing_begins_with_everything_and_another_goes_on_from_there(
    start_beat: StartBeat, redis: Redis, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    get_settings.cache_clear()
    timetable: Counter[str] = Counter(import_module("app.core.celery_app").SCHEDULE.keys())
    get_settings.cache_clear()
    first = start_beat()

    async def complete() -> bool:
        return await waiting(redis) == timetable

    await until(complete)
    await first.beats(2, seconds=5)
    assert await first.stopped() == 0
    assert not first.heartbeat.exists()
    await start_beat().beats(3, seconds=30)
    assert await waiting(redis) == timetable


async def test_a_scheduler_waits_for_a_broker_that_is_late(start_beat: StartBeat, broker: Broker, redis: Redis) -> None:
    broker.kill()
    beat = start_beat(EVERY_SECOND)
    await until(lambda: "the broker does not answer" in beat.output)
    await beat.beats(3, seconds=10)
    await broker.start()
    await until(lambda: redis.llen(MAIN_QUEUE))


async def test_a_scheduler_goes_on_after_a_broker_that_died_and_forgot(start_beat: StartBeat, broker: Broker, redis: Redis) -> None:
    beat = start_beat(EVERY_SECOND)
    await until(lambda: redis.llen(MAIN_QUEUE))
    broker.kill()
    await until(lambda: "the broker does not answer" in beat.output)
    await beat.beats(3, seconds=10)
    await broker.start()
    await until(lambda: redis.llen(MAIN_QUEUE))


async def test_a_scheduler_beats_beside_a_broker_that_hangs_and_goes_on_after_it(
    start_beat: StartBeat, broker: Broker, redis: Redis
) -> None:
    beat = start_beat(EVERY_SECOND)
    await until(lambda: redis.llen(MAIN_QUEUE))
    assert broker.running is not None
    os.kill(broker.running.pid, signal.SIGSTOP)
    try:
        await until(lambda: "the broker does not answer" in beat.output)
        await beat.beats(2, seconds=15)
    finally:
        os.kill(broker.running.pid, signal.SIGCONT)
    before = await redis.llen(MAIN_QUEUE)

    async def more() -> bool:
        return await redis.llen(MAIN_QUEUE) > before + 1

    await until(more)


async def test_a_scheduler_that_waits_for_its_broker_ends_when_told_to(start_beat: StartBeat, broker: Broker) -> None:
    broker.kill()
    beat = start_beat(EVERY_SECOND)
    await until(lambda: "the broker does not answer" in beat.output)
    assert await beat.stopped() == 0


async def test_a_task_that_cannot_be_sent_is_told_and_the_others_go_on(start_beat: StartBeat, redis: Redis) -> None:
    beat = start_beat(EVERY_SECOND)
    await until(lambda: beat.output.count("cannot send impossible") > 1)

    async def several() -> bool:
        return await redis.llen(MAIN_QUEUE) > 1

    await until(several)
