"""The servers of a run: those of ``make run``, in a folder and on ports of their own, started one by one."""

import asyncio
import os
import subprocess
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import asyncpg

from app.core.config import Settings
from app.local.place import open_place
from app.local.plan import BUCKET, Plan, heartbeat, make_plan, python_program, service_programs
from app.local.probe import http_status
from app.local.servers import Program, Running, Server, postgres, s3, start, wait_until_ready
from app.local.servers.ports import LOOPBACK, free_port
from app.local.servers.program import last_lines
from loadtests.bench.errors import BenchError

START_SECONDS: Final = 60
READY_STATUS: Final = 200
#: Longer than any run.
LIFE_MINUTES: Final = "1440"


@dataclass(slots=True)
class Stack:
    """Servers that run, and how to start more."""

    plan: Plan
    folder: Path
    running: dict[str, Running] = field(default_factory=dict[str, Running])

    @property
    def settings(self) -> Settings:
        """The settings of the service, with tokens that outlast the run."""
        values = dict(self.plan.settings) | {"ACCESS_TOKEN_EXPIRE_MINUTES": LIFE_MINUTES}
        return Settings(_env_file=None, **values)  # type: ignore[arg-type]  # pyright: ignore[reportCallIssue, reportArgumentType]  # strings, as the environment has them

    def pid(self, name: str) -> int:
        """Return the process id of a server."""
        return self.running[name].pid

    async def connect(self) -> "asyncpg.Connection[asyncpg.Record]":
        """Open a connection as the owner of the schema."""
        return await asyncpg.connect(self.plan.settings["MIGRATION_DATABASE_URL"])

    async def start(self, program: Program, ready: Callable[[], Awaitable[bool]]) -> None:
        """Start a program and wait until it is ready.

        Raises:
            BenchError: if it ends instead, or takes longer than ``START_SECONDS``, with the end of its log.
        """
        running = self.running[program.name] = start(program, self.folder / f"{program.name}.log")
        try:
            async with asyncio.timeout(START_SECONDS):
                while not await ready():
                    if running.process.poll() is not None:
                        raise BenchError(f"{program.name} ended with status {running.process.poll()}:\n{last_lines(running.log)}")
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise BenchError(f"{program.name} was not ready within {START_SECONDS} s:\n{last_lines(running.log)}") from None

    async def start_service(self, name: str, *arguments: str, prefix: tuple[str, ...] = ()) -> None:
        """Start a part of the service as ``make run`` does: ``api``, ``worker-main``, ``worker-bulk``.

        Args:
            name: The part.
            arguments: Further arguments of its command.
            prefix: What its command is run by.
        """
        program = next(program for program in service_programs(self.plan) if program.name == name)
        await self.start(replace(program, argv=(*prefix, *program.argv, *arguments)), self._readiness(name))

    def _readiness(self, name: str) -> Callable[[], Awaitable[bool]]:
        async def api_answers() -> bool:
            return await answers(self.plan.api_port, "/health/ready")

        async def worker_turns() -> bool:
            return heartbeat(self.plan, name).exists()

        return api_answers if name == "api" else worker_turns

    def stop(self, name: str) -> None:
        """Stop a server."""
        self.running.pop(name).stop()


async def answers(port: int, path: str) -> bool:
    """Tell whether a server of this machine answers a request with 200."""
    return await http_status(LOOPBACK, port, path) == READY_STATUS


@asynccontextmanager
async def stack(folder: Path, *, store: bool = False) -> AsyncGenerator[Stack]:
    """Run PostgreSQL, migrated, and Valkey; end with the block all that was started in it.

    Args:
        folder: Where they keep their data.
        store: Whether to run the S3 store, too.

    Raises:
        BenchError: if a setting leads to servers of the user's own, or something does not start.
        ServerError: if a server cannot run on this machine.
    """
    os.chmod(folder, 0o711)  # noqa: PTH101, S103  # PostgreSQL's account must be able to enter
    for name in Settings.model_fields:  # what a developer has in the shell must not decide what is measured
        os.environ.pop(name, None)
        os.environ.pop(f"{name}_FILE", None)
    plan = make_plan(open_place(str(folder / "stack")), os.environ | {"API_PORT": str(free_port()), "WEB_CONCURRENCY": "1"})
    if plan.postgres is None or plan.valkey is None or plan.s3 is None:
        raise BenchError("The benchmark measures servers of its own: take DATABASE_URL, REDIS_URL and S3_ENDPOINT_URL out of .env.")
    made = Stack(plan, folder)
    try:
        servers: list[Server] = [plan.postgres, plan.valkey, *([plan.s3] if store else [])]
        for server in servers:
            running = made.running[server.program.name] = start(server.program, folder / f"{server.program.name}.log")
            await wait_until_ready(server, running)
        await postgres.provision(plan.postgres)
        if store:
            await s3.create_bucket(plan.s3, plan.settings.get("S3_BUCKET", BUCKET), [])
        await asyncio.to_thread(_migrate, plan)
        yield made
    finally:
        for name in reversed([*made.running]):
            made.stop(name)
        s3.remove_sockets(plan.s3)


def _migrate(plan: Plan) -> None:
    program = python_program(plan, "prepare", "app.local.prepare")
    done = subprocess.run(program.argv, cwd=program.cwd, env=program.env, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BenchError(f"The database could not be prepared:\n{done.stdout}{done.stderr}")
