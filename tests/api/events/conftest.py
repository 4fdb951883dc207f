"""A Valkey that may be killed, the API on a real port in this process, and another in a process of its own."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, override
from uuid import uuid4

import httpx
import pytest
import websockets
from fastapi import FastAPI
from uvicorn.config import Config
from uvicorn.server import Server
from websockets.asyncio.client import ClientConnection

from app.core import streams
from app.core.config import Settings
from app.core.http.protocol import HttpProtocol
from app.core.http.websocket import WebSocketProtocol
from app.core.redis import connect
from app.core.resources import Resources
from app.local.servers import Program, Running, start, wait_until_ready
from app.local.servers import valkey as valkey_server
from app.local.servers.ports import free_port
from app.main import create_app
from app.services.events import Hub
from tests.api.conftest import Person

REPOSITORY = Path(__file__).parents[3]
AT = "2026-01-01T00:00:00.000000Z"
PATIENCE_SECONDS = 10.0
MAX_PER_USER = 8

type Frame = dict[str, Any]


async def until(condition: Callable[[], Any], seconds: float = PATIENCE_SECONDS) -> None:
    """Wait until a condition, asked often, is true."""
    async with asyncio.timeout(seconds):
        while True:
            found = condition()
            if asyncio.iscoroutine(found):
                found = await found
            if found:
                return
            await asyncio.sleep(0.01)


@dataclass
class LiveValkey:
    """The Valkey of these tests, which remembers nothing."""

    server: valkey_server.Valkey
    folder: Path
    running: Running

    @property
    def url(self) -> str:
        return self.server.url()

    def kill(self) -> None:
        self.running.kill()

    async def start(self) -> None:
        self.running = start(self.server.program, self.folder / "valkey.log")
        await wait_until_ready(self.server, self.running)

    @contextmanager
    def hanging(self) -> Generator[None]:
        """Let it take connections and answer nothing for the length of the block, unless it is killed there."""
        pid = self.running.pid
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            if self.running.pid == pid:
                os.kill(pid, signal.SIGCONT)


@pytest.fixture(scope="session")
async def live_valkey(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[LiveValkey]:
    folder = tmp_path_factory.mktemp("live-valkey")
    server = valkey_server.prepare(folder, free_port(), os.urandom(16).hex(), durable=False)
    running = start(server.program, folder / "valkey.log")
    made = LiveValkey(server, folder, running)
    try:
        await wait_until_ready(server, running)
        yield made
    finally:
        made.kill()


@pytest.fixture
async def redis(live_valkey: LiveValkey) -> AsyncGenerator[Any]:
    """A client of the events' Valkey, which is empty; untyped, as redis-py's annotations are."""
    client: Any = connect(live_valkey.url)
    await client.flushall()
    yield client
    await client.aclose()


@dataclass(frozen=True)
class Api:
    """A running API, seen from outside."""

    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/api/v1"

    def connect(
        self, person: Person | None = None, query: str = "", headers: dict[str, str] | None = None, **options: Any
    ) -> websockets.connect:
        """Open a socket, as a person with the access token in the header."""
        given = {**(person.headers if person else {}), **(headers or {})}
        url = f"ws://127.0.0.1:{self.port}/api/v1/ws{query}"
        return websockets.connect(url, additional_headers=given, proxy=None, compression=None, **options)

    async def refusal(self, person: Person | None = None, query: str = "", headers: dict[str, str] | None = None) -> tuple[int, Frame, Any]:
        """Return status, problem and headers of an upgrade that is refused."""
        try:
            async with self.connect(person, query, headers):
                raise AssertionError("the upgrade was not refused")
        except websockets.InvalidStatus as refused:
            response = refused.response
            assert response.headers["Content-Type"] == "application/problem+json"
            return response.status_code, json.loads(response.body or b""), response.headers

    async def ticket(self, person: Person) -> str:
        async with httpx.AsyncClient() as client:
            response = await client.post(f"{self.url}/ws/tickets", headers=person.headers)
            assert response.status_code == 201
            ticket: str = response.json()["ticket"]
            return ticket


@dataclass(frozen=True)
class LocalApi(Api):
    """The API in this process, on a real port."""

    app: FastAPI

    @property
    def resources(self) -> Resources:
        held: Resources = self.app.state.resources
        return held

    @property
    def hub(self) -> Hub:
        hub: Hub = self.app.state.hub
        return hub


class _QuietServer(Server):
    """uvicorn without its signal handlers: they are the tests' own."""

    @override
    @contextmanager
    def capture_signals(self) -> Generator[None]:
        yield


@asynccontextmanager
async def serve(app: FastAPI) -> AsyncGenerator[int]:
    """Serve an application as the worker does, and give its port."""
    listener = socket.create_server(("127.0.0.1", 0))
    config = Config(
        app,
        http=HttpProtocol,
        ws=WebSocketProtocol,
        interface="asgi3",
        lifespan="on",
        log_config=None,
        access_log=False,
        proxy_headers=False,
    )
    server = _QuietServer(config)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    await until(lambda: server.started or serving.done())
    try:
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        await serving


@pytest.fixture(scope="session")
def live_values(setting_values: dict[str, str], live_valkey: LiveValkey) -> dict[str, str]:
    return setting_values | {"REDIS_URL": live_valkey.url, "WEBSOCKET_MAX_PER_USER": str(MAX_PER_USER)}


@pytest.fixture(scope="session")
def live_settings(live_values: dict[str, str]) -> Settings:
    return Settings(_env_file=None, **live_values)  # pyright: ignore[reportCallIssue, reportArgumentType]  # strings, as the environment has them


@pytest.fixture(scope="session")
async def api(live_settings: Settings) -> AsyncGenerator[LocalApi]:
    """The API in this process."""
    app = create_app(live_settings)
    async with serve(app) as port:
        yield LocalApi(port, app)


@dataclass(frozen=True)
class ApiProcess(Api):
    """The API in a process of its own."""

    running: Running

    async def wait(self) -> None:
        """Wait until it answers."""

        async def answers() -> bool:
            assert self.running.process.poll() is None, self.running.log.read_text()
            try:
                async with httpx.AsyncClient() as client:
                    return (await client.get(f"http://127.0.0.1:{self.port}/health/live")).is_success
            except httpx.TransportError:
                return False

        await until(answers, 60)


def start_api(values: dict[str, str], folder: Path) -> ApiProcess:
    """Start gunicorn as it is started everywhere."""
    port = free_port()
    argv = (sys.executable, "-m", "gunicorn", "--config", "python:app.core.gunicorn", "app.main:create_app()")
    program = Program(name="api", argv=argv, cwd=REPOSITORY, env=os.environ | values | {"PORT": str(port)})
    return ApiProcess(port, start(program, folder / f"api-{port}.log"))


def stop_api(process: ApiProcess) -> None:
    process.running.process.terminate()
    try:
        process.running.process.wait(20)
    except subprocess.TimeoutExpired:
        process.running.kill()
        raise


@pytest.fixture(scope="session")
async def process(live_values: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[ApiProcess]:
    """The API in a process of its own; the last test that uses it may stop it."""
    started = start_api(live_values | {"DRAIN_SECONDS": "1"}, tmp_path_factory.mktemp("api"))
    try:
        await started.wait()
        yield started
    finally:
        stop_api(started)


async def publish(redis: Any, person: Person, *numbers: int, size: int = 0) -> None:
    """Publish events that carry a number each."""
    padding = "x" * size
    await streams.publish(
        redis, [streams.EventMessage(uuid4(), person.id, "item.created", AT, {"n": number, "padding": padding}) for number in numbers]
    )


async def receive(connection: ClientConnection, seconds: float = PATIENCE_SECONDS) -> Frame:
    """Return the next frame."""
    async with asyncio.timeout(seconds):
        frame: Frame = json.loads(await connection.recv())
        return frame


async def numbers(connection: ClientConnection, count: int) -> list[int]:
    """Return the numbers of the next events."""
    return [(await receive(connection))["data"]["n"] for _ in range(count)]


async def close_code(connection: ClientConnection, seconds: float = PATIENCE_SECONDS) -> int:
    """Read until the server closes, and return its code."""
    async with asyncio.timeout(seconds):
        await connection.wait_closed()
    assert connection.close_code is not None
    return connection.close_code


async def silent(connection: ClientConnection, seconds: float = 0.2) -> bool:
    """Say whether nothing arrives for a while."""
    try:
        async with asyncio.timeout(seconds):
            await connection.recv()
    except TimeoutError:
        return True
    return False
