"""Processes by their ids: who descends from whom, and which of a former run are still there."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TypedDict

from app.local.servers.program import kill_group

PROC = Path("/proc")
END_SECONDS = 5
POLL_SECONDS = 0.05


class Record(TypedDict):
    """A process, and when it began: together they name it for good, as ids are used again."""

    name: str
    pid: int
    began: str


def began(pid: int) -> str | None:
    """Return when a process began, in the system's own words, or None when there is no such process."""
    if sys.platform != "linux":
        return _ps("-o", "lstart=", "-p", str(pid)) or None
    fields = _stat(pid)
    if fields is None or fields[0] == "Z":
        return None
    boot = (PROC / "sys/kernel/random/boot_id").read_text().strip()
    return f"{boot}/{fields[19]}"


def children(pid: int) -> list[int]:
    """Return the living children that a process forked to do its work, oldest first; those that run another program are none."""
    return [child for child in _all_children(pid) if _command(child) == _command(pid)]


def _all_children(pid: int) -> list[int]:
    if sys.platform != "linux":
        pairs = (line.split() for line in _ps("-A", "-o", "pid=,ppid=").splitlines())
        return sorted(int(child) for child, parent in pairs if int(parent) == pid)
    listed = PROC / str(pid) / "task" / str(pid) / "children"
    try:
        found = [int(child) for child in listed.read_text().split()]
    except OSError:
        found = [int(entry) for entry in os.listdir(PROC) if entry.isdigit() and (_stat(int(entry)) or ["", ""])[1] == str(pid)]  # noqa: PTH208  # names are enough
    return sorted(child for child in found if (fields := _stat(child)) and fields[0] != "Z")


def _command(pid: int) -> str | None:
    """Return a process's command line, ``None`` where it is gone."""
    if sys.platform != "linux":
        return _ps("-o", "command=", "-p", str(pid)) or None
    try:
        return (PROC / str(pid) / "cmdline").read_text(errors="replace")
    except OSError:
        return None


def _stat(pid: int) -> list[str] | None:
    """Return the fields of /proc/<pid>/stat that follow the name, which may hold anything."""
    try:
        return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None


def _ps(*arguments: str) -> str:
    return subprocess.run(["ps", *arguments], capture_output=True, text=True, check=False).stdout.strip()  # noqa: S607  # wherever the system keeps it


def record(path: Path, running: Iterable[tuple[str, int]]) -> None:
    """Write down which processes run, for the next run to find what this one could not end."""
    records = [Record(name=name, pid=pid, began=since) for name, pid in running if (since := began(pid))]
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(records))
    partial.replace(path)


def end_leftovers(path: Path) -> list[str]:
    """End the recorded processes that still run, and return their names."""
    try:
        records: list[Record] = json.loads(path.read_text())
    except (OSError, ValueError):
        return []
    left = [entry for entry in records if began(entry["pid"]) == entry["began"]]
    for entry in left:
        with contextlib.suppress(ProcessLookupError):
            # PostgreSQL waits for its clients on SIGTERM; SIGINT does the same for the others.
            os.kill(entry["pid"], signal.SIGINT if entry["name"] == "postgres" else signal.SIGTERM)
    deadline = time.monotonic() + END_SECONDS
    while time.monotonic() < deadline and any(began(entry["pid"]) == entry["began"] for entry in left):
        time.sleep(POLL_SECONDS)
    for entry in left:
        kill_group(entry["pid"])
    path.unlink(missing_ok=True)
    return [entry["name"] for entry in left]
