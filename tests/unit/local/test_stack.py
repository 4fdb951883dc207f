"""The supervisor: one stack, started for these tests, loses its parts one by one, is refused a twin, and stops without a trace."""

import asyncio
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest

from app.local.place import REPOSITORY
from app.local.processes import children

pytestmark = pytest.mark.timeout(240)

SERVERS = ("postgres", "valkey", "s3", "mail")
PROCESSES = ("worker-main", "worker-bulk", "beat")


class Stack:
    """A stack in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = os.environ | {"LOCAL_DIR": str(folder), "API_PORT": "0"}

    def command(self, *arguments: str) -> list[str]:
        """Return a command of the command line."""
        return [sys.executable, "-m", "app", *arguments]

    def call(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run a command to its end."""
        return subprocess.run(
            self.command(*arguments), cwd=REPOSITORY, env=self.environment, capture_output=True, text=True, timeout=180, check=False
        )

    def start(self, *arguments: str) -> None:
        """Start it in the background."""
        started = self.call("run", "--detach", *arguments)
        assert started.returncode == 0, started.stdout + started.stderr

    @property
    def description(self) -> dict[str, Any]:
        """What ``stack.json`` says."""
        return json.loads((self.folder / "stack.json").read_text())

    def pids(self, name: str) -> list[int]:
        """Return the processes of a part, as ``stack.json`` has them."""
        found: int | list[int] | None = self.description["pids"][name]
        return found if isinstance(found, list) else [found or 0]

    def is_described_by(self, supervisor: int) -> bool:
        """Tell whether ``stack.json`` is there and speaks of this supervisor."""
        try:
            return self.description["pids"]["supervisor"] == supervisor
        except FileNotFoundError:
            return False

    def all_pids(self) -> list[int]:
        """Return every process of the stack."""
        return descendants(self.description["pids"]["supervisor"])


def descendants(pid: int) -> list[int]:
    """Return a process and all that it brought about."""
    return [pid, *(one for child in children(pid) for one in descendants(child))]


def alive(pids: list[int]) -> list[int]:
    """Return those that still run."""
    return [pid for pid in pids if Path(f"/proc/{pid}/cmdline").exists() and Path(f"/proc/{pid}/cmdline").read_bytes()]


def eventually(holds: Callable[[], Any], seconds: float) -> float:
    """Wait until something holds, and return how long it took."""
    began = time.monotonic()
    while not holds():
        assert time.monotonic() - began < seconds
        time.sleep(0.05)  # other processes tell nobody
    return time.monotonic() - began


def query(url: str, statement: str, *values: object) -> Any:
    """Return what a statement answers."""

    async def ask() -> Any:
        connection = await asyncpg.connect(url)
        try:
            return await connection.fetchval(statement, *values)
        finally:
            await connection.close()

    return asyncio.run(ask())


def count_users(stack: Stack, email: str) -> int:
    """Return how many users have an address."""
    return query(stack.description["database_url"], "SELECT count(*) FROM users WHERE email = $1", email)


def api_answers(stack: Stack, seconds: float) -> None:
    """Wait until the API is ready."""
    url = stack.description["api_url"] + "/health/ready"

    def ready() -> bool:
        try:
            return httpx.get(url, timeout=2).status_code == 200
        except httpx.HTTPError:
            return False

    eventually(ready, seconds)


@contextmanager
def new_stack() -> Generator[Stack]:
    """Return a stack that was never started, in a folder that PostgreSQL's account can enter even if root runs the tests."""
    folder = Path(tempfile.mkdtemp(prefix="platform-stack-"))
    folder.chmod(0o711)
    stack = Stack(folder / "local")
    yield stack
    stack.call("stop")
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with new_stack() as stack:
        stack.start()
        yield stack


def test_a_started_stack_says_where_everything_is(stack: Stack) -> None:
    described = stack.description
    assert stat.S_IMODE((stack.folder / "stack.json").stat().st_mode) == 0o600
    assert set(described["pids"]) == {"supervisor", "api", *SERVERS, *PROCESSES}
    assert len(described["pids"]["api"]) == 2
    assert described["allowed_origins"] == ["http://localhost:3000"]
    assert httpx.get(described["api_url"]).json() == {"message": "API is running"}
    assert httpx.get(described["mail_url"]).status_code == 200
    assert httpx.get(described["mail_url"] + "/api/messages").json() == []
    assert httpx.get(described["metrics_url"]).status_code == 200


def test_the_first_superuser_can_sign_in(stack: Stack) -> None:
    superuser = stack.description["superuser"]
    form = {"username": superuser["email"], "password": superuser["password"]}
    signed_in = httpx.post(stack.description["api_url"] + "/api/v1/auth/login", data=form)
    assert signed_in.status_code == 200, signed_in.text


@pytest.mark.parametrize(("name", "owns"), [("database_url", False), ("migration_database_url", True)])
def test_the_two_database_urls_are_of_two_roles(stack: Stack, name: str, owns: bool) -> None:  # noqa: FBT001  # a parameter of the test
    assert query(stack.description[name], "SELECT has_schema_privilege('public', 'CREATE')") is owns


def test_a_registration_sends_a_mail_that_the_mailbox_shows(stack: Stack) -> None:
    described = stack.description
    user = {"email": "test@example.com", "password": "strongpassword", "is_active": True}
    created = httpx.post(described["api_url"] + "/api/v1/users/", json=user)
    assert (created.status_code, created.json()["email"]) == (201, "test@example.com")
    url = described["mail_url"] + "/api/messages?to=test@example.com"
    eventually(lambda: httpx.get(url).json(), 20)
    (mail,) = httpx.get(url).json()
    assert mail["to"] == ["test@example.com"]
    assert "Message-ID" in mail["headers"]


def test_a_second_run_in_the_same_folder_is_refused_and_harms_nothing(stack: Stack) -> None:
    before = stack.description
    for arguments in ((), ("--detach",), ("--reset",)):
        second = stack.call("run", *arguments)
        assert second.returncode == 1
        assert "is running in" in second.stderr
        assert "make stop" in second.stderr
    assert stack.description == before


def test_a_port_that_is_taken_is_named_with_what_to_do(stack: Stack) -> None:
    port = stack.description["api_url"].rpartition(":")[2]
    with new_stack() as second:
        second.environment["API_PORT"] = port
        refused = second.call("run")
    assert refused.returncode == 1
    assert f"Port {port}" in refused.stderr
    assert "make run API_PORT=" in refused.stderr


@pytest.mark.parametrize("name", [*SERVERS, *PROCESSES, "api"])
def test_a_part_that_is_killed_is_started_again(stack: Stack, name: str) -> None:
    before = stack.pids(name)
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    eventually(lambda: all(stack.pids(name)) and stack.pids(name) and not set(before) & set(stack.pids(name)), 10)
    api_answers(stack, 20)
    assert not alive(before)


def test_the_api_comes_back_when_the_process_above_its_workers_is_killed(stack: Stack) -> None:
    workers = stack.pids("api")
    above = int(Path(f"/proc/{workers[0]}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(above, signal.SIGKILL)
    eventually(lambda: len(stack.pids("api")) == 2 and not set(workers) & set(stack.pids("api")), 20)
    api_answers(stack, 20)
    assert not alive(workers)


def test_after_a_killed_supervisor_the_next_run_comes_up_with_all_data_and_ctrl_c_ends_every_process(stack: Stack) -> None:
    left = stack.all_pids()
    os.kill(stack.description["pids"]["supervisor"], signal.SIGKILL)
    process = subprocess.Popen(
        stack.command("run", "--no-reload"), cwd=REPOSITORY, env=stack.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    try:
        eventually(lambda: stack.is_described_by(process.pid), 120)
        assert not alive(left)
        assert count_users(stack, "test@example.com") == 1
        assert len(httpx.get(stack.description["mail_url"] + "/api/messages").json()) >= 1
        pids = stack.all_pids()
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 0, output.decode()
    assert not alive(pids)
    assert not (stack.folder / "stack.json").exists()
    assert b"Documentation" in output
    assert "No stack is running" in stack.call("stop").stdout


def test_reset_starts_over_and_stop_ends_every_process(stack: Stack) -> None:
    stack.start("--reset")
    assert count_users(stack, "test@example.com") == 0
    pids = stack.all_pids()
    assert stack.call("stop").returncode == 0
    assert not alive(pids)
    assert not (stack.folder / "stack.json").exists()


def test_a_folder_that_is_not_a_stacks_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    refused = Stack(tmp_path).call("run", "--reset")
    assert refused.returncode == 1
    assert "did not make" in refused.stderr
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_settings_that_contradict_each_other_are_all_named() -> None:
    with new_stack() as stack:
        stack.environment |= {"ALLOWED_ORIGINS": "*", "SMTP_USER": "x"}
        refused = stack.call("run")
    assert refused.returncode == 1
    assert "ALLOWED_ORIGINS" in refused.stderr
    assert "SMTP_USER" in refused.stderr
    assert "RESET" not in refused.stderr
