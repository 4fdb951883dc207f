"""What is there afterwards, held against what was acknowledged: the verdict of ``tests/reliability``, for a cluster."""

import asyncio
import contextlib
import json
import tempfile
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import asyncpg

from tests.e2e.manifests import MAILS
from tests.e2e.release import Release, Support
from tests.reliability import verdict
from tests.reliability.actors import Record, Watch
from tests.reliability.stack import Stack
from tests.reliability.verdict import Verdict

LAST_EVENTS_SECONDS = 60
EVENTS_SECONDS = 120


async def judge(release: Release, record: Record, watches: Sequence[Watch], support: Support) -> Verdict:
    """Wait until nothing is promised any more, then compare database, mailbox and sockets with what was acknowledged.

    Args:
        release: The release with its PostgreSQL.
        record: What was acknowledged.
        watches: What sockets saw.
        support: Whether there are mails and imports: a mail's task stays in the outbox where it cannot be sent.

    Raises:
        TimeoutError: if something is stuck.
    """
    with tempfile.TemporaryDirectory(prefix="e2e-") as name:
        folder = Path(name)
        (folder / "mail").mkdir()
        mails = support is Support.RUNNING
        async with _database(release) as url:
            seconds = await (verdict.settle(url) if mails else _settle_events(url))
            await last_events(record, watches)
            if mails:
                await release.cluster.kubectl("cp", f"support:{MAILS}", str(folder / "mail"))
            (folder / "stack.json").write_text(json.dumps({"migration_database_url": url}))
            known = record if mails else replace(record, registered=set[str]())
            found = await verdict.judge(Stack(folder, {}), known, watches)
    return Verdict({**found.figures, "seconds until quiet": round(seconds)}, found.faults)


async def last_events(record: Record, watches: Sequence[Watch]) -> None:
    """Give the sockets time to see the last events; the verdict says what is missing afterwards."""
    owned: dict[int, set[int]] = {}
    for item_id, owner in record.owners.items():
        if item_id in record.items:
            owned.setdefault(owner, set()).add(item_id)

    def all_seen() -> bool:
        return all(owned.get(seen.user_id, set()) <= {at for kind, at, _ in seen.events if kind == "item.created"} for seen in watches)

    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(LAST_EVENTS_SECONDS):
            while not all_seen():  # noqa: ASYNC110  # what the sockets saw is no event of this loop
                await asyncio.sleep(1)


@asynccontextmanager
async def _database(release: Release) -> AsyncGenerator[str]:
    async with release.cluster.forward(f"pod/{release.object_name('postgresql')}-0", 5432) as port:
        yield f"postgresql://owner:{release.database_password}@127.0.0.1:{port}/platform"


async def _settle_events(url: str) -> float:
    loop = asyncio.get_running_loop()
    began = loop.time()
    connection = await asyncpg.connect(url)
    try:
        async with asyncio.timeout(EVENTS_SECONDS):
            while await connection.fetchval("SELECT count(*) FROM outbox WHERE kind = 'event'"):  # noqa: ASYNC110  # it tells nobody
                await asyncio.sleep(0.2)
    finally:
        await connection.close()
    return loop.time() - began
