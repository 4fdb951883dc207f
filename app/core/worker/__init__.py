"""What a Celery worker is here: a consumer that reconnects quickly, a relay beside it, a loop in every child."""
