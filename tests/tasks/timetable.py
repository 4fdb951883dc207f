"""The service's Celery with a timetable that a test has the patience for, and an entry that nobody can send."""

from app.core.celery_app import celery_app

OPTIONS = {"expires": 60, "retry": False}

celery_app.conf.beat_schedule = {
    "every-second": {"task": "tests.every_second", "schedule": 1, "options": OPTIONS},
    "impossible": {"task": "tests.impossible", "schedule": 1, "args": (object,), "options": OPTIONS},
}
