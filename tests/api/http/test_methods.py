"""Beside the routes: HEAD stands for GET, OPTIONS tells what there is, other methods are 405, and a slash is a redirect."""

from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from app.core.config import Settings
from tests.api.conftest import Person
from tests.api.http.conftest import Service

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "TRACE", "PROPFIND")


def allow(operations: dict[str, Any]) -> list[str]:
    """Return what ``Allow`` has to list where the document shows these operations."""
    declared = {method.upper() for method in operations}
    return sorted(declared | {"OPTIONS"} | ({"HEAD"} if "GET" in declared else set()))


async def test_a_method_that_a_path_does_not_take_is_405_with_all_it_takes(user: Person, app: FastAPI) -> None:
    for template, operations in app.openapi()["paths"].items():
        path = template.replace("{session_id}", "00000000-0000-0000-0000-000000000000").replace("{", "").replace("}", "")
        for method in {*METHODS} - {each.upper() for each in operations}:
            response = await user.client.request(method, path)
            assert response.status_code == 405, f"{method} {path}"
            assert response.headers["allow"].split(", ") == allow(operations), f"{method} {path}"
            assert response.json()["type"] == "/errors/method-not-allowed"


async def test_options_lists_the_methods_of_a_path(client: httpx.AsyncClient, app: FastAPI) -> None:
    for template, operations in app.openapi()["paths"].items():
        response = await client.options(template.replace("{", "").replace("}", ""))
        assert (response.status_code, response.content) == (204, b"")
        assert response.headers["allow"].split(", ") == allow(operations), template
        assert len(response.headers["x-request-id"]) == 32
    assert (await client.options("/nowhere")).status_code == 404


async def test_head_answers_as_get_without_the_content(user: Person, service: Service) -> None:
    made = await user.client.post("/api/v1/items/", json={"title": "an item"})
    paths = ["/", "/docs", "/health/live", "/health/ready", "/api/v1/openapi.json", "/api/v1/items/", made.headers["location"]]
    async with httpx.AsyncClient(base_url=service.url, headers=user.headers) as client:
        for path in [*paths, "/api/v1/items/9999", "/nowhere"]:
            full, head = await client.get(path), await client.head(path)
            assert (head.status_code, head.content) == (full.status_code, b""), path
            for name in ("content-type", "etag", "cache-control"):
                assert head.headers.get(name) == full.headers.get(name), (path, name)
            if head.is_success:
                assert head.headers["content-length"] == full.headers["content-length"], path


@pytest.mark.parametrize(
    ("path", "location"),
    [
        ("/api/v1/items", "/api/v1/items/"),
        ("/api/v1/items?q=a%20b&limit=1", "/api/v1/items/?q=a%20b&limit=1"),
        ("/api/v1/items/1/", "/api/v1/items/1"),
        ("/docs/", "/docs"),
    ],
)
async def test_a_slash_too_many_or_too_few_is_a_redirect_to_the_same_host(client: httpx.AsyncClient, path: str, location: str) -> None:
    for method in ("GET", "POST", "DELETE"):
        response = await client.request(method, path)
        assert (response.status_code, response.headers["location"], response.content) == (307, location, b"")


async def test_a_redirect_loses_nothing_of_a_request(user: Person) -> None:
    made = await user.client.post("/api/v1/items", json={"title": "an item"}, follow_redirects=True)
    assert (made.status_code, made.json()["title"], made.headers["etag"]) == (201, "an item", '"1"')


@pytest.mark.parametrize("path", ["//", "//docs", "/docs//", "//example.com/", "/docs%2F", "/api/v1/items/1%2F", "/nowhere/"])
async def test_other_slashes_lead_nowhere(client: httpx.AsyncClient, path: str) -> None:
    assert (await client.get(f"http://127.0.0.1{path}")).status_code in {401, 404}


async def test_a_preflight_names_its_origin_once(client: httpx.AsyncClient, settings: Settings) -> None:
    asked = {"Origin": settings.ALLOWED_ORIGINS[0], "Access-Control-Request-Method": "PATCH", "Access-Control-Request-Headers": "if-match"}
    response = await client.options("/api/v1/items/1", headers=asked)
    assert response.status_code == 204
    assert response.headers.get_list("access-control-allow-origin") == [asked["Origin"]]
    assert response.headers.get_list("access-control-allow-credentials") == ["true"]
    assert "PATCH" in response.headers["access-control-allow-methods"]
    assert "If-Match" in response.headers["access-control-allow-headers"]
    assert len(response.headers.get_list("vary")) == 1
    foreign = await client.options("/api/v1/items/1", headers={**asked, "Origin": "https://example.com"})
    assert "access-control-allow-origin" not in foreign.headers
