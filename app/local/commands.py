"""``run`` and ``stop``: the stack from the command line."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from app.local import report
from app.local.console import Console
from app.local.errors import StackError
from app.local.place import REPOSITORY, AlreadyRunningError, Place, find_place, holder, locked, open_place, reset
from app.local.processes import end_leftovers
from app.local.stack import PROCESSES, STACK, run_stack

STOP_SECONDS = 60
READY_SECONDS = 120
POLL_SECONDS = 0.1
LOG = "stack.log"


def run(folder: str, *, detach: bool, start_over: bool, reload: bool) -> int:
    """Run the stack in ``folder`` and return the exit status.

    Args:
        folder: where its data lives, relative to the repository.
        detach: return when it is ready, and leave it running.
        start_over: delete its data first.
        reload: start the service anew when its code changes.
    """
    try:
        place = open_place(folder)
        if detach:
            return _detach(place, folder, start_over=start_over)
        with locked(place):
            if start_over:
                end_leftovers(place / PROCESSES)
                reset(place)
            console = Console(place / LOG)
            try:
                asyncio.run(run_stack(place, dict(os.environ), console, reload=reload))
            finally:
                console.close()
    except StackError as error:
        return fail(error)
    return 0


def stop(folder: str) -> int:
    """Stop the stack in ``folder`` and return the exit status."""
    place = find_place(folder)
    pid = holder(place)
    if pid is None:
        left = end_leftovers(place / PROCESSES) if place.folder.is_dir() else []
        (place / STACK).unlink(missing_ok=True)
        say(f"No stack is running in {place.folder}." + (f" Ended what one had left: {', '.join(left)}." if left else ""))
        return 0
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_SECONDS
    while holder(place) == pid:
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
            end_leftovers(place / PROCESSES)
            (place / STACK).unlink(missing_ok=True)
            say(f"The stack in {place.folder} did not stop within {STOP_SECONDS} s and was ended.")
            return 0
        time.sleep(POLL_SECONDS)
    say(f"Stopped the stack in {place.folder}.")
    return 0


def _detach(place: Place, folder: str, *, start_over: bool) -> int:
    if (pid := holder(place)) is not None:
        raise AlreadyRunningError(f"A stack is running in {place.folder} already (process {pid}).", "Stop it with `make stop`.")
    for stale in (STACK, LOG):
        (place / stale).unlink(missing_ok=True)
    errors = place / "errors.log"
    command = [sys.executable, "-m", "app", "run", "--local-dir", folder, "--no-reload", *(["--reset"] if start_over else [])]
    with errors.open("wb") as file:
        process = subprocess.Popen(
            command, cwd=REPOSITORY, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=file, start_new_session=True
        )
    deadline = time.monotonic() + READY_SECONDS
    shown = 0
    while (description := read_description(place, process.pid)) is None:
        shown = _show_progress(place / LOG, shown)
        if process.poll() is not None:
            sys.stderr.write(errors.read_text(errors="replace"))
            return process.returncode or 1
        if time.monotonic() > deadline:
            process.terminate()
            raise StackError(f"The stack was not ready within {READY_SECONDS} s.", f"Read {place / LOG}.")
        time.sleep(POLL_SECONDS)
    say(f"\n{report.render(description, colours=sys.stdout.isatty())}\nIt runs on in the background; `make stop` ends it.")
    return 0


def read_description(place: Place, supervisor: int) -> dict[str, Any] | None:
    """Return what ``stack.json`` says, if it is there and speaks of this supervisor."""
    try:
        description = json.loads((place / STACK).read_text())
    except (OSError, ValueError):
        return None
    return description if description["pids"]["supervisor"] == supervisor else None


def _show_progress(log: Path, shown: int) -> int:
    """Pass on what the stack itself says."""
    try:
        lines = [line for line in log.read_text(errors="replace").splitlines() if line.startswith("stack ")]
    except OSError:
        return shown
    for line in lines[shown:]:
        say("  " + line.partition("| ")[2])
    return len(lines)


def fail(error: StackError) -> int:
    """Say what is wrong and what to do, and return the exit status."""
    sys.stderr.write(f"\nERROR: {error.problem}\n" + (f"{error.remedy}\n" if error.remedy else ""))
    return 1


def say(text: str) -> None:
    """Say something to whoever ran the command."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
