"""The round trip that `helm test` makes, against a service in processes of its own."""

import asyncio
import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from app.__main__ import command_line
from app.cli import smoke
from app.cli.client import Answer, Client
from app.local.servers.ports import free_port
from tests.servers import REPOSITORY

PASSWORD = "correct horse battery staple"
GUNICORN = ("gunicorn", "--config", "python:app.core.gunicorn", "app.main:create_app()")

type Run = Callable[..., Any]


@pytest.fixture(scope="module")
def service(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Generator[str]:
    """The API in processes of its own."""
    port = free_port()
    log = tmp_path_factory.mktemp("service") / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", *GUNICORN], cwd=REPOSITORY, env=environment | {"PORT": str(port)}, stdout=output, stderr=output
        )
    url = f"http://127.0.0.1:{port}"
    with httpx.Client(transport=httpx.HTTPTransport(retries=8)) as client:
        assert client.get(f"{url}/health/startup", timeout=30).is_success, log.read_text()
    yield url
    process.terminate()
    process.wait()


@pytest.fixture
def relay(environment: dict[str, str]) -> Generator[None]:
    """What carries events, without its worker."""
    process = subprocess.Popen([sys.executable, "-m", "app.tasks.relay", "--parent", str(os.getpid())], cwd=REPOSITORY, env=environment)
    yield
    process.terminate()
    process.wait()


@pytest.fixture
def run(service: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, empty_tables: None, valkey: object) -> Run:
    """Make the round trip."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str, url: str = service, **variables: str) -> Any:
        return CliRunner().invoke(command_line(["smoke"]), ["smoke", url, *arguments], env=variables)

    return run


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for an event only for a moment."""
    monkeypatch.setattr(smoke, "EVENT_SECONDS", 0.2)


@pytest.fixture
def account(service: str, empty_tables: None) -> dict[str, str]:
    """An account that is there already."""
    made = {"email": "smoke@example.com", "password": PASSWORD}
    httpx.post(f"{service}/api/v1/users/", json=made).raise_for_status()
    return {"SMOKE_EMAIL": made["email"], "SMOKE_PASSWORD": made["password"]}


def steps_of(output: str) -> list[str]:
    """The steps that went well."""
    return [" ".join(line.split()[1:-2]) for line in output.splitlines() if line.startswith("ok ")]


async def count(connection: Any, table: str, condition: str = "true") -> int:
    return await connection.fetchval(f"SELECT count(*) FROM {table} WHERE {condition}")


async def test_a_round_trip_makes_an_account_and_deletes_it_again(run: Run, relay: None, superuser_connection: Any) -> None:
    done = await asyncio.to_thread(run, "--email-domain", "simulator.example.com")
    assert done.exit_code == 0, done.output
    item = ["create item", "repeat request", "read item", "find item", "receive event", "delete item"]
    assert steps_of(done.output) == ["ready", "register", "login", "open socket", *item, "refresh", "logout", "delete account"]
    assert "works: all steps in" in done.output
    assert await count(superuser_connection, "users", "deleted_at IS NULL") == 0
    assert await count(superuser_connection, "users", "email LIKE 'smoke-%@simulator.example.com'") == 1


async def test_an_account_that_is_given_is_used_and_stays_as_it_was(
    run: Run, relay: None, account: dict[str, str], superuser_connection: Any
) -> None:
    done = await asyncio.to_thread(run, **account)
    assert done.exit_code == 0, done.output
    assert "register" not in steps_of(done.output)
    assert steps_of(done.output)[-1] == "logout"
    assert await count(superuser_connection, "users", "deleted_at IS NULL") == 1
    assert await count(superuser_connection, "items") == 0


async def test_a_new_account_is_deleted_also_after_a_failure(run: Run, impatient: None, superuser_connection: Any) -> None:
    done = await asyncio.to_thread(run)
    assert done.exit_code == 1
    assert "FAILED receive event: no event within 0.2 s: no worker runs" in done.output
    assert steps_of(done.output)[-1] == "delete account"
    assert "does not work as it should" in done.output
    assert await count(superuser_connection, "users", "deleted_at IS NULL") == 0


async def test_an_account_that_is_given_keeps_no_item_after_a_failure(
    run: Run, impatient: None, account: dict[str, str], superuser_connection: Any
) -> None:
    done = await asyncio.to_thread(run, **account)
    assert done.exit_code == 1
    assert steps_of(done.output)[-1] == "delete leftovers"
    assert await count(superuser_connection, "items") == 0


def test_what_fails_is_named_with_status_detail_and_request(run: Run, account: dict[str, str]) -> None:
    done = run(**account | {"SMOKE_PASSWORD": "another"})
    assert done.exit_code == 1
    assert re.search(r"FAILED login: POST /api/v1/auth/login answered 40\d instead of 200: .+ \(request id [\w-]+\)", done.output)
    assert "another" not in done.output


def test_faults_of_single_fields_are_named(run: Run) -> None:
    done = run("--email-domain", "no domain")
    assert "FAILED register: POST /api/v1/users/ answered 422 instead of 201:" in done.output
    assert "/email " in done.output


def test_another_host_may_be_asked_for(run: Run, impatient: None) -> None:
    done = run("--host", "localhost", "--api", "/api/v1")
    assert "find item" in steps_of(done.output)
    done = run("--host", "stranger.example.com")
    assert "FAILED register: POST /api/v1/users/ answered 400" in done.output


def test_a_service_that_is_not_there_is_told(run: Run) -> None:
    done = run(url=f"http://127.0.0.1:{free_port()}")
    assert done.exit_code == 1
    assert "FAILED ready: GET /health/ready: ClientConnectorError" in done.output


def test_half_of_an_account_is_refused(run: Run) -> None:
    assert run(SMOKE_EMAIL="a@example.com").exit_code == 2


@pytest.mark.parametrize(
    ("path", "answer", "told"),
    [
        ("/auth/login", {}, "FAILED login: an answer of another shape (KeyError: 'access_token')"),
        ("/items/", {"id": -1}, "FAILED repeat request: a repeated POST made item"),
        ("/items/?", [], "FAILED find item: the list has 0 items instead of item"),
    ],
)
async def test_answers_that_are_wrong_are_told(run: Run, monkeypatch: pytest.MonkeyPatch, path: str, answer: Any, told: str) -> None:
    ask, asked = Client.ask, Counter[str]()

    async def lie(self: Client, method: str, asked_for: str, **options: Any) -> Answer:
        """Answer truly, but for the last of its kind that comes before the clean-up."""
        true = await ask(self, method, asked_for, **options)
        key = asked_for.removeprefix("/api/v1") + ("?" if options.get("params") else "")
        asked[key] += 1
        lies = key == path and asked[key] == (2 if path == "/items/" else 1)
        return Answer(true.headers, json.dumps(answer).encode()) if lies else true

    monkeypatch.setattr(Client, "ask", lie)
    done = await asyncio.to_thread(run)
    assert done.exit_code == 1
    assert told in done.output
    assert steps_of(done.output)[-1] == "delete account"


async def test_a_socket_that_is_refused_or_closed_is_told(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = Client.open_socket

    async def late(self: Client, path: str, params: dict[str, str]) -> Any:
        socket = await opened(self, path, params)
        await socket.close()
        return socket

    monkeypatch.setattr(Client, "open_socket", late)
    assert "FAILED receive event: the socket was closed with 1000" in (await asyncio.to_thread(run)).output

    async def used(self: Client, path: str, params: dict[str, str]) -> Any:
        return await opened(self, path, {"ticket": "used"})

    monkeypatch.setattr(Client, "open_socket", used)
    output = (await asyncio.to_thread(run)).output
    assert "FAILED open socket: WebSocket /api/v1/ws: refused with 401" in output
    assert "ticket=" not in output


async def test_an_answer_that_does_not_come_or_is_no_problem_is_told(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 4\r\n\r\noops" if answering else b"")
        await writer.drain()
        await reader.read()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    monkeypatch.setattr("app.cli.client.TIMEOUT_SECONDS", 0.2)
    async with server:
        answering = False
        assert "FAILED ready: GET /health/ready: no answer within 0.2 s" in (await asyncio.to_thread(run, url=url)).output
        answering = True
        assert "answered 502 instead of 200: oops" in (await asyncio.to_thread(run, url=url)).output
