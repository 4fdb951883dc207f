"""A stack in the background: started, waited for, and stopped from another process."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from app.local import report
from app.local.errors import StackError
from app.local.place import REPOSITORY, AlreadyRunningError, Place, holder
from app.local.processes import began, end_leftovers
from app.local.stack import LOG, PROCESSES, STACK

STOP_SECONDS = 60
READY_SECONDS = 180
POLL_SECONDS = 0.1
ERRORS = "errors.log"


def start_detached(place: Place, local_dir: str, *, start_over: bool) -> None:
    """Start the stack in the background, and return when it is ready.

    Raises:
        StackError: when it does not come up.
    """
    if (pid := holder(place)) is not None:
        raise AlreadyRunningError(f"A stack is running in {place.folder} already (process {pid}).", "Stop it with `make stop`.")
    for stale in (STACK, LOG):
        (place / stale).unlink(missing_ok=True)
    command = [sys.executable, "-m", "app", "run", "--local-dir", local_dir, "--no-reload", *(["--reset"] if start_over else [])]
    with (place / ERRORS).open("wb") as errors:
        process = subprocess.Popen(
            command, cwd=REPOSITORY, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=errors, start_new_session=True
        )
    description = _wait_until_described(place, process)
    sys.stdout.write(f"\n{report.render(description, colours=sys.stdout.isatty())}\nIt runs in the background; `make stop` ends it.\n")


def _wait_until_described(place: Place, process: "subprocess.Popen[bytes]") -> Mapping[str, Any]:
    deadline = time.monotonic() + READY_SECONDS
    shown = 0
    while (description := read_description(place, process.pid)) is None:
        shown = _show_progress(place / LOG, shown)
        if process.poll() is not None:
            said = (place / ERRORS).read_text(errors="replace").strip().removeprefix("ERROR: ")
            raise StackError(said or f"The supervisor ended with status {process.returncode}; see {place / LOG}.")
        if time.monotonic() > deadline:
            process.terminate()
            raise StackError(f"The stack was not ready within {READY_SECONDS} s.", f"Read {place / LOG}.")
        time.sleep(POLL_SECONDS)
    _show_progress(place / LOG, shown)
    return description


def read_description(place: Place, supervisor: int) -> Mapping[str, Any] | None:
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
    sys.stdout.write("".join(f"  {line.partition('| ')[2]}\n" for line in lines[shown:]))
    sys.stdout.flush()
    return len(lines)


def stop_running(place: Place) -> str:
    """Stop the stack in ``place``, and say what was done."""
    pid = holder(place)
    if pid is None:
        left = end_leftovers(place / PROCESSES)
        (place / STACK).unlink(missing_ok=True)
        return f"No stack is running in {place.folder}." + (f" Ended what one had left: {', '.join(left)}." if left else "")
    since = began(pid)
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_SECONDS
    while began(pid) == since:
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
            end_leftovers(place / PROCESSES)
            (place / STACK).unlink(missing_ok=True)
            return f"The stack in {place.folder} did not stop within {STOP_SECONDS} s and was ended."
        time.sleep(POLL_SECONDS)
    return f"Stopped the stack in {place.folder}."
