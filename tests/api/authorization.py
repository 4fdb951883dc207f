"""Who may do what: one row per route, exercised by ``test_contract``. A route without a row fails the suite.

``anonymous`` sends no token; ``other`` is signed in and owns nothing of what the path names; ``owner`` owns it;
``superuser`` is another account with that right.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

ROLES: Final = ("anonymous", "other", "owner", "superuser")


@dataclass(frozen=True, slots=True)
class Row:
    """What a route answers to each role.

    Attributes:
        send: What httpx sends, the path's parameters filled in: ``{item_id}`` and the like stand for what the owner owns.
    """

    anonymous: int
    other: int
    owner: int
    superuser: int
    send: Mapping[str, Any] | None = None


def public(status: int = 200, send: Mapping[str, Any] | None = None) -> Row:
    """A route that is the same for everybody."""
    return Row(status, status, status, status, send)


def own(status: int = 200, send: Mapping[str, Any] | None = None) -> Row:
    """A route that speaks of the caller alone."""
    return Row(401, status, status, status, send)


def owned(status: int = 200, *, superuser: int | None = None, send: Mapping[str, Any] | None = None) -> Row:
    """A route that speaks of something somebody owns; for others it is not there."""
    return Row(401, 404, status, status if superuser is None else superuser, send)


def superusers(status: int = 200, send: Mapping[str, Any] | None = None) -> Row:
    """A route for superusers."""
    return Row(401, 403, 403, status, send)


PASSWORD: Final = "{password}"
FILE: Final = {"files": {"file": ("a.csv", b"title\none\n", "text/csv")}}
UPLOAD: Final = {"filename": "a.csv", "content_type": "text/csv", "size": 3, "checksum_sha256": "0" * 64}

#: Paths of the API without its base path.
TABLE: Final[Mapping[str, Row]] = {
    "GET /": public(),
    "GET /docs": public(),
    "GET /redoc": public(),
    "GET /static/{tag}/{file}": public(404),
    "GET /errors/": public(),
    "GET /errors/{slug}": public(404),
    "GET /openapi.json": public(),
    "GET /health/live": public(),
    "GET /health/ready": public(),
    "GET /health/startup": public(),
    "POST /auth/login": public(200, {"data": {"username": "{email}", "password": PASSWORD}}),
    "POST /auth/refresh": public(401, {"json": {"refresh_token": "unknown"}}),
    "POST /auth/logout": own(204),
    "GET /auth/sessions": own(),
    "DELETE /auth/sessions": own(204),
    "DELETE /auth/sessions/{session_id}": owned(204, superuser=404),
    "POST /users/": public(201, {"json": {"email": "new@example.com", "password": "strongpassword"}}),
    "GET /users/": superusers(),
    "GET /users/me": own(),
    "PATCH /users/me": own(200, {"json": {"email": "changed@example.com"}}),
    "DELETE /users/me": own(204),
    "POST /users/me/password": own(204, {"json": {"current_password": PASSWORD, "new_password": "another strong one"}}),
    "GET /users/{user_id}": owned(),
    "PATCH /users/{user_id}": superusers(200, {"json": {"is_active": True}}),
    "DELETE /users/{user_id}": superusers(204),
    "GET /items/": own(),
    "POST /items/": own(201, {"json": {"title": "one"}}),
    "POST /items/batch": own(201, {"json": [{"title": "one"}]}),
    "POST /items/imports": own(202, FILE),
    "POST /items/imports/uploads": own(201, {"json": UPLOAD}),
    "GET /items/{item_id}": owned(),
    "PATCH /items/{item_id}": owned(200, send={"json": {"title": "two"}}),
    "DELETE /items/{item_id}": owned(204),
    "GET /jobs/": own(),
    "GET /jobs/{job_id}": owned(200, superuser=404),
    "POST /jobs/{job_id}/cancel": owned(200, superuser=404),
    "POST /ws/tickets": own(201),
    "GET /ws": public(426),
}
