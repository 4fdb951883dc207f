"""PostgreSQL: reachable, new enough, migrated, and the service's role cannot change the schema."""

import time
from typing import Any, Final

import asyncpg

from app.cli.checks.result import Result, verdict
from app.core import schema
from app.core.autocommit import asyncpg_dsn
from app.core.config import Settings
from app.core.database import asyncpg_url

PART: Final = "PostgreSQL"
LEAST_VERSION: Final = 160000
MOST_CLOCK_SECONDS: Final = 2.0
TIMEOUT_SECONDS: Final = 5.0

FACTS: Final = """
SELECT current_setting('server_version_num')::int AS number, current_setting('server_version') AS version,
       current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int AS connections,
       current_user AS role, rolsuper OR rolcreatedb OR rolcreaterole AS mighty,
       has_schema_privilege('public', 'CREATE') OR has_database_privilege(current_database(), 'CREATE')
         OR EXISTS (SELECT FROM pg_tables WHERE schemaname = 'public' AND tableowner = current_user) AS ddl,
       extract(epoch FROM clock_timestamp())::float8 AS now,
       to_regclass('public.alembic_version') IS NOT NULL AS migrated
FROM pg_roles WHERE rolname = current_user
"""


async def check_postgres(settings: Settings) -> list[Result]:
    """Look at the database as the service sees it."""
    url = asyncpg_dsn(asyncpg_url(str(settings.DATABASE_URL)))
    try:
        connection = await asyncpg.connect(url, timeout=TIMEOUT_SECONDS, command_timeout=TIMEOUT_SECONDS, statement_cache_size=0)
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        return [Result(PART, "reachable", "failed", _reason(error), "Start it, or correct DATABASE_URL: host, port, user, password, TLS.")]
    try:
        facts = await connection.fetchrow(FACTS)
        revision = await connection.fetchval("SELECT version_num FROM alembic_version") if facts and facts["migrated"] else None
    except asyncpg.PostgresError as error:
        return [
            Result(PART, "queries", "failed", _reason(error), "Grant the role what the migrations' owner grants by default privileges.")
        ]
    finally:
        await connection.close(timeout=TIMEOUT_SECONDS)
    return [*_server(settings, facts), *_role(facts), _revision(revision)]


def _server(settings: Settings, facts: Any) -> list[Result]:
    drift = abs(time.time() - facts["now"])
    return [
        verdict(PART, "version", good=facts["number"] >= LEAST_VERSION, detail=facts["version"], remedy="Use PostgreSQL 16 or newer."),
        verdict(
            PART,
            "connections",
            good=facts["connections"] >= settings.DATABASE_MAX_CONNECTIONS,
            detail=f"{facts['connections']} allowed, {settings.DATABASE_MAX_CONNECTIONS} budgeted",
            remedy="Raise max_connections, or lower DATABASE_MAX_CONNECTIONS and the pools.",
            otherwise="warning",
        ),
        verdict(
            PART,
            "clock",
            good=drift <= MOST_CLOCK_SECONDS,
            detail=f"{drift:.1f} s apart from this machine",
            remedy="Let both machines follow NTP: tokens and backlog ages depend on it.",
            otherwise="warning",
        ),
    ]


def _role(facts: Any) -> list[Result]:
    return [
        verdict(
            PART,
            "role",
            good=not (facts["ddl"] or facts["mighty"]),
            detail=f"{facts['role']} {'can' if facts['ddl'] or facts['mighty'] else 'cannot'} change the schema",
            remedy="Give DATABASE_URL a role without CREATE, owning nothing; the owner's belongs into MIGRATION_DATABASE_URL.",
        )
    ]


def _revision(revision: str | None) -> Result:
    good = revision is not None and schema.is_accepted(revision)
    remedy = "Run `alembic upgrade head` with MIGRATION_DATABASE_URL set; a database too far ahead needs a newer release."
    return verdict(PART, "revision", good=good, detail=revision or "never migrated", remedy=remedy)


def _reason(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
