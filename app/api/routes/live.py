"""A page that shows live events as they come, on the local stack alone: it is the example client, not a product."""

import asyncio
from functools import lru_cache
from html import escape
from pathlib import Path
from typing import Final

from fastapi import APIRouter, Response

from app.api.deps import Settings
from app.api.routes.pages import MEDIA_TYPES, REVALIDATED, AcceptEncoding, Content, IfNoneMatch, respond
from app.core.errors import NotFound
from app.core.http.route import Route

router = APIRouter(route_class=Route, include_in_schema=False)

FILES: Final = Path(__file__).parents[2] / "static" / "live"
#: A socket to the page's own host is part of 'self' (CSP level 3, 6.7.2.8).
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


@lru_cache(1)
def _contents(base: str) -> dict[str, Content]:
    """Return the page and its files by name.

    Args:
        base: Base path of the API.
    """
    page = (FILES / "live.html").read_text(encoding="utf-8").replace("BASE", escape(base))
    files = {path.name: Content.of(path.read_bytes(), MEDIA_TYPES[path.suffix]) for path in FILES.iterdir() if path.suffix in MEDIA_TYPES}
    return {"": Content.of(page.encode(), "text/html; charset=utf-8"), **files}


@router.get("/live")
async def read_live_page(settings: Settings, accept_encoding: AcceptEncoding = "", if_none_match: IfNoneMatch = None) -> Response:
    """Show live events as they come."""
    contents = await asyncio.to_thread(_contents, settings.API_V1_STR)
    return respond(contents[""], accept_encoding, if_none_match, REVALIDATED, POLICY)


@router.get("/live/{file}")
async def read_live_file(
    file: str, settings: Settings, accept_encoding: AcceptEncoding = "", if_none_match: IfNoneMatch = None
) -> Response:
    """Serve the page's script or style."""
    content = (await asyncio.to_thread(_contents, settings.API_V1_STR)).get(file)
    if content is None:
        raise NotFound
    return respond(content, accept_encoding, if_none_match, REVALIDATED)
