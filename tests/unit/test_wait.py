"""What holds a pod back until the database is there and migrated."""

import asyncio
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from app.__main__ import command_line
from app.cli import wait
from app.core.config import get_settings
from app.core.schema import NEEDED, TOLERATED_AHEAD
from app.local.servers.ports import free_port

type Run = Callable[..., Any]


@pytest.fixture
def run(setting_values: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Wait, looking often."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(wait, "POLL_SECONDS", 0.05)

    def run(*arguments: str, **variables: str) -> Any:
        get_settings.cache_clear()
        try:
            return CliRunner().invoke(command_line(["wait"]), ["wait", *arguments], env=setting_values | variables)
        finally:
            get_settings.cache_clear()

    return run


async def set_revision(connection: Any, revision: int) -> None:
    await connection.execute("UPDATE alembic_version SET version_num = $1", f"{revision:04}")


def test_a_database_that_is_ready_is_not_waited_for(run: Run) -> None:
    done = run()
    assert (done.exit_code, done.output) == (0, "PostgreSQL is ready.\n")


def test_a_database_that_does_not_answer_is_told_once_and_given_up(run: Run) -> None:
    done = run("--seconds", "0.5", DATABASE_URL=f"postgresql://app:hunter2@127.0.0.1:{free_port()}/x")
    assert done.exit_code == 1
    assert done.stdout.count("waiting for PostgreSQL, reachable: ConnectionRefusedError") == 1
    assert re.search(r"Gave up after 0.5 s: PostgreSQL, reachable: .+ correct DATABASE_URL", done.stderr)
    assert "hunter2" not in done.output


async def test_a_migration_ends_the_waiting_and_one_of_a_later_release_does_not(run: Run, superuser_connection: Any) -> None:
    await set_revision(superuser_connection, NEEDED + TOLERATED_AHEAD + 1)
    try:
        waiting = asyncio.create_task(asyncio.to_thread(run, "--seconds", "30"))
        await asyncio.sleep(0.5)
        await set_revision(superuser_connection, 0)
        await asyncio.sleep(0.5)
        assert not waiting.done()
    finally:
        await set_revision(superuser_connection, NEEDED)
    done = await waiting
    assert done.exit_code == 0
    told = [line for line in done.stdout.splitlines() if line.startswith("waiting")]
    assert told == [f"waiting for PostgreSQL, revision: {revision:04}" for revision in (NEEDED + TOLERATED_AHEAD + 1, 0)]
    assert done.stdout.endswith("PostgreSQL is ready.\n")
