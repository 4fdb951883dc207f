"""The local stack as the victim: started with ``make run``'s own command, in a folder and on a port of its own."""

import asyncio
import json
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from app.local.servers.ports import free_port

REPOSITORY = Path(__file__).parents[2]
START_SECONDS = 120


@dataclass(frozen=True, slots=True)
class Stack:
    """A running stack."""

    folder: Path
    environment: dict[str, str]

    @property
    def description(self) -> dict[str, Any]:
        """What ``stack.json`` says now; it is written anew after every restart of a part."""
        found: dict[str, Any] = json.loads((self.folder / "stack.json").read_text())
        return found

    @property
    def url(self) -> str:
        """Where the API is."""
        return f"http://127.0.0.1:{self.environment['API_PORT']}"

    def kill(self, part: str, choice: float) -> bool:
        """Kill a process of a part with SIGKILL.

        Args:
            part: ``api``, ``worker-main``, ``worker-bulk``, ``beat`` or ``valkey``.
            choice: Between 0 and 1; picks one of the part's processes: a parent, a child, a relay.

        Returns:
            Whether there was one; a part that was killed a moment ago may not be back yet.
        """
        try:
            recorded: int | list[int] | None = self.description["pids"][part]
            family = [psutil.Process(pid) for pid in (recorded if isinstance(recorded, list) else [recorded] if recorded else [])]
            if part.startswith("worker"):
                family += family[0].children(recursive=True)
            victim = family[int(choice * len(family))]
            victim.send_signal(signal.SIGKILL)
        except (OSError, LookupError, ValueError, psutil.Error):
            return False
        return True


async def start(folder: Path) -> Stack:
    """Start a stack in ``folder`` and return when it is ready.

    Raises:
        RuntimeError: if it does not start, with what it said.
    """
    overrides = {
        "API_PORT": str(free_port()),
        "LOCAL_DIR": str(folder),
        # The registrations of the load come from many addresses, as they would: the limit per address stays as it ships.
        "TRUSTED_PROXIES": "127.0.0.1",
        "ACCESS_TOKEN_EXPIRE_MINUTES": "120",
        "WEB_CONCURRENCY": "2",
    }
    await _command(overrides, "run", "--detach")
    return Stack(folder, overrides)


async def stop(stack: Stack) -> None:
    """Stop the stack; nothing of it is left."""
    await _command(stack.environment, "stop")


async def _command(environment: dict[str, str], *words: str) -> None:
    command = (sys.executable, "-m", "app", *words)
    process = await asyncio.create_subprocess_exec(
        *command, cwd=REPOSITORY, env=os.environ | environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    async with asyncio.timeout(START_SECONDS):
        output, _ = await process.communicate()
    if process.returncode != 0:
        raise RuntimeError(f"`{' '.join(command[1:])}` failed:\n{output.decode()}")
