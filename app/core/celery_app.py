"""Celery on Redis: queues, rules of delivery, the scheduler's timetable.

Celery carries messages and runs processes; whether a task is done, and who is at it, is known to the outbox alone
(``app.services.delivery``). Messages may therefore come twice, late, or be lost, and are acknowledged late.
"""

import logging
from datetime import timedelta
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
#: Seconds the longest task may run.
LONGEST_TIME_LIMIT_SECONDS: Final = 6 * 3600
#: Seconds a stopping worker lets its tasks run on; what takes longer is given back and resumed elsewhere.
SOFT_SHUTDOWN_SECONDS: Final = 5
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


def _delivery(settings: Settings) -> dict[str, Any]:
    return {
        "accept_content": ["json"],
        "task_serializer": "json",
        "task_ignore_result": True,
        "task_acks_late": True,
        "task_reject_on_worker_lost": True,
        "task_time_limit": TIME_LIMIT_SECONDS,
        "worker_prefetch_multiplier": 1,
        "worker_soft_shutdown_timeout": min(SOFT_SHUTDOWN_SECONDS, settings.GRACEFUL_TIMEOUT),
        # The claim says who runs a task, so it need not die because the broker is away.
        "worker_cancel_long_running_tasks_on_connection_loss": False,
    }


def _broker(settings: Settings) -> dict[str, Any]:
    return {
        "broker_url": settings.broker_url,
        "broker_connection_retry_on_startup": True,
        "broker_transport_options": {
            "visibility_timeout": LONGEST_TIME_LIMIT_SECONDS + settings.GRACEFUL_TIMEOUT + 600,
            "socket_timeout": SOCKET_TIMEOUT_SECONDS,
            "socket_connect_timeout": SOCKET_TIMEOUT_SECONDS,
            "socket_keepalive": True,
            "health_check_interval": 10,
        },
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
        beat_schedule={
            name: {"task": name, "schedule": every, "options": {"expires": every.total_seconds()}} for name, every in SCHEDULE.items()
        },
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
