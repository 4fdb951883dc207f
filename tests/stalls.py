"""Finds what keeps the event loop from turning."""

import asyncio.events
import resource
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

LIMIT_SECONDS = 0.05
#: Work of other threads from which on a wait was one for the interpreter, which they held, and not for what was called.
OTHERS_SECONDS = 0.005
#: Linux: nanoseconds that this thread worked, and that it waited for a processor.
SCHEDULED = Path("/proc/thread-self/schedstat")


@contextmanager
def no_stall() -> Generator[None]:
    """Fail if, within the block, anything holds the running loop for longer than ``LIMIT_SECONDS``.

    What counts is what the loop's thread did: processor time, and waiting of its own accord. Other threads at work, or a
    machine that is busy elsewhere, make nothing a stall.

    Raises:
        AssertionError: naming what held the loop, and for how long.
    """
    run = asyncio.events.Handle._run
    stalls: list[str] = []

    def timed(handle: asyncio.events.Handle) -> None:
        began, worked, others, waits, queued = time.perf_counter(), time.thread_time(), time.process_time(), _waits(), _queued()
        run(handle)
        worked = time.thread_time() - worked
        others = time.process_time() - others - worked
        there = time.perf_counter() - began - (_queued() - queued)
        waited = there if _waits() > waits and others < OTHERS_SECONDS else 0.0
        if max(worked, waited) > LIMIT_SECONDS:
            stalls.append(f"{handle!r}: {worked * 1000:.0f} ms of work, {waited * 1000:.0f} ms with waiting")

    patched: Any = asyncio.events.Handle
    patched._run = timed
    try:
        yield
    finally:
        patched._run = run
    assert not stalls, "\n".join(stalls)


def _queued() -> float:
    """Return the seconds that this thread was ready and had no processor."""
    return int(SCHEDULED.read_text().split()[1]) / 1e9 if SCHEDULED.exists() else 0.0


def _waits() -> int:
    return resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw
