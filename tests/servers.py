"""The suite's own PostgreSQL and S3 store: one process starts them, migrates a template database, and ends them.

``python -m tests.servers FOLDER`` runs until its standard input closes, so that nothing outlives the run, however it ends.
"""

import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from app.local.servers import Running, postgres, s3, start, wait_until_ready
from app.local.servers.ports import free_ports

REPOSITORY = Path(__file__).parents[1]
ADDRESS = "address.json"
FAILURE = "failure.txt"
START_SECONDS = 60


@dataclass(frozen=True, slots=True)
class SuiteServers:
    """Where the servers of this run are."""

    folder: Path
    postgres: postgres.Postgres
    s3: s3.S3


class Address(TypedDict):
    """What a worker must know to find the servers."""

    ports: list[int]
    secret: str


@dataclass(frozen=True, slots=True)
class Host:
    """The process that holds the servers."""

    folder: Path
    process: subprocess.Popen[bytes]

    def stop(self) -> None:
        """End the servers and delete their data."""
        self.process.communicate()


def host_servers() -> Host:
    """Start the servers in a process of their own; they may not answer yet."""
    folder = Path(tempfile.mkdtemp(prefix="platform-tests-"))
    folder.chmod(0o711)  # PostgreSQL's account must be able to enter
    process = subprocess.Popen([sys.executable, "-m", "tests.servers", str(folder)], cwd=REPOSITORY, stdin=subprocess.PIPE)
    return Host(folder, process)


def wait_for_servers(folder: Path) -> SuiteServers:
    """Return the servers in ``folder`` once they answer and the template database is migrated."""
    deadline = time.monotonic() + START_SECONDS
    while not (folder / ADDRESS).exists():
        if (folder / FAILURE).exists():
            raise RuntimeError((folder / FAILURE).read_text())
        if time.monotonic() > deadline:
            raise RuntimeError(f"The servers in {folder} did not answer within {START_SECONDS} s.")
        time.sleep(0.02)
    address: Address = json.loads((folder / ADDRESS).read_text())
    return _prepare(folder, address["ports"], address["secret"])


def _prepare(folder: Path, ports: list[int], secret: str) -> SuiteServers:
    passwords = postgres.Passwords(superuser=secret, owner=secret, app=secret)
    return SuiteServers(folder, postgres.prepare(folder, ports[0], passwords, durable=False), s3.prepare(folder, ports[1:], secret))


async def _make_ready(servers: SuiteServers, running: list[Running]) -> None:
    async def prepare_template() -> None:
        await wait_until_ready(servers.postgres, running[0])
        await postgres.provision(servers.postgres)
        await _migrate(servers.postgres.url(postgres.OWNER))

    await asyncio.gather(prepare_template(), wait_until_ready(servers.s3, running[1]))


async def _migrate(url: str) -> None:
    """Bring the template to the newest schema as a release does."""
    environment = os.environ | {"DATABASE_URL": url, "MIGRATION_DATABASE_URL": url, "ENVIRONMENT": "test"}
    command = (sys.executable, "-m", "alembic", "upgrade", "head")
    migration = await asyncio.create_subprocess_exec(
        *command, cwd=REPOSITORY, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output, _ = await migration.communicate()
    if migration.returncode != 0:
        raise RuntimeError(f"alembic upgrade head failed:\n{output.decode()}")


def main() -> None:
    """Hold the servers until standard input closes."""
    folder = Path(sys.argv[1])
    running: list[Running] = []
    servers: SuiteServers | None = None
    try:
        address: Address = {"ports": free_ports(1 + s3.PORTS), "secret": os.urandom(16).hex()}
        servers = _prepare(folder, address["ports"], address["secret"])
        running = [start(server.program, folder / f"{server.program.name}.log") for server in (servers.postgres, servers.s3)]
        asyncio.run(_make_ready(servers, running))
        (folder / "address.partial").write_text(json.dumps(address))
        (folder / "address.partial").rename(folder / ADDRESS)
    except Exception as error:  # noqa: BLE001  # the workers show it
        (folder / "failure.partial").write_text(f"{type(error).__name__}: {error}")
        (folder / "failure.partial").rename(folder / FAILURE)
    sys.stdin.buffer.read()
    for server in running:
        server.kill()
    if servers is not None:
        s3.remove_sockets(servers.s3)
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
