"""Pages for people, from files the service ships."""

import gzip
import re
from collections.abc import AsyncGenerator

import httpx
import pytest
from fastapi import FastAPI

from app.api.routes.pages import FILES, assets
from app.core.errors import catalogue
from tests.api.conftest import client_of

OUTSIDE = re.compile(rb"""(?:src|href)=["'](?:https?:)?//""")


@pytest.fixture
async def reader(app: FastAPI, valkey: object) -> AsyncGenerator[httpx.AsyncClient]:
    """Somebody with a browser."""
    async with client_of(app, {"Accept-Encoding": "gzip"}) as client:
        yield client


@pytest.mark.parametrize(("path", "script"), [("/docs", "swagger-ui-bundle.js"), ("/redoc", "redoc.standalone.js")])
async def test_the_documentation_loads_nothing_from_elsewhere(reader: httpx.AsyncClient, path: str, script: str) -> None:
    page = await reader.get(path)
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert script in page.text
    assert "/api/v1/openapi.json" in page.text
    assert not OUTSIDE.search(page.content)
    policy = page.headers["content-security-policy"]
    assert "http" not in policy
    assert "'unsafe-inline'" not in policy.split("style-src")[0]
    assert "frame-ancestors 'none'" in policy
    for address in re.findall(r'(?:src|href)="(/[^"]+)"', page.text):
        assert (await reader.get(address)).status_code == 200


async def test_no_page_carries_a_script_of_its_own(reader: httpx.AsyncClient) -> None:
    for path in ("/docs", "/redoc", "/errors/"):
        assert re.search(r"<script(?! src=)|\son\w+=|style=", (await reader.get(path)).text) is None


async def test_scripts_are_compressed_and_kept_forever(reader: httpx.AsyncClient) -> None:
    content = assets()["swagger-ui-bundle.js"]
    address = f"/static/{content.tag}/swagger-ui-bundle.js"
    response = await reader.get(address)
    assert response.headers["content-encoding"] == "gzip"
    assert int(response.headers["content-length"]) < len(content.plain) / 2
    assert response.content == content.plain
    assert "immutable" in response.headers["cache-control"]
    unchanged = await reader.get(address, headers={"If-None-Match": response.headers["etag"]})
    assert (unchanged.status_code, unchanged.content) == (304, b"")


async def test_who_takes_no_compression_gets_none(client: httpx.AsyncClient) -> None:
    response = await client.get("/docs", headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in response.headers
    assert response.headers["vary"].startswith("Accept-Encoding")


async def test_a_file_of_another_content_is_not_found(reader: httpx.AsyncClient) -> None:
    assert (await reader.get("/static/000000000000/swagger.js")).status_code == 404
    assert (await reader.get("/static/000000000000/LICENSE.redoc.txt")).status_code == 404
    assert (await reader.get("/static/000000000000/..%2f..%2fmain.py")).status_code == 404


def test_no_shipped_script_names_the_logo_elsewhere() -> None:
    assert b"cdn.redoc.ly" not in assets()["redoc.standalone.js"].plain


def test_the_licences_are_shipped_with_the_files() -> None:
    shipped = {path.name for path in FILES.iterdir()}
    assert {"LICENSE.redoc.txt", "LICENSE.swagger-ui.txt", "NOTICE.swagger-ui.txt", "redoc.standalone.js.LICENSE.txt"} <= shipped


async def test_every_type_of_error_has_its_page(reader: httpx.AsyncClient) -> None:
    index = (await reader.get("/errors/")).text
    for slug, problem in catalogue().items():
        response = await reader.get(f"/errors/{slug}")
        assert response.status_code == 200
        assert f"<h1>{problem.title}</h1>" in response.text
        assert f'href="/errors/{slug}"' in index


async def test_the_type_of_an_answer_leads_to_its_page(reader: httpx.AsyncClient) -> None:
    problem = (await reader.get("/nowhere")).json()
    page = await reader.get(problem["type"])
    assert problem["title"] in page.text


async def test_an_unknown_type_of_error_is_a_404(reader: httpx.AsyncClient) -> None:
    response = await reader.get("/errors/no-such-thing")
    assert response.json()["type"] == "/errors/not-found"


async def test_the_document_is_served_once_and_then_known(reader: httpx.AsyncClient) -> None:
    response = await reader.get("/api/v1/openapi.json")
    assert response.headers["content-type"] == "application/json"
    assert response.json()["openapi"] == "3.1.0"
    unchanged = await reader.get("/api/v1/openapi.json", headers={"If-None-Match": response.headers["etag"]})
    assert unchanged.status_code == 304


def test_the_files_compress_to_themselves() -> None:
    assert all(gzip.decompress(content.compressed) == content.plain for content in assets().values())
