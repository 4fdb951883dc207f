"""Items: HTTP and nothing else."""

from typing import Annotated

from fastapi import APIRouter, Body, Header, Path, Request, Response

from app.api.deps import Autocommit, CurrentUser, Settings, Writer, WriteSession
from app.api.openapi import responses
from app.api.pagination import links
from app.api.preconditions import etag, is_current, versions
from app.core.encoding import RowEncoder
from app.core.errors import Forbidden, NotFound, PreconditionFailed
from app.core.http.compile import JSONBytes
from app.core.http.route import Route
from app.crud.item import COLUMNS
from app.schemas.item import Item, ItemCreate, ItemPatch, ItemQueryParameters
from app.services import items
from app.services.items import ID, VERSION

router = APIRouter(prefix="/items", tags=["items"], route_class=Route)

ItemId = Annotated[int, Path(ge=1, le=2**63 - 1, examples=[42])]
IfMatch = Annotated[str | None, Header(description="ETag of the version to change.", examples=['"1"'])]
IfNoneMatch = Annotated[str | None, Header(description="ETag you have already.", examples=['"1"'])]

Batch = Annotated[list[ItemCreate], Body(min_length=1, max_length=100)]
MergePatch = Annotated[ItemPatch, Body(media_type="application/merge-patch+json")]

encoder = RowEncoder(Item, COLUMNS)


@router.get("/", response_model=list[Item], responses=responses(Forbidden, headers={200: ["Link"]}))
async def list_items(request: Request, query: ItemQueryParameters, user: CurrentUser, db: Autocommit, settings: Settings) -> Response:
    """List items, a page at a time; `Link` headers lead to the neighbouring pages."""
    page = await items.search(db, user, query, settings.verification_keys)
    return JSONBytes(encoder.many(page.rows), headers=links(request, page.next_cursor, page.prev_cursor))


@router.post("/", response_model=Item, status_code=201, responses=responses(headers={201: ["ETag", "Location"]}))
async def create_item(request: Request, data: ItemCreate, user: CurrentUser, db: Writer) -> Response:
    """Make an item."""
    row = await items.create(db, user, data)
    location = f"{request.scope['path']}{row[ID]}".encode()
    return JSONBytes(encoder.one(row), 201, [(b"etag", etag(row[VERSION])), (b"location", location)])


@router.post("/batch", response_model=list[Item], status_code=201)
async def create_items(data: Batch, user: CurrentUser, db: Writer) -> Response:
    """Make up to 100 items in one transaction: all or none."""
    return JSONBytes(encoder.many(await items.create_many(db, user, data)), 201)


@router.get("/{item_id}", response_model=Item, responses=responses(NotFound, headers={200: ["ETag"]}, not_modified=True))
async def read_item(item_id: ItemId, user: CurrentUser, db: Autocommit, if_none_match: IfNoneMatch = None) -> Response:
    """Read an item."""
    row = await items.get(db, user, item_id)
    if is_current(if_none_match, row[VERSION]):
        return Response(status_code=304, headers={"etag": etag(row[VERSION]).decode()})
    return JSONBytes(encoder.one(row), headers=[(b"etag", etag(row[VERSION]))])


@router.patch("/{item_id}", response_model=Item, responses=responses(NotFound, PreconditionFailed, headers={200: ["ETag"]}))
async def change_item(item_id: ItemId, patch: MergePatch, user: CurrentUser, db: WriteSession, if_match: IfMatch = None) -> Response:
    """Change an item by a JSON merge patch (RFC 7396)."""
    row = await items.change(db, user, item_id, patch, versions(if_match))
    return JSONBytes(encoder.one(row), headers=[(b"etag", etag(row[VERSION]))])


@router.delete("/{item_id}", status_code=204, responses=responses(NotFound, PreconditionFailed))
async def delete_item(item_id: ItemId, user: CurrentUser, db: Autocommit, if_match: IfMatch = None) -> Response:
    """Delete an item."""
    await items.remove(db, user, item_id, versions(if_match))
    return Response(status_code=204)
