"""A request's way before its route: dispatch, limits, idempotency, problems."""
