"""``database-roles``: makes the roles and the database that two URLs name, and gives the roles their passwords."""

import asyncio
from dataclasses import dataclass
from typing import Annotated, Self

import asyncpg
import typer
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from app.core.autocommit import asyncpg_dsn
from app.core.roles import Role, UnsafePassword, grant, save_database, save_roles
from app.core.scrub import scrub_text

#: The database that every server has.
MAINTENANCE = "postgres"
TIMEOUT_SECONDS = 10.0


class UnusableUrls(Exception):  # noqa: N818  # read as a statement about the URLs
    """The URLs do not say what is to be made."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be there."""

    server: URL
    """Where migrations find PostgreSQL, which is never a pool before it."""
    database: str
    owner: Role
    app: Role

    @classmethod
    def of(cls, owner_url: str, app_url: str) -> Self:
        """Read it from the URLs of the owner and of the service.

        Raises:
            UnusableUrls: with the reason and the remedy.
        """
        server, service = _parsed("MIGRATION_DATABASE_URL", owner_url), _parsed("DATABASE_URL", app_url)
        owner, app = _role("MIGRATION_DATABASE_URL", server), _role("DATABASE_URL", service)
        if server.database is None or server.database != service.database:
            raise UnusableUrls(f"DATABASE_URL and MIGRATION_DATABASE_URL: name one database, not {service.database} and {server.database}.")
        if owner.name == app.name:
            raise UnusableUrls(f"DATABASE_URL: its role must not be the owner of the schema, {owner.name}; name another.")
        return cls(server, server.database, owner, app)

    async def connect(self, role: Role, database: str) -> "asyncpg.Connection[asyncpg.Record]":
        """Sign in at the server."""
        url = self.server.set(username=role.name, password=role.password, database=database)
        return await asyncpg.connect(asyncpg_dsn(url), timeout=TIMEOUT_SECONDS)


def database_roles(
    user: Annotated[str, typer.Option(envvar="ADMIN_USER", prompt=True, help="Role that may make roles and databases.")],
    password: Annotated[str, typer.Option(envvar="ADMIN_PASSWORD", prompt=True, hide_input=True, help="Its password.")],
    # Options of its own instead of all settings, which must fit each other: this runs before there is a service to set up.
    owner_url: Annotated[str, typer.Option(envvar="MIGRATION_DATABASE_URL", help="PostgreSQL as the owner of the schema.")],
    app_url: Annotated[str, typer.Option(envvar="DATABASE_URL", help="PostgreSQL as the service's role.")],
) -> None:
    """Make or mend the roles of DATABASE_URL and MIGRATION_DATABASE_URL, and their database; safe to repeat, as after a new password."""
    try:
        done = asyncio.run(_make(Plan.of(owner_url, app_url), Role(user, password)))
    except UnusableUrls as error:
        raise _failure(str(error)) from None
    except UnsafePassword:
        raise _failure("A password has other characters than printable ASCII; make one of letters and digits.") from None
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise _failure(f"PostgreSQL: {scrub_text(str(error)) or type(error).__name__}. It is safe to repeat.") from None
    typer.echo(done)


async def _make(plan: Plan, administrator: Role) -> str:
    connection = await plan.connect(administrator, MAINTENANCE)
    try:
        await save_roles(connection, plan.owner, plan.app)
        made = await save_database(connection, plan.database, plan.owner.name)
        belongs_to = await connection.fetchval("SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = $1", plan.database)
    finally:
        await connection.close()
    if belongs_to != plan.owner.name:
        raise UnusableUrls(
            f"The database {plan.database} belongs to {belongs_to}, so {plan.owner.name} could make no tables in it; name another, "
            "or let its owner run ALTER DATABASE ... OWNER TO."
        )
    connection = await plan.connect(plan.owner, plan.database)
    try:
        await grant(connection, plan.app.name)
    finally:
        await connection.close()
    return (
        f"{plan.owner.name} owns the database {plan.database}, which was {'made' if made else 'there'}; {plan.app.name} may read and write "
        "its rows. Both have the passwords of their URLs."
    )


def _parsed(name: str, text: str) -> URL:
    try:
        return make_url(text)
    except ArgumentError:
        raise UnusableUrls(f"{name}: is no URL; write it as postgresql://role:password@host/database.") from None


def _role(name: str, url: URL) -> Role:
    if not (url.username and url.password):
        raise UnusableUrls(f"{name}: has no role and password; write it as postgresql://role:password@host/database.")
    return Role(url.username, str(url.password))


def _failure(reason: str) -> typer.Exit:
    typer.echo(reason, err=True)
    return typer.Exit(1)
