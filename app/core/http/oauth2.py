"""Errors of the token routes, as OAuth 2.0 libraries read them (RFC 6749, 5.2)."""

import re
from typing import Final

from app.core.errors import Problem

TOKEN_ROUTES: Final = ("/auth/login", "/auth/refresh")

#: ``slow_down`` is RFC 8628's; the last two come from RFC 6749, 4.1.2.1.
_ERROR_OF_STATUS: Final = {
    401: "invalid_grant",
    403: "access_denied",
    429: "slow_down",
    500: "server_error",
    503: "temporarily_unavailable",
}
_ERROR_OF_SLUG: Final = {"unsupported-grant-type": "unsupported_grant_type"}

#: What ``error_description`` may not contain.
_FORBIDDEN: Final = re.compile(r'[^\x20-\x7e]|["\\]')


def members(problem: Problem, path: str) -> dict[str, object]:
    """Return the members ``error`` and ``error_description`` of a problem, none where its route issues no tokens.

    Args:
        problem: What happened.
        path: Path of the request.
    """
    if not path.endswith(TOKEN_ROUTES):
        return {}
    error = _ERROR_OF_SLUG.get(problem.slug) or _ERROR_OF_STATUS.get(problem.status, "invalid_request")
    return {"error": error, "error_description": _FORBIDDEN.sub("'", problem.detail)}
