"""The roles of a database: made once, mended on every repetition, by an administrator that is no superuser."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
from sqlalchemy.engine import URL, make_url
from typer.testing import CliRunner

from app.__main__ import command_line
from app.core.roles import Role, UnsafePassword, quoted, save_roles, verifier
from app.local.servers import postgres as postgres_server
from app.local.servers.ports import free_port
from tests.servers import SuiteServers

ADMINISTRATOR_PASSWORD = "Ad:min/@ p%40ss"  # what RDS makes up is not made for URLs


@dataclass(frozen=True)
class Place:
    """Names that nothing else on the tests' server has."""

    server: URL
    administrator: str
    owner: str
    app: str
    database: str

    def url(self, role: str, password: str, database: str | None = None) -> str:
        url = self.server.set(username=role, password=password, database=database or self.database)
        return url.render_as_string(hide_password=False)


type Run = Callable[..., Any]


@pytest.fixture
async def superuser(servers: SuiteServers) -> AsyncGenerator[Any]:
    connection = await asyncpg.connect(servers.postgres.url(postgres_server.SUPERUSER, "postgres"))
    yield connection
    await connection.close()


@pytest.fixture
async def place(servers: SuiteServers, superuser: Any) -> AsyncGenerator[Place]:
    """A server with an administrator like that of RDS: it makes roles and databases, and is no superuser."""
    suffix = uuid4().hex[:8]
    server = make_url(servers.postgres.url())
    # Names with what SQL and URLs both have a use for.
    place = Place(server, f"admin-{suffix}", f'own"er-{suffix}', f"app@-{suffix}", f"data base-{suffix}")
    await superuser.execute(
        f"CREATE ROLE {quoted(place.administrator)} LOGIN CREATEROLE CREATEDB PASSWORD '{verifier(ADMINISTRATOR_PASSWORD)}'"
    )
    yield place
    await superuser.execute(f"DROP DATABASE IF EXISTS {quoted(place.database)} WITH (FORCE)")
    for role in (place.app, place.owner, place.administrator):
        await superuser.execute(f"DROP ROLE IF EXISTS {quoted(role)}")


@pytest.fixture
def run(place: Place, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the command with passwords of both roles; more variables replace its environment's."""
    monkeypatch.chdir(tmp_path)

    def run(owner: str = "first-owner", app: str = "first-app", **variables: str) -> Any:
        environment = {
            "MIGRATION_DATABASE_URL": place.url(place.owner, owner),
            "DATABASE_URL": place.url(place.app, app),
            "ADMIN_USER": place.administrator,
            "ADMIN_PASSWORD": ADMINISTRATOR_PASSWORD,
        }
        return CliRunner().invoke(command_line(["database-roles"]), ["database-roles"], env=environment | variables)

    return run


async def test_the_roles_are_made_as_the_service_needs_them(run: Run, place: Place) -> None:
    done = await asyncio.to_thread(run)
    assert done.exit_code == 0, done.output
    assert "which was made" in done.stdout
    owner = await asyncpg.connect(place.url(place.owner, "first-owner"))
    await owner.execute("CREATE TABLE things (id int GENERATED ALWAYS AS IDENTITY, name text)")
    await owner.close()
    app = await asyncpg.connect(place.url(place.app, "first-app"))
    try:
        assert await app.fetchval("INSERT INTO things (name) VALUES ('x') RETURNING id") == 1
        for forbidden in ("CREATE TABLE intruder (id int)", "DROP TABLE things", "TRUNCATE things"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await app.execute(forbidden)
    finally:
        await app.close()


async def test_a_repetition_changes_nothing_but_passwords(run: Run, place: Place) -> None:
    await asyncio.to_thread(run)
    done = await asyncio.to_thread(run, "second-owner", "second-app")
    assert done.exit_code == 0, done.output
    assert "which was there" in done.stdout
    for role, former, password in ((place.owner, "first-owner", "second-owner"), (place.app, "first-app", "second-app")):
        await (await asyncpg.connect(place.url(role, password))).close()
        with pytest.raises(asyncpg.InvalidPasswordError):
            await asyncpg.connect(place.url(role, former))


async def test_the_administrator_is_no_member_of_the_owner_afterwards(run: Run, place: Place, superuser: Any) -> None:
    assert (await asyncio.to_thread(run)).exit_code == 0
    assert await superuser.fetchval("SELECT pg_has_role($1, $2, 'SET')", place.administrator, place.owner) is False


async def test_many_may_save_the_same_roles_at_the_same_time(place: Place, superuser: Any, servers: SuiteServers) -> None:
    connections = [await asyncpg.connect(servers.postgres.url(postgres_server.SUPERUSER, "postgres")) for _ in range(8)]
    try:
        await asyncio.gather(*(save_roles(one, Role(place.owner, "x"), Role(place.app, "y")) for one in connections))
    finally:
        for connection in connections:
            await connection.close()
    assert await superuser.fetchval("SELECT count(*) FROM pg_roles WHERE rolname = ANY($1)", [place.owner, place.app]) == 2


async def test_a_server_that_logs_every_statement_logs_no_password(run: Run, place: Place, superuser: Any, servers: SuiteServers) -> None:
    await superuser.execute(f"ALTER ROLE {quoted(place.administrator)} SET log_statement = 'all'")
    assert (await asyncio.to_thread(run, "seen-by-nobody")).exit_code == 0
    log = (servers.folder / "postgres.log").read_text(errors="replace")
    assert f"CREATE ROLE {quoted(place.owner)}" in log
    assert "seen-by-nobody" not in log


def test_a_server_that_does_not_answer_is_told_without_its_password(run: Run, place: Place) -> None:
    nowhere = place.server.set(port=free_port(), username=place.owner, password="hunter2", database=place.database)
    done = run(MIGRATION_DATABASE_URL=nowhere.render_as_string(hide_password=False))
    assert done.exit_code == 1
    assert "PostgreSQL: " in done.stderr
    assert "hunter2" not in done.output


@pytest.mark.parametrize("parameter", ["ssl", "sslmode"])
def test_encryption_that_the_url_asks_for_is_not_done_without(run: Run, place: Place, parameter: str) -> None:
    done = run(MIGRATION_DATABASE_URL=place.url(place.owner, "x") + f"?{parameter}=require")
    assert done.exit_code == 1
    assert "rejected SSL upgrade" in done.stderr  # the tests' server has no certificate


def test_an_administrator_with_the_wrong_password_is_told(run: Run, place: Place) -> None:
    done = run(ADMIN_PASSWORD="wrong")
    assert done.exit_code == 1
    assert f'password authentication failed for user "{place.administrator}"' in done.stderr


async def test_a_database_of_somebody_else_is_left_alone(run: Run, place: Place, superuser: Any) -> None:
    await superuser.execute(f"CREATE DATABASE {quoted(place.database)}")
    done = await asyncio.to_thread(run)
    assert done.exit_code == 1
    assert f"{place.database} belongs to postgres" in done.stderr


@pytest.mark.parametrize(
    ("variables", "told"),
    [
        ({"MIGRATION_DATABASE_URL": "platform"}, "MIGRATION_DATABASE_URL: is no URL"),
        ({"MIGRATION_DATABASE_URL": "postgresql://127.0.0.1/x"}, "MIGRATION_DATABASE_URL: has no role and password"),
        ({"DATABASE_URL": "postgresql://app:x@127.0.0.1/other"}, "name one database, not other and data base-"),
    ],
)
def test_urls_that_do_not_say_what_to_make_are_refused(run: Run, variables: dict[str, str], told: str) -> None:
    done = run(**variables)
    assert (done.exit_code, told in done.stderr) == (1, True), done.output


async def test_settings_that_do_not_fit_each_other_are_no_hindrance(run: Run) -> None:
    # An entry of the secret store holds a password whose user is in the chart's values.
    assert (await asyncio.to_thread(run, SMTP_PASSWORD="without its user")).exit_code == 0


def test_a_missing_url_is_named(run: Run) -> None:
    done = run(MIGRATION_DATABASE_URL="")
    assert done.exit_code == 2
    assert "MIGRATION_DATABASE_URL" in done.stderr


def test_one_role_for_both_is_refused(run: Run, place: Place) -> None:
    done = run(DATABASE_URL=place.url(place.owner, "x"))
    assert done.exit_code == 1
    assert "its role must not be the owner of the schema" in done.stderr


def test_a_password_that_clients_could_encode_in_two_ways_is_refused(run: Run) -> None:
    done = run("pässword")
    assert done.exit_code == 1
    assert "printable ASCII" in done.stderr


@pytest.mark.parametrize("password", ["é", "tab\t", "\u00a0"])
def test_a_verifier_is_made_of_printable_ascii_alone(password: str) -> None:
    with pytest.raises(UnsafePassword):
        verifier(password)


def test_two_verifiers_of_a_password_have_nothing_in_common() -> None:
    one, other = verifier("same"), verifier("same")
    assert one.startswith("SCRAM-SHA-256$4096:")
    assert one != other
