"""Tasks for the workers of these tests. Each leaves a line per step in a file, so that a test sees how often it ran, and where."""

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

from celery.signals import worker_ready
from sqlalchemy import insert

from app.core.context import request_id
from app.core.resources import Resources
from app.models import User
from app.services.delivery import Message, Postpone
from app.tasks.decorator import promised_task


def trace(message: Message, step: str) -> int:
    """Note that a step was reached; return how often it was so far."""
    path = Path(os.environ["PROBE_FOLDER"]) / f"{message.payload['key']}.{step}"
    with path.open("a", encoding="utf-8") as lines:
        lines.write(f"{os.getpid()} {os.getppid()} {request_id.get()}\n")
    return len(path.read_text(encoding="utf-8").splitlines())


@promised_task()
async def succeed(resources: Resources, message: Message) -> None:
    trace(message, "done")


@promised_task()
async def sleep(resources: Resources, message: Message) -> None:
    """Take a while at the first try."""
    if trace(message, "started") == 1:
        await asyncio.sleep(message.payload["seconds"])
    trace(message, "done")


@promised_task()
async def die(resources: Resources, message: Message) -> None:
    """Kill the process, at every try."""
    trace(message, "started")
    os.kill(os.getpid(), signal.SIGKILL)


@promised_task()
async def fail(resources: Resources, message: Message) -> None:
    trace(message, "started")
    raise ValueError("this never works")


@promised_task()
async def wait_for_others(resources: Resources, message: Message) -> None:
    """Find some times that what it needs is away."""
    if trace(message, "started") <= message.payload["times"]:
        raise Postpone("not there yet", delay=0.1)
    trace(message, "done")


@promised_task()
async def add_user(resources: Resources, message: Message) -> None:
    """Change the database and confirm in one transaction; be slow between the two at the first try."""
    async with resources.database.write() as session:
        await session.execute(insert(User).values(email=message.payload["email"], password_hash="-"))
        if trace(message, "started") == 1:
            await asyncio.sleep(message.payload.get("seconds", 0))
        await message.confirm(session)
    trace(message, "done")


@worker_ready.connect
def _deaf_on_demand(sender: Any, **_: object) -> None:
    """Let a test make the worker deaf: it lives on and consumes no more."""

    def cancel(_signal: int, _frame: object) -> None:
        sender.task_consumer.cancel()

    signal.signal(signal.SIGUSR2, cancel)
