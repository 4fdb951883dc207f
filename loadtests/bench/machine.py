"""The machine: what processes have spent, where they run, and what kind of machine it is."""

import os
import platform
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic

import psutil

MIB = 2**20


@dataclass(frozen=True, slots=True)
class Machine:
    """What a report says of the machine and the moment.

    Attributes:
        date: Day of the run, UTC.
        processor: Name of the processor.
        cores: Logical processors.
        memory_gib: Memory in GiB.
        kernel: Operating system and its release.
    """

    date: str
    processor: str
    cores: int
    memory_gib: float
    kernel: str


def describe() -> Machine:
    """Return what machine this is."""
    return Machine(
        date=datetime.now(UTC).date().isoformat(),
        processor=_processor(),
        cores=os.cpu_count() or 1,
        memory_gib=psutil.virtual_memory().total / 2**30,
        kernel=f"{platform.system()} {platform.release()} {platform.machine()}",
    )


def _processor() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.processor() or "unknown"


def _family(pid: int) -> list[psutil.Process]:
    first = psutil.Process(pid)
    return [first, *first.children(recursive=True)]


def cpu_seconds(*pids: int) -> float:
    """Return the CPU time, user and system, that processes and all their descendants have spent.

    Descendants that ended are counted: whoever waited for them has their times.
    """
    spent = 0.0
    for pid in pids:
        for process in _family(pid):
            with suppress(psutil.NoSuchProcess):
                times = process.cpu_times()
                spent += times.user + times.system + times.children_user + times.children_system
    return spent


def resident_mib(pid: int) -> float:
    """Return the resident memory in MiB of the process that answers: the largest one of a family."""
    return max(process.memory_info().rss for process in _family(pid)) / MIB


class OtherWork:
    """What else the machine does from now on: the processors that neither this process nor its descendants keep busy."""

    def __init__(self) -> None:
        self._started = monotonic()
        self._before = self._others()

    def processors(self) -> float:
        """Return how many processors others have kept busy on average."""
        return max(0.0, (self._others() - self._before) / (monotonic() - self._started))

    def _others(self) -> float:
        times = psutil.cpu_times()
        idle = times.idle + getattr(times, "iowait", 0.0)
        # Guests' time is part of the user's.
        busy = sum(times) - idle - getattr(times, "guest", 0.0) - getattr(times, "guest_nice", 0.0)
        return busy - cpu_seconds(os.getpid())


def places() -> tuple[set[int], set[int]]:
    """Return the processors for the server that is measured, and those for all else.

    With a processor of its own, a server is not moved about and shares no cache with its client. Where there is only one,
    or the system cannot pin, everything runs everywhere.
    """
    if sys.platform != "linux":
        return set(), set()
    allowed = sorted(os.sched_getaffinity(0))
    return (set(allowed[-1:]), set(allowed[:-1])) if len(allowed) > 1 else (set(allowed), set(allowed))


@contextmanager
def pinned(processors: set[int]) -> Generator[None]:
    """Keep this thread, and the processes it starts inside the block, on some processors."""
    if sys.platform != "linux" or not processors:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, processors)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
