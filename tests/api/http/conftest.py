"""The API behind its real server: uvicorn with our protocol in the test's process, and gunicorn in processes of its own."""

import asyncio
import inspect
import socket
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, override

import httpx
import pytest
from fastapi import FastAPI
from uvicorn.config import Config
from uvicorn.server import Server

from app.core.http.server import Worker
from app.local.servers.ports import free_port
from tests.servers import REPOSITORY

#: Enough where the processors are busy with other tests.
PATIENCE_SECONDS = 60


COMMAND = (sys.executable, "-m", "gunicorn", "--config", "python:app.core.gunicorn", "app.main:create_app()")


@dataclass(frozen=True, slots=True)
class Answer:
    """A response as it came over the wire."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """The body's value."""
        return httpx.Response(200, content=self.body).json()


async def until(condition: Callable[[], Any]) -> Any:
    """Return what ``condition`` returns, or what it awaits, once it is true."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            found = condition()
            if inspect.isawaitable(found):
                found = await found
            if found:
                return found
            await asyncio.sleep(0.02)


async def read_answer(reader: asyncio.StreamReader) -> Answer:
    """Read a response with a known length."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
    return Answer(int(head[0].split(" ")[1]), headers, await reader.readexactly(int(headers.get("content-length", "0"))))


class Wire:
    """A connection that says exactly what it is told."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def say(self, data: bytes) -> None:
        """Send bytes."""
        self._writer.write(data)
        await self._writer.drain()

    async def answer(self) -> Answer:
        """Read the next response."""
        return await read_answer(self._reader)

    async def rest(self) -> bytes:
        """Read until the server ends the connection."""
        return await self._reader.read()

    async def ask(self, data: bytes) -> Answer:
        """Send bytes and read a response."""
        await self.say(data)
        return await self.answer()


@dataclass(frozen=True, slots=True)
class Service:
    """A server that answers."""

    port: int
    url: str

    @asynccontextmanager
    async def connect(self) -> AsyncGenerator[Wire]:
        """Open a connection."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            yield Wire(reader, writer)
        finally:
            writer.close()


class QuietServer(Server):
    """uvicorn's server, which leaves the signals of the test's process alone."""

    @override
    @contextmanager
    def capture_signals(self) -> Generator[None]:
        """Capture none."""
        yield


@pytest.fixture
async def service(app: FastAPI, database: object, valkey: object) -> AsyncGenerator[Service]:
    """The application behind uvicorn in this process."""
    listening = socket.create_server(("127.0.0.1", 0))
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # as gunicorn does; every second write would wait for 40 ms
    config = Config(app, **{**Worker.CONFIG_KWARGS, "lifespan": "off", "loop": "none", "timeout_graceful_shutdown": 1})  # type: ignore[arg-type]  # options of several types in one dict
    server = QuietServer(config)
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    port = listening.getsockname()[1]
    await until(lambda: server.started)
    yield Service(port, f"http://127.0.0.1:{port}")
    server.should_exit = True
    await serving


@dataclass(slots=True)
class Gunicorn:
    """A gunicorn with its workers."""

    process: Process
    service: Service
    log: Path

    async def ended(self) -> int:
        """Wait for the master's end and return its exit code."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await self.process.wait()


type StartGunicorn = Callable[..., Any]


@pytest.fixture
async def start_gunicorn(environment: dict[str, str], database: object, valkey: object, tmp_path: Path) -> AsyncGenerator[StartGunicorn]:
    """Start gunicorn as production does; what is still there at the end is killed."""
    started: list[Process] = []

    async def start(**settings: str) -> Gunicorn:
        port = free_port()
        log = tmp_path / f"gunicorn-{port}.log"
        given = environment | {"PORT": str(port)} | settings
        with log.open("wb") as output:
            process = await asyncio.create_subprocess_exec(*COMMAND, cwd=REPOSITORY, env=given, stdout=output, stderr=output)
        started.append(process)
        gunicorn = Gunicorn(process, Service(port, f"http://127.0.0.1:{port}"), log)
        async with httpx.AsyncClient(base_url=gunicorn.service.url) as client:
            await until(lambda: _answers(gunicorn, client))
        return gunicorn

    yield start
    for process in started:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def _answers(gunicorn: Gunicorn, client: httpx.AsyncClient) -> bool:
    if gunicorn.process.returncode is not None:
        raise RuntimeError(gunicorn.log.read_text())
    try:
        return (await client.get("/health/ready")).is_success
    except httpx.TransportError:
        return False
