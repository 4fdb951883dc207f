"""Errors on the wire: any exception becomes a problem, a problem becomes bytes (RFC 9457)."""

import http
import logging
from collections.abc import Iterable, Mapping
from typing import Any, Final, cast

import asyncpg
import orjson
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError, WebSocketRequestValidationError
from redis.exceptions import RedisError
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection
from starlette.responses import Response

from app.core import context
from app.core.errors import (
    Conflict,
    FieldError,
    Forbidden,
    InternalError,
    MalformedRequest,
    MethodNotAllowed,
    NotFound,
    PayloadTooLarge,
    Problem,
    ServiceUnavailable,
    TooManyRequests,
    Unauthorized,
    UnsupportedMediaType,
    ValidationFailed,
)
from app.core.http import oauth2
from app.core.sentry import capture

MEDIA_TYPE: Final = "application/problem+json"
PAGES: Final = "/errors/"
MAX_FIELD_ERRORS: Final = 100
MAX_POINTER_CHARS: Final = 200

logger = logging.getLogger(__name__)

type Rendered = tuple[int, list[tuple[bytes, bytes]], bytes]

_BY_STATUS: Final[dict[int, type[Problem]]] = {
    400: MalformedRequest,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    405: MethodNotAllowed,
    409: Conflict,
    413: PayloadTooLarge,
    415: UnsupportedMediaType,
    422: ValidationFailed,
    429: TooManyRequests,
    503: ServiceUnavailable,
}

COLLISION: Final = "The request collided with another one that changed the same. Nothing of it was kept; repeat it."
CONNECTION_LOST: Final = (
    "The database connection was lost while the request was worked on. Repeat it; with the Idempotency-Key of the first attempt "
    "it cannot take effect twice."
)
TOO_SLOW: Final = "The database took too long. Nothing of the request was kept; repeat it in a moment or ask for less."


def type_uri(problem: Problem | type[Problem]) -> str:
    """Return a problem's type: a reference to the page that explains it, the same in every deployment."""
    return PAGES + problem.slug


def render(problem: Problem, *, request_id: str, instance: str) -> Rendered:
    """Return a problem as status, headers and body (RFC 9457, 3).

    Args:
        problem: What happened.
        request_id: Id of the request, repeated in the body.
        instance: Path of the request, as it was sent.
    """
    members: dict[str, object] = {
        "type": type_uri(problem),
        "title": problem.title,
        "status": problem.status,
        "detail": problem.detail,
        "instance": instance,
        "request_id": request_id,
    }
    if problem.errors:
        members["errors"] = problem.errors
    body = _encode(members | oauth2.members(problem, instance) | problem.extra)
    headers = [(b"content-type", MEDIA_TYPE.encode()), (b"content-length", b"%d" % len(body))]
    headers += [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in problem.headers.items()]
    return problem.status, headers, body


def _encode(members: Mapping[str, object]) -> bytes:
    try:
        return orjson.dumps(members)
    except TypeError:  # a lone surrogate in a pointer: the client chose the member's name
        return orjson.dumps(_storable(members))


def _storable(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode(errors="replace").decode()
    if isinstance(value, dict):
        members = cast("dict[str, Any]", value)
        return {_storable(name): _storable(member) for name, member in members.items()}
    if isinstance(value, list):
        return [_storable(entry) for entry in cast("list[object]", value)]
    return value


def from_exception(error: BaseException) -> Problem:
    """Return the problem an exception stands for. What nobody foresaw is logged with its traceback, reported, and becomes a 500.

    Args:
        error: Whatever ended the request.
    """
    found = _known(error)
    if found is not None:
        return found
    logger.error("unhandled error: %s", type(error).__name__, exc_info=error)
    capture(error)
    return InternalError()


def _known(error: BaseException) -> Problem | None:
    if isinstance(error, Problem):
        return error
    if isinstance(error, RequestValidationError | WebSocketRequestValidationError):
        return _from_validation(error.errors())
    if isinstance(error, HTTPException):
        return _from_http(error)
    if isinstance(error, SQLAlchemyError | asyncpg.PostgresError | asyncpg.InterfaceError):
        return _from_database(error)
    if isinstance(error, RedisError | ConnectionError | TimeoutError):
        return ServiceUnavailable()
    return None


def _from_http(error: HTTPException) -> Problem | None:
    # FastAPI wraps whatever reading a body raises in a 400 of its own.
    if isinstance(error.__cause__, Problem):
        return error.__cause__
    cls = _BY_STATUS.get(error.status_code)
    if cls is None:
        return MalformedRequest() if 400 <= error.status_code < 500 else None  # noqa: PLR2004  # the class of client errors
    given = str(error.detail)
    detail = None if given == http.HTTPStatus(error.status_code).phrase else given
    return cls(detail, headers=error.headers)


def _from_validation(faults: Iterable[Any]) -> Problem:
    errors: list[FieldError] = []
    for fault in faults:
        if fault["type"] == "json_invalid":
            reason = fault.get("ctx", {}).get("error") or fault["msg"]
            return MalformedRequest(f"The body is not JSON: {reason}.")
        errors.append({"pointer": pointer(fault["loc"]), "detail": _sentence(fault)})
        if len(errors) == MAX_FIELD_ERRORS:
            break
    return ValidationFailed(errors=errors)


def _sentence(fault: Mapping[str, Any]) -> str:
    message: str = fault["msg"]
    for prefix in ("Value error, ", "Assertion failed, "):
        message = message.removeprefix(prefix)
    return message[:1].upper() + message[1:]


def pointer(location: Iterable[str | int]) -> str:
    """Return a JSON pointer (RFC 6901) for a fault's location as pydantic tells it.

    The first part says where it is (``body``, ``query``, ``path``, ``header``) and is left out; a body as a whole is the
    empty pointer.
    """
    _, *parts = location
    escaped = (str(part).replace("~", "~0").replace("/", "~1") for part in parts)
    return "".join(f"/{part}" for part in escaped)[:MAX_POINTER_CHARS]


def _from_database(error: SQLAlchemyError | asyncpg.PostgresError | asyncpg.InterfaceError) -> Problem | None:
    if isinstance(error, PoolTimeout):
        return ServiceUnavailable("No database connection became free in time; repeat the request in a moment.")
    original: object = error.orig if isinstance(error, DBAPIError) else error
    cause = original.__cause__ if isinstance(original, BaseException) else None
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return ServiceUnavailable(CONNECTION_LOST)
    if any(isinstance(one, asyncpg.DataError) for one in (original, cause)):
        return ValidationFailed("A value cannot be stored: it is out of range or of the wrong form.")
    state = getattr(original, "sqlstate", None)
    if isinstance(state, str):
        return _from_sqlstate(state)
    if any(isinstance(one, asyncpg.InterfaceError) for one in (original, cause)):
        return ServiceUnavailable(CONNECTION_LOST)
    return None


def _from_sqlstate(state: str) -> Problem | None:
    """Return the problem for a condition of PostgreSQL (appendix A of its manual), ``None`` for a fault of ours."""
    if state in {"40001", "40P01", "55P03"}:  # serialization failure, deadlock, lock not available
        return Conflict(COLLISION)
    if state in {"23505", "23503"}:  # unique and foreign keys
        return Conflict()
    if state in {"23514", "54000"} or state[:2] == "22":  # checks, program limits, data exceptions: the last net under validation
        return ValidationFailed("A value cannot be stored: it is out of range or of the wrong form.")
    if state == "57014":  # statement_timeout
        return ServiceUnavailable(TOO_SLOW)
    if state in {"57P01", "57P02", "57P03", "25006", "25P03"} or state[:2] in {"08", "53"}:
        return ServiceUnavailable(CONNECTION_LOST)
    return None


async def respond(request: HTTPConnection, error: Exception) -> Response:
    """Answer an exception that went through FastAPI's own stack."""
    rendered = render(from_exception(error), request_id=context.request_id.get() or "", instance=request.url.path)
    return to_response(rendered)


def to_response(rendered: Rendered) -> Response:
    """Return a rendered problem as Starlette's response."""
    status, headers, body = rendered
    response = Response(body, status)
    response.raw_headers = headers
    return response


def install(app: FastAPI) -> None:
    """Make FastAPI render every error as a problem.

    ``Exception`` goes to Starlette's outermost middleware, which answers and then raises again: whoever runs the app
    finds the answer already begun and has nothing left to do.
    """
    known = (
        Problem,
        RequestValidationError,
        WebSocketRequestValidationError,
        HTTPException,
        SQLAlchemyError,
        asyncpg.PostgresError,
        asyncpg.InterfaceError,
        RedisError,
    )
    for cls in (*known, ConnectionError, TimeoutError, Exception):
        app.add_exception_handler(cls, respond)
