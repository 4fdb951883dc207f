"""Wakes the relay once an outbox row is committed.

``NOTIFY`` takes a database-wide lock where its transaction commits, so writers would queue behind each other if each
sent its own. Instead a process sends one for all its writes of some milliseconds, from a connection of its own; the
relay also polls, so a lost one costs a second and nothing else.
"""

import asyncio
import logging
from typing import Final

from sqlalchemy import func, select

from app.core.autocommit import Autocommit
from app.core.errors import Problem
from app.core.statement import Statement

CHANNEL: Final = "outbox"
INTERVAL_SECONDS: Final = 0.02
#: A session's ``info`` holds it as a key once its transaction added an outbox row.
PENDING: Final = "outbox_pending"

NOTIFY: Final = Statement(select(func.pg_notify(CHANNEL, "")))

logger = logging.getLogger(__name__)


class Wakeup:
    """Tells the relay that there is something in the outbox, at most once per ``INTERVAL_SECONDS``.

    Args:
        autocommit: Where ``NOTIFY`` is run.
    """

    __slots__ = ("_autocommit", "_running", "_scheduled", "_sent_at")

    def __init__(self, autocommit: Autocommit) -> None:
        self._autocommit = autocommit
        self._scheduled = False
        self._sent_at = 0.0
        self._running: asyncio.Task[None] | None = None

    def set(self) -> None:
        """Ask for a wake-up; call it after the commit, from the event loop. Costs an attribute look-up while one is under way."""
        if self._scheduled:
            return
        self._scheduled = True
        loop = asyncio.get_running_loop()
        loop.call_at(max(loop.time(), self._sent_at + INTERVAL_SECONDS), self._start)

    def _start(self) -> None:
        self._scheduled = False
        self._sent_at = asyncio.get_running_loop().time()
        if self._running is None or self._running.done():
            self._running = asyncio.create_task(self._notify())
        else:  # PostgreSQL is slow: what came meanwhile gets its own turn
            self.set()

    async def _notify(self) -> None:
        try:
            await self._autocommit.value(NOTIFY)
        except Problem:
            logger.debug("the relay was not woken; it polls", exc_info=True)

    async def close(self) -> None:
        """Let a wake-up under way end."""
        if self._running is not None:
            await asyncio.wait([self._running])
