"""Pods killed without a word, and the time until their work goes on."""

import asyncio
import random
import time
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from tests.e2e.cluster import eventually, name
from tests.e2e.release import Release, Support
from tests.reliability.actors import Client, Person, Watch, finished

#: How often each component is chosen.
COMPONENTS = {"api": 4, "worker-main": 3, "worker-bulk": 3, "valkey": 2, "scheduler": 1}
PAUSE_SECONDS = (1.0, 5.0)
RECOVERY_SECONDS = 120
ROWS = 20


@dataclass(slots=True)
class Probe:
    """Does what a component's work ends in, and says how long it took.

    Attributes:
        release: The release.
        client: Repeats what fails, as a careful client does.
        person: On whose behalf.
        seen: What this person's socket saw.
        support: Whether imports work.
    """

    release: Release
    client: Client
    person: Person
    seen: Watch
    support: Support

    async def recovered(self, component: str) -> None:
        """Return when what a component carries works, for something that began after the call."""
        match component:
            case "api":
                (await self.client.send("GET", "/items/?limit=1", headers=self.person.headers)).raise_for_status()
            case "scheduler":
                await eventually(self._scheduler_is_ready, RECOVERY_SECONDS)
            case "worker-bulk" if self.support is Support.RUNNING:
                await self._import()
            case _:
                await self._event()

    async def _scheduler_is_ready(self) -> bool:
        return bool(await self.release.ready("scheduler"))

    async def _event(self) -> None:
        body = {"title": f"probe-{uuid4().hex}"}
        made = await self.client.send("POST", "/items/", json=body, headers=self._fresh())
        item_id = made.raise_for_status().json()["id"]
        while not any(at == item_id for _, at, _ in self.seen.events):  # noqa: ASYNC110  # what the socket saw is no event of this loop
            await asyncio.sleep(0.05)

    async def _import(self) -> None:
        lines = ["title", *(f"probe-{uuid4().hex}" for _ in range(ROWS))]
        file = ("rows.csv", "\n".join(lines).encode(), "text/csv")
        started = await self.client.send("POST", "/items/imports", files={"file": file}, headers=self._fresh())
        job = await finished(self.client, self.person, started.raise_for_status().json()["id"])
        assert job["state"] == "finished", job

    def _fresh(self) -> dict[str, str]:
        return self.person.headers | {"Idempotency-Key": uuid4().hex}


@dataclass(slots=True)
class Chaos:
    """Kills pods of a release at random.

    Attributes:
        release: The release.
        probe: Tells when it has recovered.
        seconds: Seconds until the work went on, for each kill, by component.
    """

    release: Release
    probe: Probe
    chance: random.Random
    seconds: dict[str, list[float]] = field(default_factory=dict[str, list[float]])

    async def kill(self, kills: int) -> None:
        """Kill so many pods, and wait until all has recovered."""
        async with asyncio.TaskGroup() as probing:
            for _ in range(kills):
                await asyncio.sleep(self.chance.uniform(*PAUSE_SECONDS))
                component = await self._kill_one()
                probing.create_task(self._time(component, self.probe.recovered(component)))

    async def _kill_one(self) -> str:
        while True:
            component = self.chance.choices(list(COMPONENTS), list(COMPONENTS.values()))[0]
            # One that has not started is no victim: it would only start again.
            started = [pod for pod in await self.release.pods(component) if pod["status"]["phase"] == "Running"]
            if started:
                victim = name(self.chance.choice(started))
                await self.release.cluster.kubectl("delete", "pod", victim, "--grace-period=0", "--force", "--wait=false")
                return component
            await asyncio.sleep(0.5)

    async def _time(self, component: str, work: Coroutine[Any, Any, None]) -> None:
        began = time.monotonic()
        async with asyncio.timeout(RECOVERY_SECONDS):
            await work
        self.seconds.setdefault(component, []).append(time.monotonic() - began)

    def figures(self) -> dict[str, Any]:
        """Return how many were killed, and how long recovery took."""
        return {
            f"{component}: kills, median and longest recovery in seconds": (
                len(found),
                round(sorted(found)[len(found) // 2], 1),
                round(max(found), 1),
            )
            for component, found in sorted(self.seconds.items())
        }
