"""Queries on items. Each is one statement, compiled once; whoever runs it decides whether it is a transaction of its own."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple

from sqlalchemy import (
    CTE,
    BigInteger,
    Boolean,
    ColumnElement,
    DateTime,
    Integer,
    Text,
    and_,
    bindparam,
    cast,
    delete,
    func,
    insert,
    literal_column,
    or_,
    select,
    tuple_,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.encoding import json_columns
from app.core.statement import Batchable, Runner, Statement, lookup
from app.crud.outbox import event_insert
from app.models import Item
from app.models.item import SEARCH_VECTOR

COLUMNS: Final = tuple(
    Item.__table__.c[name] for name in ("id", "owner_id", "title", "description", "attributes", "version", "created_at", "updated_at")
)

#: An item as ``json_columns(*COLUMNS)`` give it, in that order.
type Row = Sequence[Any]


def _changed(name: str, changed: CTE) -> CTE:
    """Announce the rows of a data-modifying CTE: an outbox row each, in the same statement."""
    return event_insert(name, changed.c.owner_id, func.to_jsonb(changed.table_valued()), changed).cte("announced")


def _mine() -> ColumnElement[bool]:
    """Only the owner's, unless a superuser asks."""
    return or_(Item.owner_id == bindparam("user_id", type_=BigInteger), bindparam("is_superuser", type_=Boolean))


_GET = lookup(
    json_columns(*COLUMNS),
    Item.__table__,
    lambda asked: and_(Item.id == asked.item_id, or_(Item.owner_id == asked.user_id, asked.is_superuser)),
    item_id=BigInteger,
    user_id=BigInteger,
    is_superuser=Boolean,
)


async def get(db: Runner, item_id: int, user_id: int, *, is_superuser: bool) -> Row | None:
    """Return an item, ``None`` where there is none or it is somebody else's."""
    return await db.batched(_GET, item_id, user_id, is_superuser)


_GIVEN: Final = ("owner_id", "title", "description", "attributes")


def _create() -> Batchable:
    made = (
        insert(Item)
        .values(
            owner_id=bindparam("owner_id", type_=BigInteger),
            title=bindparam("title", type_=Text),
            description=bindparam("description", type_=Text),
            attributes=cast(bindparam("attributes", type_=Text), JSONB),
        )
        .returning(*COLUMNS)
        .cte("made")
    )
    query = select(*json_columns(*made.c)).add_cte(_changed("item.created", made))
    return Batchable(Statement(query, *_GIVEN), _create_together())


def _create_together() -> Statement:
    arrays = [bindparam(name, type_=ARRAY(BigInteger if name == "owner_id" else Text)) for name in _GIVEN]
    given = func.unnest(*arrays).table_valued(*_GIVEN, with_ordinality="caller").render_derived()
    rows = select(given.c.owner_id, given.c.title, given.c.description, cast(given.c.attributes, JSONB)).order_by(given.c.caller)
    made = insert(Item).from_select([*_GIVEN], rows).returning(*COLUMNS).cte("made")
    # Identity values are drawn in the order of the rows, so the ids carry it back.
    caller = func.row_number().over(order_by=made.c.id)
    return Statement(select(caller, *json_columns(*made.c)).add_cte(_changed("item.created", made)), *_GIVEN)


_CREATE = _create()


async def create(db: Runner, owner_id: int, title: str, description: str | None, attributes: str) -> Row:
    """Insert an item and its event.

    Args:
        db: Where it runs.
        owner_id: Whose it is.
        title: 1 to 200 characters.
        description: At most 10,000 characters.
        attributes: A JSON object as text.
    """
    row = await db.batched(_CREATE, owner_id, title, description, attributes)
    assert row is not None  # noqa: S101  # INSERT ... RETURNING gives a row or raises
    return row


def _create_many() -> Statement:
    given = (
        func.unnest(
            bindparam("titles", type_=ARRAY(Text)), bindparam("descriptions", type_=ARRAY(Text)), bindparam("attributes", type_=ARRAY(Text))
        )
        .table_valued("title", "description", "attributes", with_ordinality="position")
        .render_derived()
    )
    rows = select(bindparam("owner_id", type_=BigInteger), given.c.title, given.c.description, cast(given.c.attributes, JSONB)).order_by(
        given.c.position
    )
    made = insert(Item).from_select(["owner_id", "title", "description", "attributes"], rows).returning(*COLUMNS).cte("made")
    # Identity values are drawn in the order of the rows, so the ids carry it back.
    query = select(*json_columns(*made.c)).order_by(made.c.id).add_cte(_changed("item.created", made))
    return Statement(query, "owner_id", "titles", "descriptions", "attributes")


_CREATE_MANY = _create_many()


async def create_many(db: Runner, owner_id: int, titles: list[str], descriptions: list[str | None], attributes: list[str]) -> Sequence[Row]:
    """Insert items and their events; all or none. The rows come back in the order given."""
    return await db.rows(_CREATE_MANY, owner_id, titles, descriptions, attributes)


_LOCK = Statement(
    select(*json_columns(*COLUMNS)).where(Item.id == bindparam("item_id", type_=BigInteger), _mine()).with_for_update(),
    "item_id",
    "user_id",
    "is_superuser",
)


async def lock(db: Runner, item_id: int, user_id: int, *, is_superuser: bool) -> Row | None:
    """Return an item as ``get`` does and keep others from changing it until the transaction ends."""
    return await db.row(_LOCK, item_id, user_id, is_superuser)


def _update() -> Statement:
    changed = (
        update(Item)
        .where(Item.id == bindparam("item_id", type_=BigInteger))
        .values(
            title=bindparam("title", type_=Text),
            description=bindparam("description", type_=Text),
            attributes=cast(bindparam("attributes", type_=Text), JSONB),
            version=Item.version + 1,
            updated_at=func.clock_timestamp(),
        )
        .returning(*COLUMNS)
        .cte("changed")
    )
    query = select(*json_columns(*changed.c)).add_cte(_changed("item.updated", changed))
    return Statement(query, "item_id", "title", "description", "attributes")


_UPDATE = _update()


async def set_content(db: Runner, item_id: int, title: str, description: str | None, attributes: str) -> Row:
    """Give a locked item new content, count its version up and announce it."""
    row = await db.row(_UPDATE, item_id, title, description, attributes)
    assert row is not None  # noqa: S101  # the caller holds the row's lock
    return row


def _delete() -> Statement:
    found = select(Item.id, Item.version).where(Item.id == bindparam("item_id", type_=BigInteger), _mine()).with_for_update().cte("found")
    versions = bindparam("versions", type_=ARRAY(Integer))
    gone = (
        delete(Item)
        .where(Item.id == found.c.id, or_(versions.is_(None), found.c.version == func.any(versions)))
        .returning(Item.id, Item.owner_id)
        .cte("gone")
    )
    announced = event_insert("item.deleted", gone.c.owner_id, func.jsonb_build_object("id", gone.c.id), gone).cte("announced")
    query = select(gone.c.id).select_from(found.outerjoin(gone, gone.c.id == found.c.id)).add_cte(announced)
    return Statement(query, "item_id", "user_id", "is_superuser", "versions")


_DELETE = _delete()


async def remove(db: Runner, item_id: int, user_id: int, versions: list[int] | None, *, is_superuser: bool) -> bool | None:
    """Delete an item and announce it.

    Returns:
        Whether it was deleted (its version was among ``versions``, or ``versions`` is ``None``); ``None`` where there is no such item.
    """
    row = await db.row(_DELETE, item_id, user_id, is_superuser, versions)
    return None if row is None else row[0] is not None


class Listing(NamedTuple):
    """The shape of a listing: which clauses its statement has. Each shape is compiled once."""

    column: str
    descending: bool
    after_row: bool
    search: bool
    containment: bool
    created_after: bool
    created_before: bool


_SORT_COLUMNS: Final = {"created_at": Item.created_at, "updated_at": Item.updated_at, "title": Item.title}


@lru_cache(maxsize=512)
def _list(shape: Listing) -> Statement:
    column = _SORT_COLUMNS[shape.column]
    parameters = ["owner_id", "limit", "skip"]
    clauses: list[ColumnElement[bool]] = [Item.owner_id == bindparam("owner_id", type_=BigInteger)]
    if shape.after_row:
        here = tuple_(column, Item.id)
        there = tuple_(bindparam("after_value", type_=column.type), bindparam("after_id", type_=BigInteger))
        clauses.append(here < there if shape.descending else here > there)
        parameters += ["after_value", "after_id"]
    if shape.search:
        words = func.websearch_to_tsquery(literal_column("'simple'::regconfig"), bindparam("q", type_=Text))
        clauses.append(SEARCH_VECTOR.bool_op("@@")(words))
        parameters.append("q")
    if shape.containment:
        clauses.append(Item.attributes.contains(cast(bindparam("contained", type_=Text), JSONB)))
        parameters.append("contained")
    if shape.created_after:
        clauses.append(Item.created_at > bindparam("created_after", type_=DateTime(timezone=True)))
        parameters.append("created_after")
    if shape.created_before:
        clauses.append(Item.created_at < bindparam("created_before", type_=DateTime(timezone=True)))
        parameters.append("created_before")
    order = (column.desc(), Item.id.desc()) if shape.descending else (column, Item.id)
    query = select(*json_columns(*COLUMNS)).where(and_(*clauses)).order_by(*order)
    return Statement(query.limit(bindparam("limit", type_=Integer)).offset(bindparam("skip", type_=Integer)), *parameters)


async def search(db: Runner, shape: Listing, *values: object) -> Sequence[Row]:
    """Return items of an owner.

    Args:
        db: Where it runs.
        shape: Which clauses there are.
        values: Owner, limit and offset, then the value of each clause of ``shape`` in its order (a row's position counts two).
    """
    return await db.rows(_list(shape), *values)


async def copy(session: AsyncSession, owner_id: int, rows: Sequence[tuple[str, str | None, str]]) -> None:
    """Insert items by ``COPY``, in the session's transaction, which must have begun. No event announces them.

    Args:
        session: Where it runs.
        owner_id: Whose they are.
        rows: Title, description, and attributes as JSON text.
    """
    connection = await (await session.connection()).get_raw_connection()
    driver: Any = connection.driver_connection
    records = ((owner_id, *row) for row in rows)
    await driver.copy_records_to_table("items", records=records, columns=("owner_id", "title", "description", "attributes"))
