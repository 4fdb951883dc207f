"""Load, kills, verdict: one run."""

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.reliability import actors, stack
from tests.reliability.actors import Client, Record, Watch
from tests.reliability.verdict import Verdict, judge, settle

WRITERS = 4
#: How often each part is chosen.
PARTS = {"api": 4, "worker-main": 3, "worker-bulk": 3, "valkey": 3, "beat": 1}
PAUSE_SECONDS = (0.2, 1.8)
LAST_EVENTS_SECONDS = 30

type Say = Callable[[int, str], None]


async def run(folder: Path, kills: int, seed: int, say: Say) -> Verdict:
    """Start a stack, load it, kill its processes, and judge what is left.

    Args:
        folder: An empty folder for the stack's data.
        kills: Processes to kill.
        seed: Chooses moments and victims.
        say: Told of every kill: how many there were, and of what.
    """
    victim = await stack.start(folder)
    try:
        return await _torment(victim, kills, random.Random(seed), say)  # a choice of victims
    finally:
        await stack.stop(victim)


async def _torment(victim: stack.Stack, kills: int, chance: random.Random, say: Say) -> Verdict:
    record = Record()
    client = Client(victim.url, record)
    try:
        people = [await actors.register(client, record) for _ in range(WRITERS)]
        watches = [Watch(person.id) for person in people]
        async with _running(*(actors.watch(client, person, seen) for person, seen in zip(people, watches, strict=True))):
            writers = [actors.write(client, record, person) for person in people]
            async with _running(*writers, actors.join(client, record), actors.bring(client, record, people[0])):
                killed = await _kill(victim, kills, chance, say)
            seconds = await settle(victim.description["migration_database_url"])
            await _last_events(record, watches)
        verdict = await judge(victim, record, watches)
    finally:
        await client.close()
    kinds = {f"killed: {part}": number for part, number in sorted(killed.items())}
    return Verdict({**kinds, **verdict.figures, "seconds until quiet": round(seconds)}, verdict.faults)


async def _kill(victim: stack.Stack, kills: int, chance: random.Random, say: Say) -> Counter[str]:
    killed: Counter[str] = Counter()
    while killed.total() < kills:
        await asyncio.sleep(chance.uniform(*PAUSE_SECONDS))
        part = chance.choices(list(PARTS), list(PARTS.values()))[0]
        if victim.kill(part, chance.random()):
            killed[part] += 1
            say(killed.total(), part)
    return killed


async def _last_events(record: Record, watches: list[Watch]) -> None:
    """Give the sockets time to see the last events; the verdict says what is missing afterwards."""

    def all_seen() -> bool:
        return all(
            ("item.created", item_id) in {(kind, at) for kind, at, _ in seen.events}
            for seen in watches
            for item_id in [one for one, owner in record.owners.items() if owner == seen.user_id and one in record.items][-20:]
        )

    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(LAST_EVENTS_SECONDS):
            while not all_seen():  # noqa: ASYNC110  # what the sockets saw is no event of this loop
                await asyncio.sleep(0.5)


@asynccontextmanager
async def _running(*work: Coroutine[Any, Any, None]) -> AsyncGenerator[None]:
    """Run coroutines that never end for the length of the block. One that fails ends the run."""
    tasks = [asyncio.create_task(one) for one in work]
    try:
        yield
    finally:
        failed = [task for task in tasks if task.done()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in failed:
        task.result()
