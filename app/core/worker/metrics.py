"""``GET /metrics`` of a worker: its own counts, its children's and its relay's."""

from typing import Any

from celery import bootsteps, signals

from app.core.config import get_settings
from app.core.metrics import say_build
from app.core.metrics_server import MetricsServer, serve_metrics


class _Process:
    """The listener of this process, and in a child the one to let go of."""

    server: MetricsServer | None = None


class Metrics(bootsteps.StartStopStep):
    """Answers while the worker runs."""

    def start(self, parent: Any) -> None:  # noqa: ARG002  # Celery's signature
        """Begin to answer."""
        settings = get_settings()
        say_build(settings.VERSION, settings.ENVIRONMENT)
        _Process.server = serve_metrics(settings)

    def stop(self, parent: Any) -> None:  # noqa: ARG002  # Celery's signature
        """Stop answering."""
        _close()

    def terminate(self, parent: Any) -> None:
        """Stop answering."""
        self.stop(parent)


@signals.worker_process_init.connect
def _let_go(**_: object) -> None:
    _close()


def _close() -> None:
    server, _Process.server = _Process.server, None
    if server is not None:
        server.close()
