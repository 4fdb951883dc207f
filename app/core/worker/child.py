"""One event loop and one set of connections per child process, made after the fork."""

import asyncio
import os
import signal
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from contextvars import copy_context
from typing import Any, Final

from billiard.common import TERM_SIGNAL
from celery import signals

from app.core.config import Settings, get_settings
from app.core.resources import Resources, open_resources
from app.core.sentry import start_sentry, stop_sentry

#: A child runs one task at a time: its transaction, its heartbeat, and one to spare.
POOL_SIZE: Final = 2

type Work = Callable[[Resources], Coroutine[Any, Any, object]]


class Child:
    """A child process's loop, which turns while a task runs, and its connections, which outlive the task.

    Args:
        settings: Where everything is.
    """

    def __init__(self, settings: Settings) -> None:
        self.pid = os.getpid()
        start_sentry(settings, "worker")
        self._runner = asyncio.Runner()
        self._stack = AsyncExitStack()
        sizes = {"DATABASE_POOL_SIZE": POOL_SIZE, "DATABASE_AUTOCOMMIT_POOL_SIZE": POOL_SIZE}
        opening = open_resources(settings.model_copy(update=sizes), "worker")
        self._resources = self._runner.run(self._stack.enter_async_context(opening))

    def run(self, work: Work) -> None:
        """Run a task to its end; the worker's stop signal cancels it.

        Args:
            work: Gets the child's connections.

        Raises:
            SystemExit: if the worker told this process to stop.
            Exception: what the task raises.
        """
        try:
            self._runner.run(self._cancelled_by_stop_signal(work), context=copy_context())
        except asyncio.CancelledError:
            raise SystemExit(0) from None

    async def _cancelled_by_stop_signal(self, work: Work) -> None:
        loop = asyncio.get_running_loop()
        task = asyncio.ensure_future(work(self._resources))
        before = signal.getsignal(TERM_SIGNAL)
        loop.add_signal_handler(TERM_SIGNAL, task.cancel)
        try:
            await task
        finally:
            loop.remove_signal_handler(TERM_SIGNAL)
            signal.signal(TERM_SIGNAL, before)

    def close(self) -> None:
        """Close the connections and the loop, and send the reports that wait: a child ends without Python's own farewell."""
        self._runner.run(self._stack.aclose())
        self._runner.close()
        stop_sentry()


class _Process:
    """This process's child, made by the first task that needs it."""

    child: Child | None = None


def current() -> Child:
    """Return this process's child."""
    if _Process.child is None or _Process.child.pid != os.getpid():
        _Process.child = Child(get_settings())
    return _Process.child


@signals.worker_process_shutdown.connect
def _close(**_: object) -> None:
    if _Process.child is not None and _Process.child.pid == os.getpid():
        _Process.child.close()
        _Process.child = None
