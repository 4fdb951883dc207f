"""The page that shows live events on the local stack."""

import re
from collections.abc import AsyncGenerator

import httpx
import pytest

from app.core.config import Settings
from app.main import create_app
from tests.api.events.conftest import serve


@pytest.fixture(scope="module")
async def local(live_settings: Settings) -> AsyncGenerator[httpx.AsyncClient]:
    app = create_app(live_settings.model_copy(update={"ENVIRONMENT": "local"}))
    async with serve(app) as port, httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        yield client


async def test_the_page_and_all_it_asks_for_come_from_here(local: httpx.AsyncClient) -> None:
    page = await local.get("/live")

    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert 'data-base="/api/v1"' in page.text
    needed = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert {"/live/live.js", "/live/live.css"} <= set(needed)
    for address in needed:
        assert address.startswith(("/", "data:"))
        if address.startswith("/live/"):
            assert (await local.get(address)).status_code == 200


async def test_the_pages_policy_lets_nothing_run_but_its_own_script(local: httpx.AsyncClient) -> None:
    page = await local.get("/live")
    policy = page.headers["Content-Security-Policy"]

    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert not re.search(r"<script>|<style|\son\w+=|\sstyle=", page.text)


async def test_a_file_the_page_does_not_have_is_not_found(local: httpx.AsyncClient) -> None:
    for name in ("live.html", "none.js", "..%2fdocs%2fpages.css"):
        assert (await local.get(f"/live/{name}")).status_code == 404


async def test_the_page_is_nowhere_else(live_settings: Settings) -> None:
    async with serve(create_app(live_settings)) as port, httpx.AsyncClient() as client:
        assert (await client.get(f"http://127.0.0.1:{port}/live")).status_code == 404
