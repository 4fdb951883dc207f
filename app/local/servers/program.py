"""Programs the local stack runs: how each is started, watched until it answers, and ended without a trace."""

import asyncio
import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from app.local.servers.account import Account, Identity, identity

if TYPE_CHECKING:
    from app.local.servers.server import Server

PR_SET_PDEATHSIG = 1
LAST_LINES = 15


class ServerError(Exception):
    """An embedded server cannot do its work. The message says why and what to do."""


class PopenArguments(Identity):
    """How a program is started, in the terms of ``subprocess``."""

    cwd: Path
    env: Mapping[str, str] | None
    stdin: int
    start_new_session: bool
    preexec_fn: Callable[[], None] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """How one program is started, and how it is asked to stop."""

    name: str
    argv: tuple[str, ...]
    cwd: Path
    env: Mapping[str, str] | None = None
    account: Account | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    stop_seconds: float = 10

    def popen_arguments(self) -> PopenArguments:
        """Return the keyword arguments that ``subprocess`` and ``asyncio`` need to start it in a session of its own.

        The session keeps a terminal's Ctrl-C from reaching it before its turn.
        """
        return {
            "cwd": self.cwd,
            "env": self.env,
            "stdin": subprocess.DEVNULL,
            "start_new_session": True,
            "preexec_fn": _end_with_parent(self.stop_signal),
            **identity(self.account),
        }


def _end_with_parent(stop_signal: signal.Signals) -> Callable[[], None] | None:
    """Return what a child does before it runs its program, so that it is stopped when its parent dies (Linux only)."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl

    def arrange() -> None:
        prctl(PR_SET_PDEATHSIG, int(stop_signal))

    return arrange


@dataclass(frozen=True, slots=True)
class Running:
    """A program that was started."""

    program: Program
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid

    def stop(self) -> None:
        """Ask it to stop; after ``stop_seconds`` end it and everything it started."""
        if self.process.poll() is None:
            self.process.send_signal(self.program.stop_signal)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(self.program.stop_seconds)
        self.kill()

    def kill(self) -> None:
        """End it and everything it started, at once."""
        kill_group(self.pid)
        self.process.wait()


def kill_group(pid: int) -> None:
    """End every process of the session that ``pid`` leads."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def start(program: Program, log: Path) -> Running:
    """Start ``program`` with its output going to the file ``log``."""
    with log.open("ab") as output:
        process = subprocess.Popen(program.argv, stdout=output, stderr=subprocess.STDOUT, **program.popen_arguments())
    return Running(program, process, log)


def last_lines(log: Path, count: int = LAST_LINES) -> str:
    """Return the end of a log file."""
    return "\n".join(log.read_text(errors="replace").splitlines()[-count:])


async def wait_until_ready(server: "Server", running: Running, seconds: float = 30) -> None:
    """Wait until ``server`` answers.

    Raises:
        ServerError: when it ended instead or did not answer in time, with the last lines of its log.
    """
    deadline = time.monotonic() + seconds
    while not await server.answers():
        status = running.process.poll()
        if status is not None:
            raise ServerError(f"{server.program.name} ended with status {status}:\n{last_lines(running.log)}")
        if time.monotonic() > deadline:
            raise ServerError(f"{server.program.name} did not answer within {seconds:.0f} s:\n{last_lines(running.log)}")
        await asyncio.sleep(0.02)
