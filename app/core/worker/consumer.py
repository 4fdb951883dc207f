"""The worker's side of the broker."""

import logging
from typing import Any, Final

from celery.worker import consumer
from celery.worker.state import maybe_shutdown

from app.core.worker.step import take_turns

RECONNECT_SECONDS: Final = 1

logger = logging.getLogger(__name__)


class Consumer(consumer.Consumer):
    """Tries to reconnect every second, for ever. Celery's own waits up to 30 s between two tries, and gives up at last."""

    controller: Any

    def ensure_connected(self, conn: Any) -> Any:
        """Return the connection once it is made."""

        def report(error: Exception, _interval: float) -> None:
            logger.warning("the broker does not answer: %s", error)

        def wait() -> None:
            maybe_shutdown()
            take_turns(self.controller)

        conn.ensure_connection(
            report, None, interval_start=RECONNECT_SECONDS, interval_step=0, interval_max=RECONNECT_SECONDS, callback=wait
        )
        self.first_connection_attempt = False
        return conn
