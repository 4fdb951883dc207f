"""Pods killed at random, and a node that is drained: nothing acknowledged is lost, nothing is done twice."""

import asyncio
import random
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from tests.e2e import load
from tests.e2e.chaos import Chaos, Probe
from tests.e2e.cluster import eventually, is_ready, name
from tests.e2e.load import Load
from tests.e2e.people import people
from tests.e2e.release import Release, Support
from tests.e2e.verdict import judge
from tests.reliability import actors
from tests.reliability.actors import Client, Record, Watch
from tests.reliability.chaos import _running as running

KILLS = 50
WRITERS = 3
SEED = 1
#: The ingress gives everybody one address, and an address may register a hundred times in an hour.
JOIN_SECONDS = 4
DRAIN_RATE = 15
DRAIN_SECONDS = 300
CORDONED_SECONDS = 20


async def _join(client: Client, record: Record) -> None:
    while True:
        await actors.register(client, record)
        await asyncio.sleep(JOIN_SECONDS)


async def test_fifty_killed_pods_lose_nothing_acknowledged_and_double_nothing(
    release: Release, record: Record, support: Support, figures: dict[str, Any]
) -> None:
    *users, prober = await people(release, record, WRITERS + 1)
    watches = [Watch(person.id) for person in (*users, prober)]
    client = Client(release.url, record)
    chaos = Chaos(release, Probe(release, client, prober, watches[-1], support), random.Random(SEED))
    try:
        async with running(*(actors.watch(client, person, seen) for person, seen in zip((*users, prober), watches, strict=True))):
            work = [actors.write(client, record, person) for person in users]
            if support is Support.RUNNING:
                work += [actors.bring(client, record, users[0]), _join(client, record)]
            async with running(*work):
                await chaos.kill(KILLS)
            figures |= chaos.figures()
            found = await judge(release, record, watches, support=support)
    finally:
        await client.close()
    figures |= found.figures
    if support is Support.NONE:
        figures["not tried"] = "imports and mails: E2E_SUPPORT_IMAGE would let the service store files and send mails"
    assert found.faults == []
    assert found.figures["items acknowledged"] > 0


@asynccontextmanager
async def _cordoned(release: Release, node: str) -> AsyncGenerator[None]:
    await release.cluster.kubectl("cordon", node)
    try:
        yield
    finally:
        await release.cluster.kubectl("uncordon", node)


async def test_a_drained_node_loses_no_request(release: Release, record: Record, support: Support, figures: dict[str, Any]) -> None:
    """Drain the node of an API pod, as far as it is of this release; its databases, which have one pod, stay."""
    users = await people(release, record, 4)
    node = str((await release.pods("api"))[0]["spec"]["nodeName"])
    there = {name(pod) for pod in await release.pods("api", "worker-main", "worker-bulk", "scheduler") if pod["spec"]["nodeName"] == node}
    selector = f"app.kubernetes.io/instance={release.name},app.kubernetes.io/component notin (postgresql,valkey,migrate,test)"
    words = ("drain", node, f"--pod-selector={selector}", "--ignore-daemonsets", "--delete-emptydir-data", f"--timeout={DRAIN_SECONDS}s")
    traffic = Load(release.url, users, record, DRAIN_RATE, phase="all")
    began = time.monotonic()
    async with traffic.running():
        await traffic.until(DRAIN_RATE)
        async with _cordoned(release, node):
            draining = asyncio.create_task(release.cluster.kubectl(*words))
            await asyncio.wait([draining], timeout=CORDONED_SECONDS)
            figures["API pods ready while the node takes none"] = len((await release.ready("api"))["api"])
        await draining
        figures["seconds of the drain"] = round(time.monotonic() - began, 1)

        async def replaced() -> bool:
            names = {name(pod) for pod in await release.pods()}
            return not there & names and all(is_ready(pod) for pod in await release.pods("api"))

        await eventually(replaced, DRAIN_SECONDS)
    found = await judge(release, record, [], support=support)
    figures |= found.figures | load.figures(traffic.samples) | {"evicted pods": len(there)}
    assert load.failures(traffic.samples) == []
    assert figures["API pods ready while the node takes none"] >= 1
    assert found.faults == []
