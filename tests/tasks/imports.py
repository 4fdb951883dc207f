"""Imports as the tests of tasks make them."""

import hashlib
import json
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import asyncpg

from app.core.database import Database
from app.core.statement import Runner
from app.services import import_runner
from app.services.storage import Storage

type Admin = asyncpg.Connection[asyncpg.Record]


async def hold(_db: Runner) -> None:
    """Hold on to nothing: no other worker is there."""


@dataclass
class Imports:
    """Makes jobs as the API does, and looks at what came of them."""

    database: Database
    storage: Storage
    connection: Admin

    async def owner(self) -> int:
        """Return a new user."""
        query = "INSERT INTO users (email, password_hash) VALUES ($1, 'x') RETURNING id"
        made: int = await self.connection.fetchval(query, f"{uuid4().hex}@example.com")
        return made

    async def store(self, content: bytes) -> dict[str, Any]:
        """Put a file into the store and return the parameters of its import."""

        async def pieces() -> AsyncGenerator[bytes]:
            for begin in range(0, len(content), 65_536):
                yield content[begin : begin + 65_536]

        key = f"imports/0/{uuid4().hex}"
        checksum = hashlib.sha256(content).hexdigest()
        stored = await self.storage.put(key, pieces(), size=len(content), content_type="text/csv", checksum_sha256=checksum)
        return {"object_key": key, "size": stored.size, "etag": stored.etag, "format": "csv"}

    async def make(self, content: bytes, **parameters: Any) -> int:
        """Return the job that imports a file."""
        values = await self.store(content) | parameters
        query = "INSERT INTO jobs (owner_id, kind, parameters) VALUES ($1, 'import', $2) RETURNING id"
        made: int = await self.connection.fetchval(query, await self.owner(), json.dumps(values))
        return made

    async def run(self, job_id: int, hold: import_runner.Hold = hold) -> None:
        """Run a job in this process."""
        await import_runner.run(self.database, self.storage, job_id, hold)

    async def job(self, job_id: int) -> dict[str, Any]:
        """Return a job's row."""
        row = await self.connection.fetchrow("SELECT * FROM jobs WHERE id = $1", job_id)
        assert row is not None
        return dict(row) | {name: json.loads(row[name]) for name in ("parameters", "checkpoint", "errors")}

    async def titles(self) -> list[str]:
        """Return the titles of all items in the order they were made."""
        return [row["title"] for row in await self.connection.fetch("SELECT title FROM items ORDER BY id")]

    async def events(self) -> list[tuple[str, dict[str, Any]]]:
        """Return the promised events."""
        rows = await self.connection.fetch("SELECT name, payload::text AS payload FROM outbox WHERE kind = 'event' ORDER BY id")
        return [(row["name"], json.loads(row["payload"])) for row in rows]


def rows(count: int) -> bytes:
    """Return a CSV file whose titles are the rows' numbers."""
    return b"title\n" + b"".join(b"%d\n" % number for number in range(1, count + 1))


def numbers(count: int) -> list[str]:
    """Return the titles of ``rows``."""
    return [str(number) for number in range(1, count + 1)]
