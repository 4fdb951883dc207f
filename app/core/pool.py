"""SQLAlchemy's pool of connections, measured: how many wait for one, and how long."""

from time import perf_counter
from typing import override

from sqlalchemy.pool import AsyncAdaptedQueuePool, ConnectionPoolEntry

from app.core import metrics

_WAIT = metrics.waits_for_connections("transactions")


class MeasuredPool(AsyncAdaptedQueuePool):
    """A pool that knows its queue."""

    waiting = 0

    @override
    def _do_get(self) -> ConnectionPoolEntry:
        if self.checkedin() > 0:
            return super()._do_get()
        started = perf_counter()
        self.waiting += 1
        try:
            return super()._do_get()
        finally:
            self.waiting -= 1
            _WAIT.observe(perf_counter() - started)
