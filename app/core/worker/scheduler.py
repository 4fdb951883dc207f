"""The scheduler: it beats while its loop turns, and waits for a broker that is away instead of ending or leaving a task out."""

import logging
import time
from typing import Any, Final

from celery import beat
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from app.core.config import get_settings

#: Seconds between two turns of the loop at most; a probe looks at the age of what it touches.
TURN_SECONDS: Final = 10
RECONNECT_SECONDS: Final = 1

AWAY: Final = (OperationalError, RedisError, OSError)

logger = logging.getLogger(__name__)


class Scheduler(beat.PersistentScheduler):
    """Celery's scheduler, with two differences.

    It touches ``WORKER_HEARTBEAT_FILE``, also while it waits for the broker: to start it anew would not bring the broker back.
    And it sends what is due as soon as the broker is there. Celery's own gives up a task at the fourth failure until it is
    due again, and itself at the hundredth.
    """

    max_interval = TURN_SECONDS

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._heartbeat = get_settings().WORKER_HEARTBEAT_FILE
        super().__init__(*args, **kwargs)

    def tick(self, *args: Any, **kwargs: Any) -> float:
        """Send one task that is due, and return the seconds until the next turn."""
        self._beat()
        seconds: float = super().tick(*args, **kwargs)
        return seconds

    def apply_entry(self, entry: Any, producer: Any = None) -> None:  # noqa: ARG002  # Celery's signature; a lost connection has another
        """Send a task that is due."""
        while (error := self._try(entry)) is not None:
            if not isinstance(error, AWAY):
                logger.error("cannot send %s", entry.name, exc_info=error)
                return
            self._report(error, RECONNECT_SECONDS)
            self._disconnect()
            self._beat()
            time.sleep(RECONNECT_SECONDS)

    def _try(self, entry: Any) -> BaseException | None:
        try:
            self.apply_async(entry, producer=self.producer, advance=False)
        except beat.SchedulingError as error:
            return error.__context__
        logger.info("sent %s", entry.name)
        return None

    def _disconnect(self) -> None:
        """Forget the connection: its server may have become another's replica, or have another address."""
        self.__dict__.pop("producer", None)
        self.__dict__.pop("connection").release()

    def _ensure_connected(self) -> Any:
        return self.connection.ensure_connection(
            self._report,
            interval_start=RECONNECT_SECONDS,
            interval_step=0,
            interval_max=RECONNECT_SECONDS,
            callback=self._beat,
        )

    def _report(self, error: BaseException, _interval: float) -> None:
        logger.warning("the broker does not answer: %s", error)

    def _beat(self) -> None:
        if self._heartbeat is not None:
            self._heartbeat.touch()

    def close(self) -> None:
        """Keep the timetable's state, and take the file away."""
        super().close()
        if self._heartbeat is not None:
            self._heartbeat.unlink(missing_ok=True)
