"""The relay's process beside every worker."""

import logging
import os
import subprocess
import sys
import time
from typing import Any, Final

from app.core.metrics_directory import shared_environment
from app.core.worker.step import TurnStep

#: Imported by its own process alone: this layer knows nothing of the tasks.
MODULE: Final = "app.tasks.relay"
STOP_SECONDS: Final = 5.0
#: Seconds between the starts of two relays at least.
RESTART_SECONDS: Final = 2.0

logger = logging.getLogger(__name__)


class Relay(TurnStep):
    """Starts the relay, replaces it when it dies, ends it with the worker; killed with the worker, it ends by itself."""

    requires = ("app.core.worker.health:Health",)

    def __init__(self, worker: Any, **kwargs: Any) -> None:
        super().__init__(worker, **kwargs)
        self._process: subprocess.Popen[bytes] | None = None
        self._started_at = 0.0

    def start(self, parent: Any) -> None:
        """Start the relay."""
        command = [sys.executable, "-m", MODULE, "--parent", str(os.getpid()), "--heartbeat", str(parent.heartbeat_file)]
        environment = {**os.environ, **shared_environment()}
        self._process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL)  # noqa: S603  # a constant command
        self._started_at = time.monotonic()

    def turn(self, worker: Any) -> None:
        """Replace the relay if it died."""
        if self._process is None or self._process.poll() is None or time.monotonic() < self._started_at + RESTART_SECONDS:
            return
        logger.error("the relay ended with status %s; starting another", self._process.returncode)
        self.start(worker)

    def stop(self, parent: Any) -> None:  # noqa: ARG002  # Celery's signature
        """End the relay."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def terminate(self, parent: Any) -> None:
        """End the relay."""
        self.stop(parent)
