"""One part of the stack: started, followed, and started again whenever it ends unasked."""

import asyncio
import os
import subprocess
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from app.local.console import Console
from app.local.errors import StackError
from app.local.processes import children
from app.local.servers.program import Program, ServerError, kill_group

START_SECONDS = 60
FIRST_DELAY_SECONDS = 0.1
LONGEST_DELAY_SECONDS = 10
MOST_EARLY_ENDS = 3
POLL_SECONDS = 0.05
#: How long the output of a part that ended is followed; something it left behind may keep it open.
LAST_WORDS_SECONDS = 1
CHUNK_BYTES = 64 * 1024

#: Threads that wait for a process to end, one each.
_waiters = ThreadPoolExecutor(max_workers=32, thread_name_prefix="waiter")


@dataclass(slots=True, kw_only=True, eq=False)
class Part:
    """A program that is kept running.

    Args:
        program: how it is started and stopped.
        answers: tells whether it does its work now.
        prepare: called before every start.
        works_in_children: whether its children, not itself, do the work.
        changed: called whenever its process ids changed.
    """

    program: Program
    console: Console
    answers: Callable[[], Awaitable[bool]]
    changed: Callable[[], None]
    prepare: Callable[[], None] = lambda: None
    works_in_children: bool = False
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    _process: subprocess.Popen[bytes] | None = None
    _stopping: bool = False
    _restarting: bool = False
    _children: list[int] = field(default_factory=list[int])

    @property
    def name(self) -> str:
        """Its name."""
        return self.program.name

    @property
    def pid(self) -> int | None:
        """Its process id, while it runs."""
        return self._process.pid if self._process and self._process.poll() is None else None

    @property
    def working_pids(self) -> list[int]:
        """The processes that do its work."""
        if self.works_in_children:
            return self._children
        return [] if self.pid is None else [self.pid]

    async def keep(self) -> None:
        """Run it until it is stopped.

        Raises:
            StackError: when it never came up.
        """
        early_ends, was_ready = 0, False
        while not self._stopping:
            status, became_ready = await self._live()
            was_ready = was_ready or became_ready
            early_ends = 0 if became_ready or self._restarting else early_ends + 1
            if self._stopping:
                return
            if early_ends >= MOST_EARLY_ENDS and not was_ready:
                raise StackError(f"{self.name} does not start (status {status}). It said:\n{self.console.last_lines(self.name)}")
            if not self._restarting:
                delay = min(FIRST_DELAY_SECONDS * 2**early_ends, LONGEST_DELAY_SECONDS)
                self.console.say(f"{self.name} ended with status {status}; starting it again in {delay:.1f} s")
                await asyncio.sleep(delay)
            self._restarting = False

    async def restart(self) -> None:
        """Let it start anew, as its code changed."""
        self._restarting = True
        await self._end()

    async def stop(self) -> None:
        """End it for good."""
        self._stopping = True
        await self._end()

    def kill(self) -> None:
        """End it at once."""
        self._stopping = True
        if self._process is not None:
            kill_group(self._process.pid)

    async def _live(self) -> tuple[int, bool]:
        """Run it once, and return its exit status and whether it came to answer."""
        self.prepare()
        process, output = self._spawn()
        self._process = process
        self.changed()
        async with asyncio.TaskGroup() as tasks:
            following, watching = tasks.create_task(self._follow(output)), tasks.create_task(self._watch(process))
            status = await asyncio.get_running_loop().run_in_executor(_waiters, process.wait)
            kill_group(process.pid)  # what it started must not hold its port or its files
            became_ready = self.ready.is_set()
            self.ready.clear()
            self._children = []
            watching.cancel()
            await asyncio.wait({following}, timeout=LAST_WORDS_SECONDS)
            following.cancel()
        return status, became_ready

    def _spawn(self) -> tuple[subprocess.Popen[bytes], int]:
        reading, writing = os.pipe()
        try:
            process = subprocess.Popen(self.program.argv, stdout=writing, stderr=writing, **self.program.popen_arguments())
        except OSError as error:
            os.close(reading)
            raise StackError(f"{self.name} cannot be started: {error}") from error
        finally:
            os.close(writing)
        return process, reading

    async def _follow(self, output: int) -> None:
        """Pass on what it says, as many lines at a time as there are."""
        reader = asyncio.StreamReader()
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(output, "rb")
        )
        rest = b""
        try:
            while chunk := await reader.read(CHUNK_BYTES):
                *lines, rest = (rest + chunk).split(b"\n")
                if lines:
                    self.console.lines(self.name, [line.decode(errors="replace") for line in lines])
            if rest:
                self.console.lines(self.name, [rest.decode(errors="replace")])
        finally:
            transport.close()

    async def _watch(self, process: subprocess.Popen[bytes]) -> None:
        """Notice when it answers, end it when it never does, and keep an eye on who does its work."""
        deadline = time.monotonic() + START_SECONDS
        while not await self._answers():
            if time.monotonic() > deadline:
                self.console.say(f"{self.name} does not answer after {START_SECONDS} s; ending it")
                kill_group(process.pid)
                return
            await asyncio.sleep(POLL_SECONDS)
        self._look_at_children(process.pid)
        self.ready.set()
        self.changed()
        self.console.say(f"{self.name} answers")
        while self.works_in_children:
            await asyncio.sleep(POLL_SECONDS * 5)
            if self._look_at_children(process.pid):
                self.changed()

    async def _answers(self) -> bool:
        try:
            return await self.answers()
        except ServerError as error:
            raise StackError(str(error)) from error

    def _look_at_children(self, pid: int) -> bool:
        found = children(pid) if self.works_in_children else []
        changed = found != self._children
        self._children = found
        return changed

    async def _end(self) -> None:
        process = self._process
        if process is None or process.poll() is not None:
            return
        process.send_signal(self.program.stop_signal)
        ended = asyncio.get_running_loop().run_in_executor(_waiters, process.wait)
        _, still_running = await asyncio.wait({ended}, timeout=self.program.stop_seconds)
        if still_running:
            kill_group(process.pid)
            await ended
