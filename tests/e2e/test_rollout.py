"""Upgrade with a migration, and rollback, under load: no failed request, no lost event."""

import asyncio
import time
from typing import Any

from tests.e2e import load, sockets
from tests.e2e.environment import Environment
from tests.e2e.load import Load
from tests.e2e.people import people
from tests.e2e.release import Release, Support, image
from tests.e2e.verdict import judge
from tests.reliability.actors import Record

REQUESTS = 10_000
PEOPLE = 40
SOCKETS_EACH = 5
HEARD_SECONDS = 120
SETTLED_SECONDS = 20


async def test_an_upgrade_with_a_migration_and_a_rollback_fail_no_request_and_lose_no_event(
    environment: Environment, release: Release, record: Record, support: Support, figures: dict[str, Any]
) -> None:
    users = await people(release, record, PEOPLE)
    revision = await release.database_revision()
    traffic = Load(release.url, users, record, environment.rate)
    async with sockets.following(release.url, users, SOCKETS_EACH) as seen, traffic.running():
        await sockets.all_heard(seen, HEARD_SECONDS)
        for phase in ("upgrade", "rollback"):
            traffic.phase, began = phase, time.monotonic()
            await (release.upgrade(image(environment.image_next)) if phase == "upgrade" else release.rollback())
            figures[f"seconds of helm {phase}"] = round(time.monotonic() - began, 1)
            figures[f"database after the {phase}"] = await release.database_revision()
            traffic.phase = f"after the {phase}"
            await asyncio.sleep(SETTLED_SECONDS)
            await sockets.all_open(seen, SETTLED_SECONDS)
        await traffic.until(REQUESTS)
    found = await judge(release, record, seen, support=support)
    codes = sum((socket.closes for socket in seen), start=type(seen[0].closes)())
    refused = [word for socket in seen for word in socket.refused]
    figures |= (
        found.figures
        | load.figures(traffic.samples)
        | {"sockets": len(seen), "closes by code": dict(codes), "refused sockets": len(refused)}
    )
    assert load.failures(traffic.samples) == []
    assert figures["database after the upgrade"] == f"{int(revision) + 1:04}" == figures["database after the rollback"]
    assert codes.keys() == {sockets.RESTART}
    assert all(socket.closes.total() >= 2 for socket in seen)
    assert refused == []
    assert figures["events.missed"] == 0
    assert found.faults == []
