import asyncio
import os
import re
import subprocess
import sys
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest

from app.core import schema
from app.local.servers import postgres as postgres_server
from app.local.servers.ports import free_port
from app.models import Base
from migrations.lint import VERSIONS
from tests.servers import SuiteServers
from tests.worker import WorkerDatabase

ROOT = Path(__file__).parents[2]


@pytest.fixture
async def empty_database(servers: SuiteServers, worker_name: str) -> AsyncGenerator[WorkerDatabase]:
    """A database that was never migrated."""
    name = f"empty_{worker_name}"
    await postgres_server.provision(servers.postgres, [name])
    yield WorkerDatabase(servers.postgres, name)
    connection = await asyncpg.connect(servers.postgres.url(postgres_server.SUPERUSER, "postgres"))
    await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await connection.close()


async def alembic(database: WorkerDatabase, *arguments: str, **variables: str) -> tuple[int, str]:
    environment = {**os.environ, "MIGRATION_DATABASE_URL": database.owner_url, **variables}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "alembic", *arguments, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    output, _ = await process.communicate()
    return process.returncode or 0, output.decode()


async def fetch(url: str, query: str) -> list[Any]:
    connection = await asyncpg.connect(url)
    try:
        return [row[0] for row in await connection.fetch(query)]
    finally:
        await connection.close()


async def test_the_migrations_make_what_the_models_say(empty_database: WorkerDatabase) -> None:
    assert (await alembic(empty_database, "upgrade", "head"))[0] == 0
    status, output = await alembic(empty_database, "check")
    assert status == 0, output
    tables = await fetch(empty_database.superuser_url, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    assert set(tables) == set(Base.metadata.tables) | {"alembic_version"}


async def test_migrators_that_start_together_migrate_once(empty_database: WorkerDatabase) -> None:
    results = await asyncio.gather(*(alembic(empty_database, "upgrade", "head") for _ in range(3)))
    assert [status for status, _ in results] == [0, 0, 0], results
    assert await fetch(empty_database.superuser_url, "SELECT version_num FROM alembic_version") == [newest()]


@pytest.mark.parametrize(("revision", "status"), [(f"{schema.NEEDED + 1:04}", 0), (f"{schema.NEEDED + schema.TOLERATED_AHEAD + 1:04}", 1)])
async def test_after_a_rollback_a_database_that_is_ahead_is_left_as_it_is(
    empty_database: WorkerDatabase, revision: str, status: int
) -> None:
    await alembic(empty_database, "upgrade", "head")
    connection = await asyncpg.connect(empty_database.superuser_url)
    await connection.execute("UPDATE alembic_version SET version_num = $1", revision)
    await connection.close()
    found, output = await alembic(empty_database, "upgrade", "head")
    assert (found != 0) == bool(status), output
    assert ("ahead of this release" in output) == (status == 0)
    assert await fetch(empty_database.superuser_url, "SELECT version_num FROM alembic_version") == [revision]


async def test_a_migration_waits_in_turns_for_a_locked_table(empty_database: WorkerDatabase) -> None:
    holder = await asyncpg.connect(empty_database.superuser_url)
    await holder.execute("CREATE TABLE alembic_version (version_num varchar(32) NOT NULL PRIMARY KEY)")
    await holder.execute("ALTER TABLE alembic_version OWNER TO platform_owner")
    held = holder.transaction()
    await held.start()
    await holder.execute("LOCK TABLE alembic_version IN ACCESS EXCLUSIVE MODE")
    migrating = asyncio.ensure_future(alembic(empty_database, "upgrade", "head"))
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'migrate' AND wait_event_type = 'Lock'"
    async with asyncio.timeout(60):
        for state in (True, False, True):  # waits, gives up, waits again
            while bool((await fetch(empty_database.superuser_url, waiting))[0]) != state:  # noqa: ASYNC110  # another process gets there
                await asyncio.sleep(0.05)
    await held.rollback()
    await holder.close()
    status, output = await migrating
    assert status == 0, output
    assert "a table is locked; attempt 1 of" in output
    assert await fetch(empty_database.superuser_url, "SELECT version_num FROM alembic_version") == [newest()]


async def test_a_server_that_is_not_there_yet_is_waited_for(empty_database: WorkerDatabase) -> None:
    port = free_port()
    server = urlsplit(empty_database.owner_url)
    url = server._replace(netloc=server.netloc.replace(f":{server.port}", f":{port}")).geturl()
    migrating = asyncio.create_task(alembic(empty_database, "upgrade", "head", MIGRATION_DATABASE_URL=url))
    await asyncio.sleep(3)

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner = await asyncio.open_connection(server.hostname, server.port)
        await asyncio.gather(_copy(reader, inner[1]), _copy(inner[0], writer))

    async with await asyncio.start_server(forward, "127.0.0.1", port):
        status, output = await migrating
    assert status == 0, output
    assert await fetch(empty_database.superuser_url, "SELECT version_num FROM alembic_version") == [newest()]


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()


async def test_without_a_url_the_migrator_says_what_to_set() -> None:
    environment = {"PATH": os.environ["PATH"]}
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "alembic", "upgrade", "head"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.strip() == "Set MIGRATION_DATABASE_URL to PostgreSQL as the owner of the schema."


async def test_the_owners_url_may_come_from_a_file(empty_database: WorkerDatabase, tmp_path: Path) -> None:
    (tmp_path / "url").write_text(empty_database.owner_url + "\n")
    status, output = await alembic(empty_database, "current", MIGRATION_DATABASE_URL="", MIGRATION_DATABASE_URL_FILE=str(tmp_path / "url"))
    assert status == 0, output


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE x (id int)",
        "ALTER TABLE items ADD COLUMN x int",
        "DROP TABLE items",
        "TRUNCATE items",
        "CREATE INDEX x ON items (title)",
        "CREATE FUNCTION x() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "CREATE SCHEMA x",
    ],
)
async def test_the_role_of_the_service_cannot_change_the_schema(postgres: WorkerDatabase, statement: str) -> None:
    connection = await asyncpg.connect(postgres.url)
    try:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(statement)
    finally:
        await connection.close()


async def test_the_role_of_the_service_reads_and_writes_every_table(postgres: WorkerDatabase) -> None:
    query = """SELECT relname::text FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'
        AND has_table_privilege(oid, 'SELECT') AND has_table_privilege(oid, 'INSERT')
        AND has_table_privilege(oid, 'UPDATE') AND has_table_privilege(oid, 'DELETE')"""
    assert set(await fetch(postgres.url, query)) >= set(Base.metadata.tables)


async def test_constraints_and_indexes_are_named_by_the_convention(postgres: WorkerDatabase) -> None:
    named = await fetch(
        postgres.url,
        """SELECT contype::text || ' ' || conrelid::regclass || ' ' || conname FROM pg_constraint
        WHERE connamespace = 'public'::regnamespace AND contype <> 'n' AND conrelid <> 'alembic_version'::regclass""",
    )
    prefixes = {"p": "pk", "u": "uq", "f": "fk", "c": "ck"}
    for kind, table, name in map(str.split, named):
        assert name.startswith(f"{prefixes[kind]}_{table}"), name
    indexes = await fetch(
        postgres.url,
        """SELECT i.indrelid::regclass || ' ' || c.relname FROM pg_index i JOIN pg_class c ON c.oid = indexrelid
        WHERE relnamespace = 'public'::regnamespace AND i.indrelid <> 'alembic_version'::regclass""",
    )
    for table, name in map(str.split, indexes):
        assert re.match(rf"(ix|uq|pk)_{table}", name), name


async def test_every_foreign_key_has_an_index(postgres: WorkerDatabase) -> None:
    unindexed = await fetch(
        postgres.url,
        """SELECT conname FROM pg_constraint c WHERE contype = 'f' AND connamespace = 'public'::regnamespace
        AND NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.conrelid AND i.indkey[0] = c.conkey[1])""",
    )
    assert unindexed == []


def newest() -> str:
    return max(path.stem.split("_")[0] for path in VERSIONS.glob("*.py"))


def test_this_release_accepts_the_newest_revision() -> None:
    assert int(newest()) == schema.NEEDED
    assert schema.is_accepted(newest())
