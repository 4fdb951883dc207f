"""What watches a process while it serves: its log, its metrics, its error reports."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import cast

from app.core import metrics
from app.core.config import Settings
from app.core.database import Database
from app.core.logging import written_in_background
from app.core.pool import MeasuredPool
from app.core.sentry import start_sentry, stop_sentry


@contextmanager
def observed(settings: Settings, service: str, database: Database) -> Generator[None]:
    """Watch this process while the block runs; at its end every line, count and report has left it.

    Args:
        settings: The release, the environment, and where reports go.
        service: Which of the processes this is, such as ``api``.
        database: Connections whose use is measured.
    """
    _follow_pools(settings, database)
    start_sentry(settings, service)
    try:
        with written_in_background(), metrics.collecting(settings.VERSION, settings.ENVIRONMENT):
            yield
    finally:
        stop_sentry()


def _follow_pools(settings: Settings, database: Database) -> None:
    autocommit = database.autocommit

    def pool() -> MeasuredPool:  # another one after every ``dispose``
        return cast("MeasuredPool", database.engine.pool)

    sizes = {"autocommit": settings.DATABASE_AUTOCOMMIT_POOL_SIZE, "transactions": settings.DATABASE_POOL_SIZE}
    for name, size in sizes.items():
        metrics.POOL_SIZE.labels(name).set(size)
    metrics.sample(metrics.POOL_IN_USE.labels("autocommit"), lambda: autocommit.in_use)
    metrics.sample(metrics.POOL_WAITING.labels("autocommit"), lambda: autocommit.waiting)
    metrics.sample(metrics.POOL_IN_USE.labels("transactions"), lambda: pool().checkedout())
    metrics.sample(metrics.POOL_WAITING.labels("transactions"), lambda: pool().waiting)
