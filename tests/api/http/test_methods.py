"""Methods: HEAD stands for GET, OPTIONS tells what there is, and every other answers 405 with the same list."""

from typing import Any

import httpx
from fastapi import FastAPI

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
