"""What is there after the killing, held against what was acknowledged."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import asyncpg
import orjson

from app.local.mail.store import read_mails
from tests.reliability.actors import IMPORT_ROWS, Record, Watch
from tests.reliability.stack import Stack

QUIET_SECONDS = 120


@dataclass(slots=True)
class Verdict:
    """Figures and faults. No fault: everything acknowledged is there, once."""

    figures: dict[str, int] = field(default_factory=dict[str, int])
    faults: list[str] = field(default_factory=list[str])

    def expect(self, true: bool, fault: str) -> None:  # noqa: FBT001  # an assertion that goes on
        """Note a fault unless ``true``."""
        if not true:
            self.faults.append(fault)


async def settle(database_url: str) -> float:
    """Wait until nothing is promised any more: no outbox row, no unfinished job. Return the seconds it took.

    Raises:
        TimeoutError: if something is stuck.
    """
    loop = asyncio.get_running_loop()
    began = loop.time()
    connection = await asyncpg.connect(database_url)
    try:
        async with asyncio.timeout(QUIET_SECONDS):
            query = "SELECT (SELECT count(*) FROM outbox) + (SELECT count(*) FROM jobs WHERE state IN ('queued', 'running'))"
            while await connection.fetchval(query):  # noqa: ASYNC110  # the database tells nobody
                await asyncio.sleep(0.2)
    finally:
        await connection.close()
    return loop.time() - began


async def judge(stack: Stack, record: Record, watches: Sequence[Watch]) -> Verdict:
    """Compare the database and the mailbox with what was acknowledged."""
    verdict = Verdict(faults=record.faults[:])
    verdict.figures |= {"requests": record.requests, "requests repeated": record.retries}
    connection = await asyncpg.connect(stack.description["migration_database_url"])
    try:
        await _judge_items(connection, record, verdict)
        await _judge_jobs(connection, record, verdict)
        parked = await connection.fetchval("SELECT count(*) FROM outbox WHERE parked_at IS NOT NULL")
        verdict.expect(parked == 0, f"{parked} outbox rows are parked")
        accounts = [row["email"] for row in await connection.fetch("SELECT email FROM users")]
    finally:
        await connection.close()
    _judge_mails(stack, record, accounts, verdict)
    _judge_events(record, watches, verdict)
    return verdict


async def _judge_items(connection: "asyncpg.Connection[asyncpg.Record]", record: Record, verdict: Verdict) -> None:
    rows = await connection.fetch("SELECT id, title, attributes FROM items WHERE title NOT LIKE 'import-%'")
    there = {row["id"]: row for row in rows}
    verdict.figures |= {"items acknowledged": len(record.items), "items deleted": len(record.deleted)}
    lost = [item_id for item_id in record.items if item_id not in there]
    verdict.expect(not lost, f"{len(lost)} acknowledged items are gone: {lost[:5]}")
    # A change under way when the load ended may be there without its answer; one that was answered must be.
    older = [
        item_id
        for item_id, body in record.items.items()
        if item_id in there and orjson.loads(there[item_id]["attributes"])["n"] < body["attributes"]["n"]
    ]
    verdict.expect(not older, f"{len(older)} acknowledged changes are gone: {older[:5]}")
    risen = record.deleted & there.keys()
    verdict.expect(not risen, f"{len(risen)} deleted items are back: {sorted(risen)[:5]}")
    doubled = [title for title, number in Counter(row["title"] for row in rows).items() if number > 1]
    verdict.expect(not doubled, f"{len(doubled)} items were made twice: {doubled[:5]}")


async def _judge_jobs(connection: "asyncpg.Connection[asyncpg.Record]", record: Record, verdict: Verdict) -> None:
    verdict.figures["imports acknowledged"] = len(record.jobs)
    for job_id, name in record.jobs.items():
        job = await connection.fetchrow("SELECT state, progress, created, failed, result_url FROM jobs WHERE id = $1", job_id)
        rows = await connection.fetchrow(
            "SELECT count(*) AS rows, count(DISTINCT title) AS titles FROM items WHERE title LIKE $1", f"{name}-%"
        )
        verdict.expect(job is not None, f"job {job_id} is gone")
        if job is not None and rows is not None:
            figures = (job["state"], job["progress"], job["created"], job["failed"], rows["rows"], rows["titles"])
            expected = ("finished", IMPORT_ROWS, IMPORT_ROWS, 0, IMPORT_ROWS, IMPORT_ROWS)
            verdict.expect(figures == expected, f"job {job_id}: state, progress, created, failed, rows, titles are {figures}")


def _judge_mails(stack: Stack, record: Record, accounts: Sequence[str], verdict: Verdict) -> None:
    mails = read_mails(stack.folder / "mail")
    by_recipient: dict[str, list[str]] = {}
    for mail in mails:
        for recipient in mail["to"]:
            by_recipient.setdefault(recipient, []).append(mail["headers"]["Message-ID"])
    verdict.figures |= {"registrations acknowledged": len(record.registered), "mails": len(mails)}
    verdict.figures["mails repeated with the same Message-ID"] = sum(len(ids) - 1 for ids in by_recipient.values())
    without = record.registered - by_recipient.keys()
    verdict.expect(not without, f"{len(without)} people got no welcome mail")
    twice = [recipient for recipient, ids in by_recipient.items() if len(set(ids)) > 1]
    verdict.expect(not twice, f"{len(twice)} people got two different welcome mails")
    strangers = by_recipient.keys() - set(accounts)
    verdict.expect(not strangers, f"{len(strangers)} mails went to addresses that never registered")
    doubled = [email for email, number in Counter(accounts).items() if number > 1]
    verdict.expect(not doubled, f"{len(doubled)} accounts were made twice")


def _judge_events(record: Record, watches: Sequence[Watch], verdict: Verdict) -> None:
    figures = {
        "socket connections": sum(seen.connections for seen in watches),
        "frames": sum(seen.frames.total() for seen in watches),
        "events.missed": sum(seen.missed for seen in watches),
    }
    verdict.figures |= figures
    for seen in watches:
        mine = [item_id for item_id, owner in record.owners.items() if owner == seen.user_id]
        created = {item_id for kind, item_id, _ in seen.events if kind == "item.created"}
        unseen = [item_id for item_id in mine if item_id in record.items and item_id not in created]
        verdict.expect(not unseen, f"user {seen.user_id}: {len(unseen)} items were never announced, nor `events.missed` said: {unseen[:5]}")
        twice = [frame for frame, number in seen.frames.items() if number > 1]
        verdict.expect(not twice, f"user {seen.user_id}: {len(twice)} frames came twice: {twice[:5]}")
