"""What may be done with items, and what follows from it."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from pydantic import TypeAdapter

from app.core import cursor
from app.core.database import WriteSession
from app.core.document import Document, encode_document, merge_patch
from app.core.errors import Forbidden, NotFound, PreconditionFailed, ValidationFailed
from app.core.security import Principal
from app.core.statement import Runner
from app.crud import item as crud
from app.crud.item import Row
from app.schemas.item import ItemCreate, ItemPatch, ItemQuery, ItemSort

ID, OWNER_ID, TITLE, DESCRIPTION, ATTRIBUTES, VERSION, CREATED_AT, UPDATED_AT = range(len(crud.COLUMNS))
DOCUMENT: Final[TypeAdapter[Document]] = TypeAdapter(Document)
#: The column of an order, and whether it descends.
_ORDERS: Final = {order: (order.removeprefix("-"), order.startswith("-")) for order in ItemSort}
_POSITION_OF: Final = {"created_at": CREATED_AT, "updated_at": UPDATED_AT, "title": TITLE}


class Page(NamedTuple):
    """A page of rows and the cursors of its neighbours."""

    rows: Sequence[Row]
    next_cursor: str | None
    prev_cursor: str | None


async def get(db: Runner, user: Principal, item_id: int) -> Row:
    """Return an item the user may see.

    Raises:
        NotFound: if there is none, or it is somebody else's.
    """
    row = await crud.get(db, item_id, user.user_id, is_superuser=user.is_superuser)
    if row is None:
        raise NotFound
    return row


async def create(db: Runner, user: Principal, data: ItemCreate) -> Row:
    """Make an item and announce it."""
    return await crud.create(db, user.user_id, data.title, data.description, encode_document(data.attributes))


async def create_many(db: Runner, user: Principal, data: Sequence[ItemCreate]) -> Sequence[Row]:
    """Make items and announce each; all or none."""
    titles = [each.title for each in data]
    descriptions = [each.description for each in data]
    return await crud.create_many(db, user.user_id, titles, descriptions, [encode_document(each.attributes) for each in data])


async def change(db: WriteSession, user: Principal, item_id: int, patch: ItemPatch, versions: list[int] | None) -> Row:
    """Merge a patch into an item and announce it; a patch that changes nothing leaves the version alone.

    Args:
        db: The transaction.
        user: Who asks.
        item_id: The item.
        patch: What changes.
        versions: Versions the caller knows (If-Match), ``None`` for any.

    Raises:
        NotFound: if there is no such item, or it is somebody else's.
        PreconditionFailed: if its version is none of ``versions``.
        ValidationFailed: if the merged attributes are too large.
    """
    row = await crud.lock(db, item_id, user.user_id, is_superuser=user.is_superuser)
    if row is None:
        raise NotFound
    if versions is not None and row[VERSION] not in versions:
        raise PreconditionFailed
    before = (row[TITLE], row[DESCRIPTION], row[ATTRIBUTES])
    after = _merge(row, patch)
    return row if after == before else await crud.set_content(db, item_id, *after)


def _merge(row: Row, patch: ItemPatch) -> tuple[str, str | None, str]:
    title = patch.title if patch.title is not None else row[TITLE]
    description = patch.description if "description" in patch.model_fields_set else row[DESCRIPTION]
    if "attributes" not in patch.model_fields_set:
        return title, description, row[ATTRIBUTES]
    current = DOCUMENT.validate_json(row[ATTRIBUTES])
    merged: Document = {} if patch.attributes is None else merge_patch(current, patch.attributes)
    if merged == current:
        return title, description, row[ATTRIBUTES]
    try:
        return title, description, encode_document(merged)
    except ValueError as error:
        raise ValidationFailed(errors=[{"pointer": "/attributes", "detail": str(error)}]) from error


async def remove(db: Runner, user: Principal, item_id: int, versions: list[int] | None) -> None:
    """Delete an item and announce it.

    Raises:
        NotFound: if there is no such item, or it is somebody else's.
        PreconditionFailed: if its version is none of ``versions``.
    """
    removed = await crud.remove(db, item_id, user.user_id, versions, is_superuser=user.is_superuser)
    if removed is None or (not removed and versions is None):
        raise NotFound
    if not removed:
        raise PreconditionFailed


async def search(db: Runner, user: Principal, query: ItemQuery, keys: Sequence[str]) -> Page:
    """Return a page of the user's items, or of anybody's for a superuser.

    Args:
        db: Where the query runs.
        user: Who asks.
        query: Filters, order and position.
        keys: Keys of cursors, the signing one first.

    Raises:
        Forbidden: if the owner asked for is not the user, who is no superuser.
        ValidationFailed: if the cursor is not of this listing, goes with ``skip``, or ``attributes`` is not a JSON object.
    """
    owner_id = user.user_id if query.owner_id is None else query.owner_id
    if owner_id != user.user_id and not user.is_superuser:
        raise Forbidden("Only superusers list other people's items; leave out `owner_id`.")
    question = cursor.fingerprint(owner_id, query.sort, query.q, query.attributes, query.created_after, query.created_before)
    position = _position(query, question, keys)
    rows = list(await crud.search(db, *_statement(query, owner_id, position)))
    more = len(rows) > query.limit
    del rows[query.limit :]
    backwards = position is not None and position.direction == "prev"
    if backwards:
        rows.reverse()
    column = _POSITION_OF[_ORDERS[query.sort][0]]

    def at(row: Row, direction: cursor.Direction) -> str:
        return cursor.encode(keys[0], question, cursor.Position(direction, row[column], row[ID]))

    has_next, has_prev = (bool(rows), more) if backwards else (more, bool(rows) and (position is not None or query.skip > 0))
    return Page(rows, at(rows[-1], "next") if has_next else None, at(rows[0], "prev") if has_prev else None)


def _position(query: ItemQuery, question: str, keys: Sequence[str]) -> cursor.Position | None:
    if query.cursor is None:
        return None
    if query.skip:
        raise ValidationFailed(errors=[{"pointer": "/skip", "detail": "Use either `cursor` or `skip`."}])
    return cursor.decode(keys, question, query.cursor)


def _statement(query: ItemQuery, owner_id: int, position: cursor.Position | None) -> tuple[Any, ...]:
    """Return the listing's shape and its values in the order ``crud.search`` takes them."""
    column, descending = _ORDERS[query.sort]
    values: list[object] = [owner_id, query.limit + 1, query.skip]
    if position is not None:
        descending ^= position.direction == "prev"
        values += [position.value if column == "title" else datetime.fromisoformat(position.value), position.row_id]
    contained = None if query.attributes is None else _containment(query.attributes)
    clauses = (query.q, contained, query.created_after, query.created_before)
    shape = crud.Listing(column, descending, position is not None, *(clause is not None for clause in clauses))
    return (shape, *values, *(clause for clause in clauses if clause is not None))


def _containment(text: str) -> str:
    try:
        return encode_document(DOCUMENT.validate_json(text))
    except ValueError:
        fault = 'must be a JSON object such as {"colour":"red"}'
        raise ValidationFailed(errors=[{"pointer": "/attributes", "detail": fault}]) from None
