"""Celery tasks: thin over `app.services`, the worker's counterpart of `app.api`."""
