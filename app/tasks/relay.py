"""The relay's process, ``python -m app.tasks.relay``: beside every worker, from the outbox to Redis.

It ends with its worker, however that ends, and it ends a worker whose loop stands still, which from inside nobody could.
"""

import argparse
import asyncio
import logging
import os
import signal
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import uvloop
from celery import Celery
from kombu.exceptions import KombuError, OperationalError
from redis.asyncio import Redis
from redis.exceptions import RedisError
from sqlalchemy.exc import DBAPIError

from app.core.autocommit import CONNECTION_LOST
from app.core.celery_app import create_celery
from app.core.config import Settings, get_settings
from app.core.errors import ServiceUnavailable
from app.core.logging import configure_logging
from app.core.metrics_server import serve_metrics
from app.core.redis import connect
from app.core.resources import Resources, open_resources
from app.core.sentry import capture, start_sentry
from app.core.wakeup import CHANNEL
from app.crud.relay import Task
from app.services import relay

#: Seconds after which the outbox is looked at though nobody called.
POLL_SECONDS: Final = 1.0
#: Seconds between two rounds: what comes meanwhile goes together.
EVENT_PAUSE_SECONDS: Final = 0.03
TASK_PAUSE_SECONDS: Final = 0.1
RECOVER_SECONDS: Final = 2.0
MEASURE_SECONDS: Final = 5.0
WATCH_SECONDS: Final = 1.0
#: Looks in a row at which the worker's loop had not turned, after which it is killed.
MOST_STANDSTILLS: Final = 60
POOL_SIZE: Final = 3
STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)

#: What passes: a server restarts, a connection breaks.
PASSING: Final = (RedisError, KombuError, OperationalError, ServiceUnavailable, DBAPIError, *CONNECTION_LOST)

logger = logging.getLogger("app.tasks.relay")  # not __main__


def celery_sender(celery: Celery) -> relay.Send:
    """Return what puts tasks into Celery's queues. Celery blocks, so a thread does it."""

    def send_now(tasks: Sequence[Task]) -> None:
        with celery.producer_pool.acquire(block=True) as producer:
            for task in tasks:
                celery.send_task(
                    task.name,
                    args=(task.id,),
                    task_id=str(task.message_id),
                    queue=task.queue,
                    headers={**task.context, "outbox_id": task.id, "published_at": task.published_at.isoformat()},
                    producer=producer,
                    retry=False,
                )

    async def send(tasks: Sequence[Task]) -> None:
        await asyncio.to_thread(send_now, tasks)

    return send


async def _repeat(work: Callable[[], Awaitable[int]], wake: asyncio.Event, pause: float) -> None:
    """Do the work whenever called, and every ``POLL_SECONDS``; again at once while there is more."""
    while True:
        wake.clear()
        done = await _outlast(work)
        await asyncio.sleep(pause)
        if not done:
            with suppress(TimeoutError):
                await asyncio.wait_for(wake.wait(), POLL_SECONDS)


async def _every(seconds: float, work: Callable[[], Awaitable[object]]) -> None:
    while True:
        await _outlast(work)
        await asyncio.sleep(seconds)


async def _outlast[Result](work: Callable[[], Awaitable[Result]]) -> Result | None:
    """Do the work; what passes is logged, and what does not is reported too: the relay never gives up."""
    try:
        return await work()
    except PASSING as error:
        logger.warning("the relay waits: %s: %s", type(error).__name__, str(error).partition("\n")[0])
    except Exception as error:
        logger.exception("the relay failed")
        capture(error)
    await asyncio.sleep(POLL_SECONDS)
    return None


async def _listen(resources: Resources, wake: Callable[[], None]) -> None:
    """Be called whenever something is put into the outbox."""
    while True:
        with suppress(*CONNECTION_LOST):
            await _listen_while_connected(resources, wake)
        await asyncio.sleep(POLL_SECONDS)


async def _listen_while_connected(resources: Resources, wake: Callable[[], None]) -> None:
    closed = asyncio.Event()

    def called(_connection: object, _pid: int, _channel: str, _payload: object) -> None:
        wake()

    connection = await resources.database.autocommit.dedicated()
    try:
        connection.add_termination_listener(lambda _: closed.set())
        await connection.add_listener(CHANNEL, called)
        wake()  # for what came while nobody listened
        await closed.wait()
    finally:
        connection.terminate()


async def _watch(broker: Redis, parent: int, heartbeat: Path | None) -> None:
    """Return when the worker is gone; kill it if its loop stands still although its broker answers."""
    last, standstills = 0.0, 0
    while os.getppid() == parent:
        await asyncio.sleep(WATCH_SECONDS)
        if heartbeat is None:
            continue
        with suppress(OSError, RedisError):
            await broker.exists(relay.MARKER)
            touched = _touched_at(heartbeat)
            standstills = standstills + 1 if touched == last else 0
            last = touched
        if standstills >= MOST_STANDSTILLS:
            logger.critical("the worker's loop stands still; killing it, to be replaced", extra={"worker": parent})
            os.kill(parent, signal.SIGKILL)
            return


def _touched_at(file: Path) -> float:
    return file.stat().st_mtime


async def run(settings: Settings, parent: int, heartbeat: Path | None = None) -> None:
    """Relay until the worker ends or this process is told to.

    Args:
        settings: Where everything is.
        parent: The worker's process id.
        heartbeat: The file its loop touches.
    """
    sizes = {"DATABASE_POOL_SIZE": POOL_SIZE, "DATABASE_AUTOCOMMIT_POOL_SIZE": POOL_SIZE}
    celery = create_celery(settings)
    broker = connect(settings.broker_url)
    try:
        async with open_resources(settings.model_copy(update=sizes), "relay") as resources:
            await _until_one_ends(*_work(resources, broker, celery_sender(celery)), _watch(broker, parent, heartbeat), _told_to_stop())
    finally:
        celery.close()
        await broker.aclose()


def _work(resources: Resources, broker: Redis, send: relay.Send) -> list[Coroutine[Any, Any, None]]:
    events, tasks = asyncio.Event(), asyncio.Event()

    def wake() -> None:
        events.set()
        tasks.set()

    async def recover() -> None:
        if await relay.recover(resources, broker):
            tasks.set()

    return [
        _listen(resources, wake),
        _repeat(lambda: relay.publish_events(resources), events, EVENT_PAUSE_SECONDS),
        _repeat(lambda: relay.publish_tasks(resources, send), tasks, TASK_PAUSE_SECONDS),
        _every(RECOVER_SECONDS, recover),
        _every(MEASURE_SECONDS, lambda: relay.measure(resources, broker)),
    ]


async def _told_to_stop() -> None:
    loop, told = asyncio.get_running_loop(), asyncio.Event()
    for stop in STOP_SIGNALS:
        loop.add_signal_handler(stop, told.set)
    try:
        await told.wait()
    finally:
        for stop in STOP_SIGNALS:
            loop.remove_signal_handler(stop)


async def _until_one_ends(*work: Coroutine[Any, Any, None]) -> None:
    running = [asyncio.ensure_future(each) for each in work]
    try:
        ended, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
        ended.pop().result()
    finally:
        for each in running:
            each.cancel()
        await asyncio.gather(*running, return_exceptions=True)


def main() -> None:
    """Run the relay for the worker named on the command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--heartbeat", type=Path)
    arguments = parser.parse_args()
    settings = get_settings()
    configure_logging(settings.LOG_LEVEL, environment=settings.ENVIRONMENT)
    start_sentry(settings, "relay")
    serve_metrics(settings)
    uvloop.run(run(settings, arguments.parent, arguments.heartbeat))


if __name__ == "__main__":
    main()
