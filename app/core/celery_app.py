"""Celery on Redis: queues, rules of delivery, the scheduler's timetable.

Celery carries messages and runs processes; whether a task is done, and who is at it, is known to the outbox alone
(``app.services.delivery``). Messages may therefore come twice, late, or be lost, and are acknowledged late.
"""

import logging
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from celery import Celery, signals
from kombu import Queue

from app.core.config import Settings, get_settings
from app.core.logging import configure_logging
from app.core.queues import MAIN_QUEUE, QUEUES, ROUTES
from app.core.worker.health import Health
from app.core.worker.metrics import Metrics
from app.core.worker.relay import Relay

#: Seconds a task may run unless it says otherwise; then its process is killed.
TIME_LIMIT_SECONDS: Final = 60
SOCKET_TIMEOUT_SECONDS: Final = 5

#: Loggers that say of every task what its delivery says with the request's id.
SAID_AGAIN: Final = ("celery.worker.strategy", "celery.app.trace")

TASK_MODULES: Final = (
    "app.tasks.email_tasks",
    "app.tasks.import_tasks",
    "app.tasks.outbox_tasks",
    "app.tasks.maintenance_tasks",
)

#: The scheduler's timetable: idempotent tasks without an outbox row. One that finds no worker in time is dropped.
SCHEDULE: Final = {
    "app.tasks.outbox_tasks.purge_inbox": timedelta(hours=1),
    "app.tasks.maintenance_tasks.purge_idempotency_keys": timedelta(hours=1),
    "app.tasks.maintenance_tasks.purge_sessions": timedelta(hours=1),
    "app.tasks.maintenance_tasks.purge_users": timedelta(hours=1),
    "app.tasks.maintenance_tasks.purge_uploads": timedelta(hours=1),
}

#: When a task ran last of which the scheduler knows nothing.
NEVER: Final = datetime(2000, 1, 1, tzinfo=UTC)


def _delivery(settings: Settings) -> dict[str, Any]:
    return {
        "accept_content": ["json"],
        "task_serializer": "json",
        "task_ignore_result": True,
        "task_acks_late": True,
        "task_reject_on_worker_lost": True,
        "task_time_limit": TIME_LIMIT_SECONDS,
        "worker_prefetch_multiplier": 1,
        "worker_soft_shutdown_timeout": settings.WORKER_SOFT_SHUTDOWN_SECONDS,
        # The claim says who runs a task, so it need not die because the broker is away.
        "worker_cancel_long_running_tasks_on_connection_loss": False,
    }


def _broker(settings: Settings) -> dict[str, Any]:
    return {
        "broker_url": settings.broker_url,
        "broker_connection_retry_on_startup": True,
        "broker_transport_options": {
            "visibility_timeout": settings.BROKER_VISIBILITY_TIMEOUT,
            "socket_timeout": SOCKET_TIMEOUT_SECONDS,
            "socket_connect_timeout": SOCKET_TIMEOUT_SECONDS,
            "socket_keepalive": True,
            "health_check_interval": 10,
        },
    }


def _timetable() -> dict[str, dict[str, Any]]:
    """Return the timetable. A scheduler that remembers nothing begins with everything: else frequent releases would put it off for ever."""
    return {
        name: {"task": name, "schedule": every, "last_run_at": NEVER, "options": {"expires": every.total_seconds(), "retry": False}}
        for name, every in SCHEDULE.items()
    }


def create_celery(settings: Settings) -> Celery:
    """Return the Celery application."""
    celery = Celery("platform", include=TASK_MODULES)
    celery.conf.update(
        _broker(settings),
        **_delivery(settings),
        task_queues=[Queue(name, routing_key=name) for name in QUEUES],
        task_default_queue=MAIN_QUEUE,
        task_create_missing_queues=False,
        task_routes={pattern: {"queue": queue} for pattern, queue in ROUTES.items()},
        timezone="UTC",
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        worker_consumer="app.core.worker.consumer:Consumer",
        beat_scheduler="app.core.worker.scheduler:Scheduler",
        beat_schedule=_timetable(),
    )
    celery.steps["worker"] |= {Health, Metrics, Relay}
    return celery


@signals.setup_logging.connect
def _log_as_everywhere(**_: object) -> None:
    settings = get_settings()
    configure_logging(settings.LOG_LEVEL, environment=settings.ENVIRONMENT)
    for name in SAID_AGAIN:
        logging.getLogger(name).setLevel(logging.WARNING)


celery_app = create_celery(get_settings())
