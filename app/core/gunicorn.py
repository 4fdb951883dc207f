"""gunicorn's configuration, as ``--config python:app.core.gunicorn``. Every value is a setting of the service."""

import math
from pathlib import Path
from typing import Any, Final

from app.core.config import get_settings
from app.core.logging import configure_logging
from app.core.metrics_server import MetricsProcess

_settings: Final = get_settings()
_SPARE_SECONDS: Final = 5
_MEMORY: Final = Path("/dev/shm")  # noqa: S108  # gunicorn makes an unnamed file in it

bind = f"[{_settings.HOST}]:{_settings.PORT}" if ":" in _settings.HOST else f"{_settings.HOST}:{_settings.PORT}"
workers = _settings.WEB_CONCURRENCY
worker_class = "app.core.http.server.Worker"
keepalive = _settings.KEEP_ALIVE
#: Seconds a worker's loop may stand still before it is replaced.
timeout = 30
graceful_timeout = math.ceil(_settings.DRAIN_SECONDS) + _settings.GRACEFUL_TIMEOUT + _SPARE_SECONDS
#: The heartbeat of a worker is a file's time; on a disk that is busy it would be late.
worker_tmp_dir = str(_MEMORY) if _MEMORY.is_dir() else None
control_socket_disable = True
accesslog = None
logger_class = "app.core.gunicorn_log.Logger"


def when_ready(_server: Any) -> None:
    """Serve the metrics of all workers."""
    if _settings.METRICS_PORT:
        _Master.metrics = MetricsProcess()


def post_fork(_server: Any, _worker: Any) -> None:
    """Send a worker's log through the service's own: making the worker gave uvicorn's loggers to gunicorn."""
    configure_logging(_settings.LOG_LEVEL, environment=_settings.ENVIRONMENT)


def on_exit(_server: Any) -> None:
    """Stop serving metrics."""
    process, _Master.metrics = _Master.metrics, None
    if process is not None:
        process.close()


class _Master:
    """What the master holds while it runs."""

    metrics: MetricsProcess | None = None
