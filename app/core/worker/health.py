"""Whether a worker is alive: a file it touches, and an eye on whether it takes what waits for it."""

import logging
import os
import tempfile
from pathlib import Path
from typing import Any, Final, cast

from celery.platforms import EX_FAILURE
from celery.worker import state
from redis import ConnectionPool, Redis
from redis.exceptions import RedisError

from app.core.config import get_settings
from app.core.worker.step import TurnStep

#: Turns (seconds) between two looks at the queues.
LOOK_EVERY: Final = 5
#: Looks in a row at which messages waited and an idle worker took none, after which it ends itself.
MOST_STRIKES: Final = 3
TIMEOUT_SECONDS: Final = 1.0

logger = logging.getLogger(__name__)


class Health(TurnStep):
    """Touches the heartbeat file, and ends a worker that no longer consumes, so that its supervisor starts another."""

    def __init__(self, worker: Any, **kwargs: Any) -> None:
        super().__init__(worker, **kwargs)
        own = Path(tempfile.gettempdir()) / f"platform-worker-{os.getpid()}.heartbeat"
        self.path = worker.heartbeat_file = get_settings().WORKER_HEARTBEAT_FILE or own
        make_pool = cast("Any", ConnectionPool).from_url
        pool = make_pool(get_settings().broker_url, socket_timeout=TIMEOUT_SECONDS, socket_connect_timeout=TIMEOUT_SECONDS, retry=None)
        self._broker = Redis(connection_pool=pool)
        self._turns = 0
        self._strikes = 0
        self._received = 0

    def start(self, parent: Any) -> None:  # noqa: ARG002  # Celery's signature
        """Begin to beat."""
        self.path.touch()

    def stop(self, parent: Any) -> None:  # noqa: ARG002  # Celery's signature
        """Take the file away."""
        self.path.unlink(missing_ok=True)
        self._broker.close()

    def terminate(self, parent: Any) -> None:
        """Take the file away."""
        self.stop(parent)

    def turn(self, worker: Any) -> None:
        """Beat, and now and then look at the queues."""
        self.path.touch()
        self._turns += 1
        if self._turns % LOOK_EVERY == 0:
            self._look(worker)

    def _look(self, worker: Any) -> None:
        received = state.all_total_count[0]
        starving = received == self._received and not state.reserved_requests and self._waiting(worker) > 0
        self._strikes = self._strikes + 1 if starving else 0
        self._received = received
        if self._strikes >= MOST_STRIKES:
            logger.critical("messages wait and none arrives; this worker ends, to be replaced")
            worker.exitcode = EX_FAILURE
            cast("Any", state).should_terminate = EX_FAILURE

    def _waiting(self, worker: Any) -> int:
        try:
            return sum(int(str(self._broker.llen(queue))) for queue in worker.app.amqp.queues.consume_from)
        except RedisError:
            return 0
