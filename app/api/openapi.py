"""The OpenAPI 3.1 document: what FastAPI knows of the routes, and what every route shares but none declares."""

from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from pydantic.json_schema import models_json_schema

from app.core.config import Settings
from app.core.errors import (
    HeadersTooLarge,
    IdempotencyInProgress,
    IdempotencyKeyReused,
    InternalError,
    InvalidHost,
    MalformedRequest,
    PayloadTooLarge,
    Problem,
    RequestTimeout,
    ServiceUnavailable,
    TooManyRequests,
    Unauthorized,
    UnsupportedMediaType,
    UriTooLong,
    ValidationFailed,
    catalogue,
)
from app.core.http import idempotency, problems
from app.core.http.policies import policy_of
from app.schemas.problem import FieldFault, ProblemDetails

type Json = dict[str, Any]

REQUEST_ID: Final = "00112233445566778899aabbccddeeff"

TAGS: Final[Sequence[Mapping[str, str]]] = (
    {"name": "auth", "description": "Signing in, staying signed in, signing out."},
    {"name": "users", "description": "Accounts."},
    {"name": "items", "description": "Items, one by one, in batches and by import."},
    {"name": "jobs", "description": "Long work: its progress and its result."},
    {"name": "live events", "description": "Live events over WebSocket."},
    {"name": "service", "description": "The service itself."},
)

DESCRIPTION: Final = """
JSON in and out, times in UTC (RFC 3339), integer ids. Errors are problems (RFC 9457); their types are listed at [/errors/](/errors/).
Send `Authorization: Bearer <access token>`; `POST /auth/login` gives one. A `POST` that creates takes an `Idempotency-Key`.
Every answer carries `X-Request-ID`, and `RateLimit` where a limit applies.
"""

HEADERS: Final[Mapping[str, Json]] = {
    "X-Request-ID": {
        "description": "Id of the request: yours if you sent a well-formed one.",
        "schema": {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,128}$"},
    },
    "RateLimit": {
        "description": 'What is left of the limit and when it begins anew: `"<policy>";r=<requests>;t=<seconds>`.',
        "schema": {"type": "string", "examples": ['"read";r=59999;t=60']},
    },
    "RateLimit-Policy": {
        "description": 'The limit: `"<policy>";q=<requests>;w=<seconds>`.',
        "schema": {"type": "string", "examples": ['"read";q=60000;w=60']},
    },
    "Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer", "minimum": 0}},
    "WWW-Authenticate": {"description": "How to authenticate (RFC 6750).", "schema": {"type": "string"}},
    "ETag": {"description": "The version, for `If-Match` and `If-None-Match`.", "schema": {"type": "string", "examples": ['"1"']}},
    "Location": {"description": "Where what was made is found.", "schema": {"type": "string", "format": "uri-reference"}},
    "Link": {"description": "The neighbouring pages (RFC 8288): `next` and `prev`.", "schema": {"type": "string"}},
    "Idempotency-Replayed": {
        "description": "`true` where this is the stored answer to an earlier request with the same key.",
        "schema": {"type": "string", "enum": ["true"]},
    },
}

_HEADERS_OF_STATUS: Final[Mapping[int, Sequence[str]]] = {401: ["WWW-Authenticate"], 429: ["Retry-After"], 503: ["Retry-After"]}


def responses(
    *expected: type[Problem], headers: Mapping[int, Sequence[str]] | None = None, not_modified: bool = False
) -> dict[int | str, Json]:
    """Return what a route declares beside its success, for ``responses=``.

    What every route may answer (see ``_general``) is added by ``document`` and not to be listed.

    Args:
        expected: The problems the route itself raises.
        headers: Headers of successful answers, names of ``HEADERS`` by status.
        not_modified: Whether the route honours ``If-None-Match``.
    """
    declared: dict[int | str, Json] = {}
    for status, names in (headers or {}).items():
        declared[status] = {"headers": _header_references(names)}
    if not_modified:
        declared[304] = {"description": "You have this version already.", "headers": _header_references(["ETag"])}
    for problem in expected:
        _declare(declared, problem.status, problem)
    return declared


def _declare(declared: dict[Any, Json], status: int | str, problem: type[Problem]) -> None:
    response: Json = declared.setdefault(status, {"description": HTTPStatus(problem.status).phrase})
    content: Json = response.setdefault("content", {}).setdefault(
        problems.MEDIA_TYPE, {"schema": {"$ref": "#/components/schemas/ProblemDetails"}, "examples": {}}
    )
    content["examples"][problem.slug] = {"$ref": f"#/components/examples/{problem.slug}"}
    response.setdefault("headers", {}).update(_header_references(_HEADERS_OF_STATUS.get(problem.status, ())))


def _example(problem: type[Problem]) -> Json:
    example: Json = {
        "type": problems.type_uri(problem),
        "title": problem.title,
        "status": problem.status,
        "detail": problem.description,
        "instance": "/api/v1/items/",
        "request_id": REQUEST_ID,
    }
    if problem is ValidationFailed:
        example["errors"] = [{"pointer": "/title", "detail": "String should have at least 1 character"}]
    return example


def _header_references(names: Iterable[str]) -> Json:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def operation_id(route: APIRoute) -> str:
    """Return a route's operation id: the name of its function, which a test keeps unique."""
    return route.name


def install(app: FastAPI, settings: Settings) -> None:
    """Make ``app.openapi()`` return ``document``, made once when it is first asked for."""

    def openapi() -> Json:
        if app.openapi_schema is None:
            app.openapi_schema = document(app, settings)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # how FastAPI's own documentation extends the document


def document(app: FastAPI, settings: Settings) -> Json:
    """Return the OpenAPI document.

    Args:
        app: The application, all routers included.
        settings: Name, version and base path.
    """
    made = get_openapi(
        title=settings.PROJECT_NAME,
        version=settings.VERSION,
        openapi_version="3.1.0",
        summary="A production FastAPI backend.",
        description=DESCRIPTION.strip(),
        routes=app.routes,
        tags=[dict(tag) for tag in TAGS],
        servers=[{"url": "/"}],
    )
    for path, operations in made["paths"].items():
        for method, operation in operations.items():
            _complete(operation, limited=policy_of(method.upper(), path, settings.API_V1_STR) is not None)
    _add_components(made)
    for flow in made["components"]["securitySchemes"]["OAuth2PasswordBearer"]["flows"].values():
        flow |= {"tokenUrl": f"{settings.API_V1_STR}/auth/login", "refreshUrl": f"{settings.API_V1_STR}/auth/refresh"}
    for operations in made["paths"].values():
        for operation in operations.values():
            _name_body(operation, made["components"]["schemas"])
    return made


def _complete(operation: Json, *, limited: bool) -> None:
    parameters: list[Json] = operation.get("parameters", [])
    for parameter in parameters:
        _flatten_optional(parameter)
    keyed = any(parameter["name"] == idempotency.HEADER for parameter in parameters)
    _drop_default_validation_error(operation)
    for problem in _general(operation, limited=limited, keyed=keyed):
        _declare(operation["responses"], str(problem.status), problem)
    body: Json = operation.get("requestBody", {}).get("content", {})
    if "application/merge-patch+json" in body:
        body.setdefault("application/json", body["application/merge-patch+json"])
    for status, response in operation["responses"].items():
        shared = ["X-Request-ID", *(["RateLimit", "RateLimit-Policy"] if limited else [])]
        if keyed and status.startswith("2"):
            shared.append("Idempotency-Replayed")
        response.setdefault("headers", {}).update(_header_references(shared))
    operation["responses"] = dict(sorted(operation["responses"].items()))


def _general(operation: Json, *, limited: bool, keyed: bool) -> list[type[Problem]]:
    """Return the problems an operation may answer because of what it takes, not of what it does."""
    found: list[type[Problem]] = [InvalidHost, RequestTimeout, UriTooLong, HeadersTooLarge, InternalError, ServiceUnavailable]
    if "requestBody" in operation:
        found += [MalformedRequest, PayloadTooLarge, UnsupportedMediaType]
    if "requestBody" in operation or operation.get("parameters"):
        found.append(ValidationFailed)
    if operation.get("security"):
        found.append(Unauthorized)
    if limited:
        found.append(TooManyRequests)
    if keyed:
        found += [IdempotencyInProgress, IdempotencyKeyReused]
    return found


def _drop_default_validation_error(operation: Json) -> None:
    declared = operation["responses"].get("422", {}).get("content", {})
    if declared.get("application/json", {}).get("schema", {}).get("$ref", "").endswith("/HTTPValidationError"):
        del operation["responses"]["422"]


def _flatten_optional(parameter: Json) -> None:
    """Say of an optional parameter that it may be left out, and not that it may be null, which no URL or header can."""
    schema: Json = parameter.get("schema", {})
    alternatives: list[Json] = schema.get("anyOf", [])
    kept = [each for each in alternatives if each.get("type") != "null"]
    if len(kept) < len(alternatives):
        del schema["anyOf"]
        schema.update(kept[0] if len(kept) == 1 else {"anyOf": kept})


def _name_body(operation: Json, schemas: Json) -> None:
    """Move schemas that a route wrote into its body to where generators find their names."""
    for content in operation.get("requestBody", {}).get("content", {}).values():
        name = content["schema"].get("title")
        if name is not None and "items" not in content["schema"]:
            schemas[name] = content["schema"]
            content["schema"] = {"$ref": f"#/components/schemas/{name}"}


def _add_components(made: Json) -> None:
    components: Json = made.setdefault("components", {})
    schemas: Json = components.setdefault("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    _, definitions = models_json_schema(
        [(ProblemDetails, "serialization"), (FieldFault, "serialization")], ref_template="#/components/schemas/{model}"
    )
    schemas.update(definitions["$defs"])
    # Pydantic requires in an answer what has a default; this member is absent where it is empty.
    schemas["ProblemDetails"]["required"] = [name for name in schemas["ProblemDetails"]["required"] if name != "errors"]
    components["headers"] = dict(HEADERS)
    components["examples"] = {slug: {"summary": each.title, "value": _example(each)} for slug, each in catalogue().items()}
