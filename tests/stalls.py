"""Finds what keeps the event loop from turning."""

import asyncio.events
import resource
import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

LIMIT_SECONDS = 0.05
#: Work of other threads from which on a wait was one for the interpreter, which they held, and not for what was called.
OTHERS_SECONDS = 0.005


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
        began, worked, others, waits = time.perf_counter(), time.thread_time(), time.process_time(), _waits()
        run(handle)
        worked = time.thread_time() - worked
        others = time.process_time() - others - worked
        waited = time.perf_counter() - began if _waits() > waits and others < OTHERS_SECONDS else 0.0
        if max(worked, waited) > LIMIT_SECONDS:
            stalls.append(f"{handle!r}: {worked * 1000:.0f} ms of work, {waited * 1000:.0f} ms with waiting")

    patched: Any = asyncio.events.Handle
    patched._run = timed
    try:
        yield
    finally:
        patched._run = run
    assert not stalls, "\n".join(stalls)


def _waits() -> int:
    return resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw
