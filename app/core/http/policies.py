"""The rate limits: every policy and the policy of every route, in one table each. The same everywhere the service runs."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

MINUTE: Final = 60
HOUR: Final = 3600

type Subject = Literal["caller", "account", "address"]


@dataclass(frozen=True, slots=True)
class Policy:
    """How much of one class of requests a subject may do.

    Attributes:
        name: What the ``RateLimit`` headers, the metrics and Redis call it.
        quota: Requests within a window.
        window: Length of the window in seconds; it begins with the subject's first request.
        per: Whose requests are counted: the ``caller`` (the user, or the address of who is not signed in), one ``account``
            or one ``address``.
        block: Requests leased from Redis at once. A process keeps what it leased, so with n processes up to n - 1 blocks
            of the quota may stay unused.
        description: For the documentation.
        header: The policy's ``RateLimit-Policy`` header.
        standing: The value of its ``RateLimit`` header, for the requests and the seconds left.
        lines: Both headers as they stand on the wire, for the same two.
    """

    name: str
    quota: int
    window: int
    per: Subject
    block: int
    description: str
    header: tuple[bytes, bytes] = field(init=False, repr=False, compare=False)
    standing: bytes = field(init=False, repr=False, compare=False)
    lines: bytes = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "header", (b"ratelimit-policy", f'"{self.name}";q={self.quota};w={self.window}'.encode()))
        object.__setattr__(self, "standing", b'"%b";r=%%d;t=%%d' % self.name.encode())
        object.__setattr__(self, "lines", b"%b: %b\r\nratelimit: %b\r\n" % (*self.header, self.standing))


#: Leased in blocks and spent in the process, for every request of the class.
SPENT: Final = (
    Policy("read", 60_000, MINUTE, "caller", 500, "Reading."),
    Policy("write", 30_000, MINUTE, "caller", 250, "Creating, changing, deleting, signing in."),
    Policy("import", 600, MINUTE, "caller", 10, "Starting imports and their uploads."),
    Policy("socket", 6_000, MINUTE, "caller", 100, "Opening live event sockets and drawing tickets for them."),
)

#: Counted one by one, by who knows what counts. Redis gone, each process counts for itself.
COUNTED: Final = (
    Policy("login-account", 10, HOUR, "account", 1, "Wrong passwords for one account."),
    Policy("login-address", 100, HOUR, "address", 1, "Wrong passwords from one address."),
    Policy("registration", 100, HOUR, "address", 1, "Registrations from one address."),
)

POLICIES: Final[Mapping[str, Policy]] = {policy.name: policy for policy in (*SPENT, *COUNTED)}

#: For what the platform around the service asks all the time.
UNLIMITED: Final = "unlimited"

#: Policy by method and path. Paths of the API are written without its base path, names of parameters do not matter.
ROUTES: Final[Mapping[str, str]] = {
    "GET /": "read",
    "GET /docs": "read",
    "GET /redoc": "read",
    "GET /live": "read",
    "GET /live/{file}": "read",
    "GET /static/{tag}/{file}": "read",
    "GET /errors/": "read",
    "GET /errors/{slug}": "read",
    "GET /openapi.json": "read",
    "GET /health/live": UNLIMITED,
    "GET /health/ready": UNLIMITED,
    "GET /health/startup": UNLIMITED,
    "POST /auth/login": "write",
    "POST /auth/refresh": "write",
    "POST /auth/logout": "write",
    "GET /auth/sessions": "read",
    "DELETE /auth/sessions": "write",
    "DELETE /auth/sessions/{session_id}": "write",
    "POST /users/": "write",
    "GET /users/": "read",
    "GET /users/me": "read",
    "PATCH /users/me": "write",
    "DELETE /users/me": "write",
    "POST /users/me/password": "write",
    "GET /users/{user_id}": "read",
    "PATCH /users/{user_id}": "write",
    "DELETE /users/{user_id}": "write",
    "GET /items/": "read",
    "POST /items/": "write",
    "POST /items/batch": "write",
    "POST /items/imports": "import",
    "POST /items/imports/uploads": "import",
    "GET /items/{item_id}": "read",
    "PATCH /items/{item_id}": "write",
    "DELETE /items/{item_id}": "write",
    "GET /jobs/": "read",
    "GET /jobs/{job_id}": "read",
    "POST /jobs/{job_id}/cancel": "write",
    "POST /ws/tickets": "socket",
    "GET /ws": "read",
    "WEBSOCKET /ws": "socket",
}

_PARAMETER: Final = re.compile(r"\{[^}]*\}")


def _anonymous(route: str) -> str:
    return _PARAMETER.sub("{}", route)


_BY_ROUTE: Final = {_anonymous(route): name for route, name in ROUTES.items()}


def policy_of(method: str, path: str, base: str = "") -> Policy | None:
    """Return the policy of a route, ``None`` for one without a limit.

    Args:
        method: HTTP method, or ``WEBSOCKET``.
        path: The route's path template.
        base: Base path of the API.

    Raises:
        LookupError: if the table does not know the route.
    """
    relative = path.removeprefix(base) if path.startswith(f"{base}/") else path
    name = _BY_ROUTE.get(_anonymous(f"{method} {relative}"))
    if name is None:
        raise LookupError(f"{method} {path} has no entry in the table of rate limits (app.core.http.policies.ROUTES)")
    return None if name == UNLIMITED else POLICIES[name]
