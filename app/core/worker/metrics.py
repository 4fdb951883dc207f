"""What a worker says of itself. Its relay answers ``GET /metrics`` for it: a process that forks must have no second thread."""

from typing import Any

from celery import bootsteps

from app.core.config import get_settings
from app.core.metrics import say_build


class Metrics(bootsteps.StartStopStep):
    """Publishes which release the worker runs."""

    def start(self, parent: Any) -> None:  # noqa: ARG002  # Celery's signature
        """Publish it."""
        settings = get_settings()
        say_build(settings.VERSION, settings.ENVIRONMENT)
