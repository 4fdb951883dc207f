"""The supervisor: starts everything in order, keeps it running, and stops it in the reverse order."""

import asyncio
import contextlib
import json
import os
import signal
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

from app.local import report
from app.local.console import Console
from app.local.errors import INVALID_SETTINGS, StackError
from app.local.part import Part
from app.local.place import Place, write_private
from app.local.plan import Plan, heartbeat, make_plan, python_program, service_programs
from app.local.probe import http_status
from app.local.processes import end_leftovers, record
from app.local.reload import changes
from app.local.servers import Program, ServerError, postgres, s3
from app.local.servers.program import kill_group

PROCESSES = "processes.json"
STACK = "stack.json"
SETTINGS = "settings.json"
LOG = "stack.log"
READY_STATUS = 200
BEAT_SECONDS = 1
STOP_STEPS = (("api", "worker-main", "worker-bulk", "beat"), ("mail", "s3", "valkey"), ("postgres",))


class Stack:
    """A running stack.

    Args:
        plan: what it consists of.
        console: where it says what happens.
    """

    def __init__(self, plan: Plan, console: Console) -> None:
        self.plan = plan
        self.console = console
        self.parts: dict[str, Part] = {}
        self.addresses: dict[str, object] = {}
        self.announced = False
        self._keepers: asyncio.TaskGroup | None = None

    async def run(self, stop: asyncio.Event, *, reload: bool) -> None:
        """Run everything until ``stop`` is set.

        Raises:
            StackError: when something does not come up.
        """
        began = time.monotonic()
        async with self._stopping_everything(), asyncio.TaskGroup() as keepers:
            self._keepers = keepers
            stopped = keepers.create_task(stop.wait())
            starting = keepers.create_task(self._start())
            await asyncio.wait({stopped, starting}, return_when=asyncio.FIRST_COMPLETED)
            if not stop.is_set():
                self.announced = True
                write_private(self.plan.place / SETTINGS, json.dumps(dict(self.plan.settings), indent=2) + "\n")
                self._write_down()
                self._announce(time.monotonic() - began, reload=reload)
                follower = keepers.create_task(self._reload_on_changes()) if reload else None
                await stop.wait()
                if follower:
                    follower.cancel()
            starting.cancel()
            self.console.say("stopping ...")
            await self._stop()

    @asynccontextmanager
    async def _stopping_everything(self) -> AsyncGenerator[None]:
        """Leave no process and no description of a stack, whatever happens inside."""
        try:
            yield
        finally:
            await self._stop()
            for part in self.parts.values():
                part.kill()
            for name in (STACK, SETTINGS, PROCESSES):
                (self.plan.place / name).unlink(missing_ok=True)
            if self.plan.s3:
                s3.remove_sockets(self.plan.s3)

    async def _start(self) -> None:
        for server in self.plan.servers:
            self._keep(server.program, server.answers)
        self.console.say(f"starting {', '.join(self.parts) or 'no embedded server'} ...")
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._start_service())
            if self.plan.s3:
                tasks.create_task(self._create_bucket(self.plan.s3))
            if "mail" in self.parts:
                tasks.create_task(self._ready("mail"))

    async def _start_service(self) -> None:
        await self._ready(*(name for name in ("postgres", "valkey") if name in self.parts))
        if self.plan.postgres:
            await postgres.provision(self.plan.postgres)
        await self._prepare()
        for program in service_programs(self.plan):
            await self._keep_service(program)
        self.console.say("starting the API, two workers and the scheduler ...")
        await self._ready("api", "worker-main", "worker-bulk", "beat")

    async def _create_bucket(self, store: s3.S3) -> None:
        await self._ready("s3")
        await s3.create_bucket(store, self.plan.settings["S3_BUCKET"], ["*"])

    async def _prepare(self) -> None:
        """Migrate and seed, in a process of its own that sees the code as it is now."""
        self.console.say("migrating the database ...")
        program = python_program(self.plan, "prepare", "app.local.prepare")
        process = await asyncio.create_subprocess_exec(
            *program.argv, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, **program.popen_arguments()
        )
        try:
            output, _ = await process.communicate()
        finally:
            if process.returncode is None:
                kill_group(process.pid)
        lines = output.decode(errors="replace").splitlines()
        if process.returncode == INVALID_SETTINGS:
            raise StackError("\n".join(lines), "Mend them in the environment or in .env.")
        if process.returncode != 0:
            self.console.lines("prepare", lines)
            raise StackError(
                f"The database could not be prepared:\n{self.console.last_lines('prepare')}",
                "If its data is of no use any more, start over with `make run RESET=1`.",
            )
        self.console.lines("prepare", lines[:-1])
        self.addresses = json.loads(lines[-1])

    async def _keep_service(self, program: Program) -> None:
        if program.name == "api":
            self._keep(program, self._api_answers, works_in_children=True)
        elif program.name == "beat":
            self._keep(program, _after(BEAT_SECONDS))
        else:
            file = heartbeat(self.plan, program.name)
            self._keep(program, _exists(file), prepare=lambda: file.unlink(missing_ok=True))

    def _keep(
        self,
        program: Program,
        answers: Callable[[], Awaitable[bool]],
        *,
        prepare: Callable[[], None] = lambda: None,
        works_in_children: bool = False,
    ) -> None:
        part = Part(
            program=program,
            console=self.console,
            answers=answers,
            changed=self._write_down,
            prepare=prepare,
            works_in_children=works_in_children,
        )
        self.parts[program.name] = part
        assert self._keepers is not None  # noqa: S101  # set by run()
        self._keepers.create_task(part.keep())

    async def _ready(self, *names: str) -> None:
        for name in names:
            await self.parts[name].ready.wait()

    async def _api_answers(self) -> bool:
        return await http_status(self.plan.api_host, self.plan.api_port, "/health/ready") == READY_STATUS

    def _announce(self, seconds: float, *, reload: bool) -> None:
        watching = " The service starts anew when its code changes." if reload else ""
        self.console.say(f"ready after {seconds:.1f} s")
        table = report.render(report.describe(self.plan, self.addresses, {}), colours=self.console.colours)
        self.console.print(f"\n{table}\nCtrl-C stops everything; data stays.{watching}\n\n")

    def _write_down(self) -> None:
        """Record every process, and describe the stack once it answers."""
        running = [(name, part.pid) for name, part in self.parts.items()]
        record(self.plan.place / PROCESSES, [(name, pid) for name, pid in running if pid is not None])
        if self.announced:
            description = report.describe(self.plan, self.addresses, self.parts)
            write_private(self.plan.place / STACK, json.dumps(description, indent=2) + "\n")

    async def _reload_on_changes(self) -> None:
        async for change in changes(self.console):
            if change.migrations:
                with contextlib.suppress(StackError):
                    await self._prepare()
            names = ", ".join(change.names)
            self.console.say(f"{names} changed; starting the service anew ...")
            await asyncio.gather(*(self.parts[name].restart() for name in ("api", "worker-main", "worker-bulk", "beat")))

    async def _stop(self) -> None:
        for step in STOP_STEPS:
            await asyncio.gather(*(self.parts[name].stop() for name in step if name in self.parts))


def _after(seconds: float) -> Callable[[], Awaitable[bool]]:
    async def answers() -> bool:
        await asyncio.sleep(seconds)
        return True

    return answers


def _exists(file: Path) -> Callable[[], Awaitable[bool]]:
    async def answers() -> bool:
        return os.path.exists(file)  # noqa: ASYNC240, PTH110  # a local file's existence takes microseconds

    return answers


async def run_stack(place: Place, environ: dict[str, str], console: Console, *, reload: bool) -> None:
    """Run the stack in ``place`` until a signal stops it; a second signal ends it at once.

    Raises:
        StackError: when it cannot start or go on.
    """
    if left := end_leftovers(place / PROCESSES):
        console.say(f"ended what a former run had left: {', '.join(left)}")
    (place / STACK).unlink(missing_ok=True)
    try:
        stack = Stack(make_plan(place, environ), console)
    except ServerError as error:
        raise StackError(str(error)) from error
    if stack.plan.postgres and stack.plan.postgres.files.moved:
        console.say(f"PostgreSQL's data is in {stack.plan.postgres.files.data}: its account cannot enter {place.folder}")
    stop = asyncio.Event()

    def on_signal() -> None:
        if stop.is_set():
            console.say("ending everything at once")
            for part in stack.parts.values():
                part.kill()
        stop.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if number == signal.SIGHUP and signal.getsignal(number) == signal.SIG_IGN:
            continue  # nohup
        loop.add_signal_handler(number, on_signal)
    try:
        await stack.run(stop, reload=reload)
        console.say(f"stopped; the data stays in {place.folder}")
    except* StackError as group:
        raise _first(cast("BaseExceptionGroup[BaseException]", group)) from None


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the first of the errors a group holds, however deep."""
    first = group.exceptions[0]
    if isinstance(first, BaseExceptionGroup):
        return _first(cast("BaseExceptionGroup[BaseException]", first))
    return first
