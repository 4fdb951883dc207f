"""Which queue carries which task."""

from fnmatch import fnmatchcase
from typing import Final

MAIN_QUEUE: Final = "main-queue"
BULK_QUEUE: Final = "bulk-queue"
QUEUES: Final = (MAIN_QUEUE, BULK_QUEUE)

#: Queues by the pattern of a task's name. Short work and long work never wait for each other.
ROUTES: Final = {
    "app.tasks.email_tasks.*": MAIN_QUEUE,
    "app.tasks.outbox_tasks.*": MAIN_QUEUE,
    "app.tasks.import_tasks.*": BULK_QUEUE,
    "app.tasks.maintenance_tasks.*": BULK_QUEUE,
}


def queue_of(task: str) -> str:
    """Return the queue of a task by its name; ``main-queue`` where no route matches."""
    return next((queue for pattern, queue in ROUTES.items() if fnmatchcase(task, pattern)), MAIN_QUEUE)
