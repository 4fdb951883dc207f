import asyncio
import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from pydantic import SecretStr
from typer.testing import CliRunner

from app.__main__ import command_line
from app.cli.checks.machine import check_machine
from app.cli.checks.postgres import check_postgres
from app.cli.checks.redis import check_redis
from app.cli.checks.result import Result
from app.cli.checks.s3 import check_s3
from app.cli.checks.smtp import check_smtp
from app.core.config import Settings
from app.local.servers import postgres as postgres_server
from tests.servers import SuiteServers
from tests.worker import WorkerDatabase

type Run = Callable[..., Any]


@pytest.fixture
def run(setting_values: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Run a command of the command line in this process, with the tests' servers in its environment."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str, **variables: str) -> Any:
        return CliRunner().invoke(command_line(list(arguments)), arguments, env=setting_values | variables)

    return run


def by_check(results: list[Result]) -> dict[str, Result]:
    return {result.check: result for result in results}


def nowhere() -> str:
    """An address at which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"127.0.0.1:{server.getsockname()[1]}"


def test_everything_is_there(run: Run, settings: Settings) -> None:
    done = run("doctor", "--json")
    results = [Result(**found) for found in orjson.loads(done.stdout)]
    assert done.exit_code == 0, done.stdout
    assert [r for r in results if r.state == "failed"] == []
    assert {r.part for r in results} == {"Settings", "Machine", "PostgreSQL", "Redis", "S3", "SMTP"}
    assert by_check(results)["put, get, delete"].state == "ok"
    assert by_check(results)["uploads by browsers"].detail == f"{settings.ALLOWED_ORIGINS[0]} may upload"


def test_the_table_names_what_fails_and_what_to_do(run: Run) -> None:
    address = nowhere()
    host, port = address.split(":")
    done = run(
        "doctor",
        REDIS_URL=f"redis://:hunter2@{address}/0",
        DATABASE_URL=f"postgresql://app:hunter2@{address}/x",
        SMTP_HOST=host,
        SMTP_PORT=port,
    )
    assert done.exit_code == 1
    text = re.sub(r"\s+", " ", done.stdout)
    assert "3 failed" in text
    for name in ("DATABASE_URL", "SMTP_HOST"):
        assert name in text
    assert "hunter2" not in done.stdout


def test_settings_that_do_not_hold_are_all_that_is_told(run: Run) -> None:
    done = run("doctor", "--json", PORT="x", SECRET_KEY="short")
    results = orjson.loads(done.stdout)
    assert done.exit_code == 1
    assert [(r["part"], r["check"], r["state"]) for r in results] == [("Settings", "PORT", "failed"), ("Settings", "SECRET_KEY", "failed")]


async def test_a_role_that_may_change_the_schema_fails(settings: Settings, postgres: WorkerDatabase) -> None:
    for url in (postgres.owner_url, postgres.superuser_url):
        results = by_check(await check_postgres(Settings.model_validate(settings.model_dump() | {"DATABASE_URL": url})))
        assert results["role"].state == "failed"
    assert by_check(await check_postgres(settings))["role"].state == "ok"


async def test_a_database_that_was_never_migrated_fails(settings: Settings, servers: SuiteServers) -> None:
    url = servers.postgres.url(postgres_server.APP, "postgres")
    results = by_check(await check_postgres(Settings.model_validate(settings.model_dump() | {"DATABASE_URL": url})))
    assert results["revision"] == Result("PostgreSQL", "revision", "failed", "never migrated", results["revision"].remedy)
    assert "alembic upgrade head" in results["revision"].remedy


async def test_a_budget_above_what_the_server_allows_is_a_warning(settings: Settings) -> None:
    results = by_check(await check_postgres(settings.model_copy(update={"DATABASE_MAX_CONNECTIONS": 100_000})))
    assert results["connections"].state == "warning"


async def test_a_redis_that_evicts_fails_and_one_that_forgets_is_a_warning(settings: Settings, valkey: Any) -> None:
    await valkey.config_set("maxmemory-policy", "allkeys-lru")
    try:
        results = by_check(await check_redis(settings))
    finally:
        await valkey.config_set("maxmemory-policy", "noeviction")
    assert (results["eviction"].state, results["eviction"].detail) == ("failed", "allkeys-lru")
    assert results["persistence"].state == "warning"
    await valkey.config_set("appendonly", "yes")
    try:
        results = by_check(await check_redis(settings))
    finally:
        await valkey.config_set("appendonly", "no")
    assert (results["eviction"].state, results["persistence"].state) == ("ok", "ok")


async def test_a_cache_of_its_own_may_evict(settings: Settings, valkey: Any) -> None:
    url = str(settings.REDIS_URL).removesuffix("/0") + "/1"
    changed = Settings.model_validate(settings.model_dump() | {"CACHE_URL": url})
    results = await check_redis(changed)
    assert {result.part for result in results} == {"Redis", "Redis (cache)"}
    assert [result.check for result in results if result.part == "Redis (cache)"] == ["version"]


async def test_credentials_that_the_store_refuses_fail(settings: Settings) -> None:
    [result] = await check_s3(settings.model_copy(update={"S3_SECRET_ACCESS_KEY": SecretStr("another")}))
    assert result.state == "failed"
    assert "S3_ENDPOINT_URL, S3_BUCKET and the credentials" in result.remedy


async def test_an_origin_that_may_not_upload_is_a_warning(settings: Settings) -> None:
    results = by_check(await check_s3(settings.model_copy(update={"ALLOWED_ORIGINS": ["https://stranger.example.com"]})))
    assert results["put, get, delete"].state == "ok"
    assert results["uploads by browsers"].state == "warning"


async def test_a_public_address_that_does_not_answer_fails(settings: Settings) -> None:
    results = by_check(await check_s3(settings.model_copy(update={"S3_PUBLIC_ENDPOINT_URL": f"http://{nowhere()}"})))
    assert results["uploads by browsers"].state == "failed"


async def test_mail_that_cannot_be_sent_is_told(settings: Settings) -> None:
    assert [r.state for r in await check_smtp(settings)] == ["ok"]
    assert [r.state for r in await check_smtp(settings.model_copy(update={"SMTP_HOST": None}))] == ["warning"]
    assert [r.state for r in await check_smtp(settings.model_copy(update={"SMTP_TLS": "starttls"}))] == ["failed"]


async def test_a_mail_server_that_refuses_our_password_is_told(settings: Settings) -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 hello\r\n")
        while line := await reader.readline():
            answers = {b"EHLO": b"250-here\r\n250 AUTH PLAIN\r\n", b"AUTH": b"535 5.7.8 refused\r\n"}
            writer.write(answers.get(line[:4].upper(), b"221 bye\r\n"))
        writer.close()

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    changed = settings.model_dump() | {"SMTP_PORT": port, "SMTP_USER": "u", "SMTP_PASSWORD": "hunter2"}
    async with server:
        [result] = await check_smtp(Settings.model_validate(changed))
    assert (result.check, result.state) == ("sign-in", "failed")
    assert "SMTP_PASSWORD" in result.remedy


def test_a_machine_without_room_fails(settings: Settings) -> None:
    assert by_check(check_machine(settings))["disk"].state == "ok"
    assert by_check(check_machine(settings.model_copy(update={"IMPORT_MAX_BODY_BYTES": 2**60})))["disk"].state == "failed"


def test_the_api_document_is_printed_without_any_server() -> None:
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-m", "app", "openapi"], cwd=root, env={"PATH": os.environ["PATH"]}, capture_output=True, check=True
    )
    document = orjson.loads(done.stdout)
    assert document["openapi"].startswith("3.1")
    assert "/api/v1/items/" in document["paths"]


def test_the_table_of_settings_is_printed(run: Run) -> None:
    done = run("settings")
    assert done.exit_code == 0
    assert "| `DATABASE_URL` | URL | **required** |" in done.stdout
    assert run("settings", "--check").stdout == "The settings hold.\n"


@pytest.mark.usefixtures("empty_tables")
async def test_a_superuser_is_made_from_the_environment(run: Run, superuser_connection: Any) -> None:
    password = "correct horse battery staple"
    done = await asyncio.to_thread(run, "create-superuser", FIRST_SUPERUSER_EMAIL="root@example.com", FIRST_SUPERUSER_PASSWORD=password)
    assert done.exit_code == 0, done.output
    rows = await superuser_connection.fetch("SELECT email, is_superuser, is_active, password_hash FROM users")
    assert [tuple(row)[:3] for row in rows] == [("root@example.com", True, True)]
    assert password not in done.output + rows[0]["password_hash"]


@pytest.mark.usefixtures("empty_tables")
@pytest.mark.parametrize(
    ("email", "password", "named"), [("root", "correct horse battery staple", "email"), ("root@example.com", "short", "password")]
)
async def test_a_superuser_is_refused_as_any_user_would_be(
    run: Run, superuser_connection: Any, email: str, password: str, named: str
) -> None:
    done = await asyncio.to_thread(run, "create-superuser", "--email", email, "--password", password)
    assert done.exit_code == 1
    assert named in done.output
    assert await superuser_connection.fetchval("SELECT count(*) FROM users") == 0


def test_the_command_line_does_not_load_what_was_not_asked_for() -> None:
    code = "import sys, app.__main__; sys.exit(' '.join(m for m in ('app.core.metrics', 'app.main', 'sqlalchemy') if m in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False)
    assert done.stderr.strip() == ""
