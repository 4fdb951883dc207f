"""Builds to compare: what they are made from, and the servers that they share."""

import asyncio
import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Generator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from time import monotonic, sleep
from typing import Final

import httpx
import psutil

from app.local.servers import Program, Running, Server, ServerError, postgres, start, valkey, wait_until_ready
from app.local.servers.ports import free_port, free_ports
from app.local.servers.program import last_lines
from loadtests.gate.outcome import GateError
from loadtests.gate.people import Credentials

REPOSITORY: Final = Path(__file__).parents[2]
START_SECONDS: Final = 60
APPLICATION: Final = "app.main:create_app()"
CREDENTIALS: Final = Credentials("load@example.com", "a superuser of one comparison")
#: Set in the shell, they would lead a build to other servers.
OWN: Final = ("DATABASE_URL", "MIGRATION_DATABASE_URL", "REDIS_URL", "CELERY_BROKER_URL", "CACHE_URL", "PORT", "METRICS_PORT")


@dataclass(frozen=True, slots=True)
class Build:
    """A build of the service.

    Attributes:
        folder: The checkout it is.
        application: What gunicorn runs.
        environment: Variables of it alone.
    """

    folder: Path
    application: str = APPLICATION
    environment: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True)
class Serving:
    """A build that runs."""

    url: str
    pids: list[int]


@contextmanager
def checked_out(name: str) -> Generator[Build]:
    """Yield the build of a folder, or of a commit that is unpacked for the length of the block.

    Raises:
        GateError: if it is neither.
    """
    if (folder := Path(name)).is_dir() and (folder / "app" / "main.py").exists():
        yield Build(folder.resolve())
        return
    command = ("git", "archive", "--format=tar", name, "app", "migrations", "pyproject.toml")
    archive = subprocess.run(command, cwd=REPOSITORY, capture_output=True, check=False)
    if archive.returncode != 0:
        raise GateError(f"{name} is neither a checkout nor a commit: {archive.stderr.decode().strip()}")
    with tempfile.TemporaryDirectory(prefix="platform-base-") as unpacked, tarfile.open(fileobj=BytesIO(archive.stdout)) as tar:
        tar.extractall(unpacked, filter="data")
        yield Build(Path(unpacked))


@contextmanager
def shared_servers() -> Generator[dict[str, str]]:
    """Yield the environment of an empty, migrated PostgreSQL and a Valkey of our own, for the length of the block.

    The schema is this checkout's; the release before works on it, as migrations expand before they contract.

    Raises:
        GateError: if they do not start.
    """
    with tempfile.TemporaryDirectory(prefix="platform-pair-") as name, ExitStack() as running:
        folder = Path(name)
        folder.chmod(0o711)  # PostgreSQL's own account must get through
        secret, ports = os.urandom(16).hex(), free_ports(2)
        try:
            database = postgres.prepare(folder, ports[0], postgres.Passwords(superuser=secret, owner=secret, app=secret), durable=False)
            cache = valkey.prepare(folder, ports[1], secret, durable=False)
            asyncio.run(_start([database, cache], folder, running))
            asyncio.run(postgres.provision(database))
        except (ServerError, OSError) as error:
            raise GateError(f"The servers of the comparison did not start: {error}") from error
        environment = {
            "ENVIRONMENT": "local",
            "SECRET_KEY": secret * 2,
            "DATABASE_URL": database.url(),
            "MIGRATION_DATABASE_URL": database.url(postgres.OWNER),
            "REDIS_URL": cache.url(),
            "METRICS_PORT": "0",
            "WEB_CONCURRENCY": "1",
            "ACCESS_TOKEN_EXPIRE_MINUTES": "1440",
            "FIRST_SUPERUSER_EMAIL": CREDENTIALS.email,
            "FIRST_SUPERUSER_PASSWORD": CREDENTIALS.password,
        }
        _prepare(environment)
        yield environment


async def _start(servers: list[Server], folder: Path, running: ExitStack) -> None:
    for server in servers:
        started: Running = start(server.program, folder / f"{server.program.name}.log")
        running.callback(started.stop)
        await wait_until_ready(server, started)


def _clean(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in OWN} | dict(environment)


def _prepare(environment: Mapping[str, str]) -> None:
    """Migrate, and make the superuser."""
    command = (sys.executable, "-m", "app.local.prepare")
    done = subprocess.run(command, cwd=REPOSITORY, env=_clean(environment), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise GateError(f"The database of the comparison could not be prepared:\n{done.stdout}{done.stderr}")


@contextmanager
def serving(build: Build, environment: Mapping[str, str]) -> Generator[Serving]:
    """Yield a build's API process, for the length of the block.

    Raises:
        GateError: if it does not get ready, with the end of its log.
    """
    port = free_port()
    command = (sys.executable, "-m", "gunicorn", "--config", "python:app.core.gunicorn", build.application)
    own = {"PORT": str(port), "GRACEFUL_TIMEOUT": "1"}
    program = Program(name="api", argv=command, cwd=build.folder, env=_clean({**environment, **build.environment, **own}))
    with tempfile.TemporaryDirectory(prefix="platform-api-") as folder:
        running = start(program, Path(folder) / "api.log")
        try:
            url = f"http://127.0.0.1:{port}"
            _wait(url, running)
            yield Serving(url, [child.pid for child in psutil.Process(running.pid).children(recursive=True)])
        finally:
            running.stop()


def _wait(url: str, running: Running) -> None:
    ends = monotonic() + START_SECONDS
    with httpx.Client(base_url=url, trust_env=False) as client:
        while running.process.poll() is None and monotonic() < ends:
            try:
                if client.get("/health/ready").status_code == 200:  # noqa: PLR2004  # HTTP's own
                    return
            except httpx.TransportError:
                pass
            sleep(0.05)
    raise GateError(f"The build in {running.program.cwd} did not get ready:\n{last_lines(running.log)}")
