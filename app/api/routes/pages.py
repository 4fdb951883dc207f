"""Pages for people: the API's documentation and the catalogue of errors, all from files the service ships."""

import asyncio
import gzip
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from html import escape
from pathlib import Path
from typing import Annotated, Final

import orjson
from fastapi import APIRouter, FastAPI, Header, Request, Response

from app.api.deps import Settings
from app.core import errors
from app.core.errors import NotFound
from app.core.http.problems import PAGES, type_uri
from app.core.http.route import Route

router = APIRouter(route_class=Route, include_in_schema=False)
api_router = APIRouter(route_class=Route, include_in_schema=False)

FILES: Final = Path(__file__).parents[2] / "static" / "docs"
MEDIA_TYPES: Final = {".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8"}
HASH_CHARS: Final = 12

FOREVER: Final = "public, max-age=31536000, immutable"
REVALIDATED: Final = "no-cache"

#: Swagger UI and ReDoc write styles into the page; ReDoc searches in a worker it makes itself.
DOCS_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self' data:; "
    "connect-src 'self'; worker-src blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
PAGE_POLICY: Final = "default-src 'none'; style-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

#: The one address outside of this host in the files: a logo in ReDoc's margin.
OUTSIDE_LOGO: Final = b"https://cdn.redoc.ly/redoc/logo-mini.svg"
EMPTY_IMAGE: Final = b"data:image/svg+xml,%3Csvg%20xmlns='http://www.w3.org/2000/svg'/%3E"

IfNoneMatch = Annotated[str | None, Header()]
AcceptEncoding = Annotated[str, Header()]


@dataclass(slots=True, frozen=True)
class Content:
    """Something to serve, plain and compressed."""

    plain: bytes
    compressed: bytes
    media_type: str
    tag: str

    @classmethod
    def of(cls, plain: bytes, media_type: str) -> "Content":
        """Return content ready to be served."""
        return cls(plain, gzip.compress(plain, 9, mtime=0), media_type, sha256(plain).hexdigest()[:HASH_CHARS])


@lru_cache(1)
def assets() -> dict[str, Content]:
    """Return the shipped scripts and styles by file name."""
    return {
        path.name: Content.of(path.read_bytes().replace(OUTSIDE_LOGO, EMPTY_IMAGE), MEDIA_TYPES[path.suffix])
        for path in FILES.iterdir()
        if path.suffix in MEDIA_TYPES
    }


def address(file: str) -> str:
    """Return where a shipped file is served; another content has another address, so it may be kept forever."""
    return f"/static/{assets()[file].tag}/{file}"


def respond(content: Content, accept_encoding: str, if_none_match: str | None, cache_control: str, policy: str | None = None) -> Response:
    """Return content, compressed where the client takes that, or 304 where it has it already."""
    tag = f'W/"{content.tag}"'  # weak: the compressed and the plain form share it
    headers = {"Cache-Control": cache_control, "ETag": tag, "Vary": "Accept-Encoding"}
    if policy is not None:
        headers["Content-Security-Policy"] = policy
    if if_none_match is not None and (if_none_match == "*" or tag in if_none_match):
        return Response(status_code=304, headers=headers)
    if "gzip" not in accept_encoding:
        return Response(content.plain, media_type=content.media_type, headers=headers)
    return Response(content.compressed, media_type=content.media_type, headers={**headers, "Content-Encoding": "gzip"})


@router.get("/static/{tag}/{file}")
async def read_static_file(tag: str, file: str, accept_encoding: AcceptEncoding = "", if_none_match: IfNoneMatch = None) -> Response:
    """Serve a script or a style of the documentation."""
    content = (await asyncio.to_thread(assets)).get(file)
    if content is None or content.tag != tag:
        raise NotFound
    return respond(content, accept_encoding, if_none_match, FOREVER)


def page(title: str, head: str, body: str, body_class: str = "") -> Content:
    """Return an HTML page."""
    html = (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,">'
        f'<link rel="stylesheet" href="{address("pages.css")}">{head}</head><body class="{body_class}">{body}</body></html>'
    )
    return Content.of(html.encode(), "text/html; charset=utf-8")


def _script(file: str) -> str:
    return f'<script src="{address(file)}"></script>'


@lru_cache(1)
def swagger_page(title: str, document_url: str) -> Content:
    """Return the page of Swagger UI."""
    style = f'<link rel="stylesheet" href="{address("swagger-ui.css")}">'
    body = f'<div id="swagger-ui" data-url="{escape(document_url)}"></div>{_script("swagger-ui-bundle.js")}{_script("swagger.js")}'
    return page(title, style, body, "wide")


@lru_cache(1)
def redoc_page(title: str, document_url: str) -> Content:
    """Return the page of ReDoc."""
    body = f'<div id="redoc" data-url="{escape(document_url)}"></div>{_script("redoc.standalone.js")}{_script("redoc.js")}'
    return page(title, "", body, "wide")


@router.get("/docs")
async def read_swagger_page(settings: Settings, accept_encoding: AcceptEncoding = "", if_none_match: IfNoneMatch = None) -> Response:
    """Show the API in Swagger UI."""
    content = await asyncio.to_thread(swagger_page, settings.PROJECT_NAME, f"{settings.API_V1_STR}/openapi.json")
    return respond(content, accept_encoding, if_none_match, REVALIDATED, DOCS_POLICY)


@router.get("/redoc")
async def read_redoc_page(settings: Settings, accept_encoding: AcceptEncoding = "", if_none_match: IfNoneMatch = None) -> Response:
    """Show the API in ReDoc."""
    content = await asyncio.to_thread(redoc_page, settings.PROJECT_NAME, f"{settings.API_V1_STR}/openapi.json")
    return respond(content, accept_encoding, if_none_match, REVALIDATED, DOCS_POLICY)


@api_router.get("/openapi.json")
async def read_document(request: Request, accept_encoding: AcceptEncoding = "", if_none_match: IfNoneMatch = None) -> Response:
    """Serve the OpenAPI document."""
    kept = request.app.state
    if not hasattr(kept, "openapi_content"):
        kept.openapi_content = await asyncio.to_thread(_document, request.app)
    content: Content = kept.openapi_content
    return respond(content, accept_encoding, if_none_match, REVALIDATED)


def _document(app: FastAPI) -> Content:
    return Content.of(orjson.dumps(app.openapi(), option=orjson.OPT_INDENT_2), "application/json")


@lru_cache(1)
def error_pages() -> dict[str, Content]:
    """Return the pages of the catalogue of errors by slug, its index under the empty one."""
    catalogue = errors.catalogue()
    rows = "".join(
        f'<tr><td>{each.status}</td><td><a href="{type_uri(each)}">{escape(each.title)}</a></td><td>{_prose(each.description)}</td></tr>'
        for each in catalogue.values()
    )
    table = f"<table><thead><tr><th>Status</th><th>Type</th><th>Meaning</th></tr></thead><tbody>{rows}</tbody></table>"
    index = page("Errors", "", f"<h1>Errors</h1><p>Every error is an object of RFC 9457; its <code>type</code> is one of these.</p>{table}")
    return {"": index, **{slug: _error_page(each) for slug, each in catalogue.items()}}


def _error_page(problem: type[errors.Problem]) -> Content:
    body = (
        f"<h1>{escape(problem.title)}</h1><p>{_prose(problem.description)}</p>"
        f"<p>Status <code>{problem.status}</code>, type <code>{type_uri(problem)}</code>. "
        "Name the <code>request_id</code> of the answer when you report it.</p>"
        f'<p><a href="{PAGES}">All errors</a></p>'
    )
    return page(problem.title, "", body)


def _prose(text: str) -> str:
    """Return text as HTML, what stands between backticks as code."""
    parts = escape(text).split("`")
    return "".join(f"<code>{part}</code>" if index % 2 else part for index, part in enumerate(parts))


@router.get("/errors/")
async def list_error_pages(accept_encoding: AcceptEncoding = "", if_none_match: IfNoneMatch = None) -> Response:
    """Show every type of error."""
    return await _error_response("", accept_encoding, if_none_match)


@router.get("/errors/{slug}")
async def read_error_page(slug: str, accept_encoding: AcceptEncoding = "", if_none_match: IfNoneMatch = None) -> Response:
    """Explain a type of error."""
    return await _error_response(slug, accept_encoding, if_none_match)


async def _error_response(slug: str, accept_encoding: str, if_none_match: str | None) -> Response:
    content = (await asyncio.to_thread(error_pages)).get(slug)
    if content is None:
        raise NotFound
    return respond(content, accept_encoding, if_none_match, REVALIDATED, PAGE_POLICY)
