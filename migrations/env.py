"""Alembic's environment: one migrator at a time, as the owner of the schema, with short locks that are tried again."""

import asyncio
import sys
from contextlib import aclosing

from alembic import context
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, pool, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from app.core.database import asyncpg_url
from app.core.schema import is_accepted
from app.core.settings_sources import variable
from app.models import Base

#: Every migrator of every release takes this lock, so that two pods never migrate at once.
MIGRATION_LOCK = 0x666173746170
#: Whoever waits for a table's lock makes everybody wait behind him, so nobody waits for long, but tries again.
LOCK_TIMEOUT = "3s"
LOCK_ATTEMPTS = 10
PAUSE_SECONDS = 2.0
LOCK_NOT_AVAILABLE = "55P03"
#: A server that starts with the release, or fails over meanwhile, is waited for.
CONNECT_ATTEMPTS = 60
CANNOT_CONNECT_NOW = "57P03"


def database_url() -> str:
    """Return the owner's URL: ``-x url=...``, else MIGRATION_DATABASE_URL, else DATABASE_URL."""
    given = context.get_x_argument(as_dictionary=True).get("url")
    url = given or variable("MIGRATION_DATABASE_URL") or variable("DATABASE_URL")
    if not url:
        raise SystemExit("Set MIGRATION_DATABASE_URL to PostgreSQL as the owner of the schema.")
    return url


def ahead(connection: Connection) -> str | None:
    """Return the database's revision if it is a later release's that this one works with: after a rollback nothing is to be done."""
    revision = MigrationContext.configure(connection).get_current_revision()
    known = {script.revision for script in ScriptDirectory.from_config(context.config).walk_revisions()}
    return revision if revision is not None and revision not in known and is_accepted(revision) else None


def migrate(connection: Connection) -> None:
    """Run the migrations on an open connection."""
    if revision := ahead(connection):
        sys.stderr.write(f"the database is at {revision}, ahead of this release, which works with it\n")
        return
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        compare_type=True,
        compare_server_default=True,
        transaction_per_migration=True,
    )
    with context.begin_transaction():
        context.run_migrations()


async def migrate_patiently(connection: AsyncConnection) -> None:
    """Migrate, beginning again with the migration that did not get its lock in time."""
    for attempt in range(1, LOCK_ATTEMPTS + 1):
        try:
            await connection.run_sync(migrate)
            await connection.commit()
        except DBAPIError as error:
            await connection.rollback()
            if getattr(error.orig, "sqlstate", None) != LOCK_NOT_AVAILABLE or attempt == LOCK_ATTEMPTS:
                raise
            sys.stderr.write(f"a table is locked; attempt {attempt} of {LOCK_ATTEMPTS} failed, trying again\n")
            await asyncio.sleep(PAUSE_SECONDS)
        else:
            return


async def connect_patiently(engine: AsyncEngine) -> AsyncConnection:
    """Return a connection, as soon as the server takes one."""
    for attempt in range(1, CONNECT_ATTEMPTS + 1):
        try:
            return await engine.connect()
        except (OSError, DBAPIError) as error:
            passing = isinstance(error, OSError) or getattr(error.orig, "sqlstate", None) == CANNOT_CONNECT_NOW
            if not passing or attempt == CONNECT_ATTEMPTS:
                raise
            sys.stderr.write(f"PostgreSQL does not take connections ({error}); attempt {attempt} of {CONNECT_ATTEMPTS}, trying again\n")
            await asyncio.sleep(PAUSE_SECONDS)
    raise AssertionError


async def main() -> None:
    """Connect, take the migrators' lock, migrate."""
    engine = create_async_engine(
        asyncpg_url(database_url()), poolclass=pool.NullPool, connect_args={"server_settings": {"application_name": "migrate"}}
    )
    try:
        async with aclosing(await connect_patiently(engine)) as connection:
            await connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": MIGRATION_LOCK})
            await connection.execute(text(f"SET lock_timeout = '{LOCK_TIMEOUT}'"))
            await connection.commit()
            await migrate_patiently(connection)
    finally:
        await engine.dispose()


if context.is_offline_mode():
    raise SystemExit("Migrations here need a connection: they wait for each other by a lock in the database.")
asyncio.run(main())
