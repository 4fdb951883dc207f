"""What every route owes: a row of authorization, a rate limit, and a place in the OpenAPI document that is true."""

import json
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute, iter_route_contexts

from app.core.config import Settings
from app.core.http.policies import ROUTES
from app.main import create_app
from tests.api.authorization import ROLES, TABLE, Row
from tests.api.conftest import PASSWORD, MakePerson, Person

API = "/api/v1"
PAGES = ("/docs", "/redoc", "/static/", "/errors/", "/live")
METHODS = ("get", "post", "put", "patch", "delete")


def routes(app: FastAPI) -> list[str]:
    """Every route as the tables write it, but for the page of the local stack."""
    found = [route for route in iter_route_contexts(app.routes) if isinstance(route.original_route, APIRoute)]
    return [f"{method} {(route.path or '').removeprefix(API)}" for route in found for method in sorted(route.methods or ())]


def operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every operation of the document by the name the tables use."""
    for path, item in document["paths"].items():
        for method in METHODS:
            if method in item:
                yield f"{method.upper()} {path.removeprefix(API)}", item[method]


@pytest.fixture
def document(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document."""
    made: dict[str, Any] = app.openapi()
    return made


# --- every route is in every table


def test_every_route_has_a_row_of_authorization_and_every_row_a_route(app: FastAPI) -> None:
    assert sorted(routes(app)) == sorted(TABLE)


def test_every_entry_of_the_rate_limits_has_a_route(settings: Settings) -> None:

    local = create_app(settings.model_copy(update={"ENVIRONMENT": "local"}))
    assert sorted(route for route in ROUTES if not route.startswith("WEBSOCKET")) == sorted(routes(local))


def test_every_route_of_the_api_is_in_the_document(app: FastAPI, document: dict[str, Any]) -> None:
    hidden = {"GET /openapi.json", "GET /ws", *(route for route in routes(app) if route.partition(" ")[2].startswith(PAGES))}
    assert {name for name, _ in operations(document)} == set(routes(app)) - hidden


def test_the_document_follows_the_base_path(settings: Settings) -> None:
    made = create_app(settings.model_copy(update={"API_V1_STR": "/v2"})).openapi()
    flows = made["components"]["securitySchemes"]["OAuth2PasswordBearer"]["flows"]
    assert flows["password"]["tokenUrl"] == "/v2/auth/login"
    assert {path for path in made["paths"] if not path.startswith("/v2/")} == {"/", "/health/live", "/health/ready", "/health/startup"}


# --- the rows hold


@pytest.fixture
async def owned(owner: Person, superuser_connection: Any) -> dict[str, str]:
    """What the owner owns, by the path parameters that name it."""
    item = await owner.client.post(f"{API}/items/", json={"title": "one"})
    job = await superuser_connection.fetchval("INSERT INTO jobs (owner_id, kind) VALUES ($1, 'import') RETURNING id", owner.id)
    return {
        "item_id": str(item.json()["id"]),
        "job_id": str(job),
        "user_id": str(owner.id),
        "session_id": str(owner.session_id),
        "tag": "none",
        "file": "none",
        "slug": "none",
    }


@pytest.fixture
async def owner(make_person: MakePerson) -> Person:
    """Who owns what the paths name."""
    return await make_person()


def filled(value: Any, caller: Person) -> Any:
    """What is sent, with the caller's own e-mail and password."""
    return json.loads(json.dumps(value).replace("{password}", PASSWORD).replace("{email}", caller.email))


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("route", TABLE)
async def test_a_route_answers_each_role_as_its_row_says(
    app: FastAPI,
    client: httpx.AsyncClient,
    make_person: MakePerson,
    owner: Person,
    owned: dict[str, str],
    document: dict[str, Any],
    route: str,
    role: str,
) -> None:
    row: Row = TABLE[route]
    caller = owner if role == "owner" else await make_person(is_superuser=role == "superuser")
    method, _, path = route.partition(" ")
    base = API if path.startswith(("/auth", "/users", "/items", "/jobs", "/ws", "/openapi")) else ""
    send = dict(row.send or {})
    send = send if "files" in send else filled(send, caller)
    response = await client.request(method, base + path.format(**owned), headers={} if role == "anonymous" else caller.headers, **send)
    assert response.status_code == getattr(row, role), response.text
    declared = dict(operations(document)).get(route)
    assert declared is None or str(response.status_code) in declared["responses"]


def test_who_needs_a_token_is_what_the_document_says(document: dict[str, Any]) -> None:
    for name, operation in operations(document):
        needs_token = bool(operation.get("security")) and {} not in operation["security"]
        assert needs_token == (TABLE[name].anonymous == 401 and name != "POST /auth/refresh"), name


# --- the document is complete


def test_every_operation_has_a_short_name_of_its_own(document: dict[str, Any]) -> None:
    names = [operation["operationId"] for _, operation in operations(document)]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[a-z][a-z_]{2,29}", name) for name in names)


def test_every_operation_has_one_known_tag_a_summary_and_a_description(document: dict[str, Any]) -> None:
    known = {tag["name"] for tag in document["tags"]}
    for name, operation in operations(document):
        assert len(operation["tags"]) == 1, name
        assert set(operation["tags"]) <= known, name
        assert operation["summary"], name
        assert operation["description"], name


def test_every_error_is_a_problem_with_an_example(document: dict[str, Any]) -> None:
    for name, operation in operations(document):
        errors = {status: response for status, response in operation["responses"].items() if status[0] in "45"}
        for status, response in errors.items():
            assert list(response["content"]) == ["application/problem+json"], (name, status)
            content = response["content"]["application/problem+json"]
            assert content["schema"] == {"$ref": "#/components/schemas/ProblemDetails"}
            assert content["examples"], (name, status)


def test_every_operation_declares_the_errors_that_belong_to_what_it_takes(document: dict[str, Any]) -> None:
    for name, operation in operations(document):
        declared = set(operation["responses"])
        assert {"400", "500", "503"} <= declared, name
        assert not operation.get("security") or "401" in declared, name
        assert not operation.get("parameters") or "422" in declared, name
        assert "requestBody" not in operation or {"413", "415", "422"} <= declared, name
        assert ("429" in declared) == (ROUTES[name] != "unlimited"), name
        keyed = any(parameter["name"] == "Idempotency-Key" for parameter in operation.get("parameters", []))
        assert keyed == (name in CREATING), name
        assert not keyed or {"409", "422"} <= declared, name


CREATING = {"POST /users/", "POST /items/", "POST /items/batch", "POST /items/imports", "POST /items/imports/uploads"}


def test_every_answer_documents_its_headers(document: dict[str, Any]) -> None:
    for name, operation in operations(document):
        for status, response in operation["responses"].items():
            assert "X-Request-ID" in response["headers"], (name, status)
        if ROUTES[name] != "unlimited":
            assert "Retry-After" in operation["responses"]["429"]["headers"], name


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    for reference in set(re.findall(r'"\$ref": "#/([^"]+)"', json.dumps(document))):
        found: Any = document
        for part in reference.split("/"):
            found = found[part.replace("~1", "/").replace("~0", "~")]
        assert isinstance(found, dict), reference


def test_nothing_of_fastapis_own_errors_is_left(document: dict[str, Any]) -> None:
    assert "HTTPValidationError" not in json.dumps(document)


def test_a_parameter_may_be_left_out_and_not_be_null(document: dict[str, Any]) -> None:
    for name, operation in operations(document):
        for parameter in operation.get("parameters", []):
            assert "null" not in json.dumps(parameter["schema"]), (name, parameter["name"])


def test_a_patch_takes_both_of_its_media_types(document: dict[str, Any]) -> None:
    content = document["paths"][f"{API}/items/{{item_id}}"]["patch"]["requestBody"]["content"]
    assert set(content) == {"application/json", "application/merge-patch+json"}


def test_the_document_is_the_same_every_time(app: FastAPI, settings: Settings) -> None:

    assert json.dumps(create_app(settings).openapi()) == json.dumps(app.openapi())
