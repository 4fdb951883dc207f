"""Decisions: what is allowed, what follows from what. They know neither HTTP nor Celery."""
