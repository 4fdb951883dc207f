"""Queries on accounts. A deleted account is there for ``purge`` alone."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final

from sqlalchemy import BigInteger, Boolean, Integer, Interval, Select, Text, bindparam, case, delete, func, or_, select, true, update
from sqlalchemy.dialects.postgresql import insert

from app.core.encoding import json_columns
from app.core.statement import Runner, Statement
from app.models import Item, User

COLUMNS: Final = tuple(User.__table__.c[name] for name in ("id", "email", "is_active", "is_superuser", "created_at", "updated_at"))

#: An account as ``json_columns(*COLUMNS)`` give it, in that order.
type Row = Sequence[Any]

NOW: Final = func.clock_timestamp()
_HERE = User.deleted_at.is_(None)
_ID = User.id == bindparam("user_id", type_=BigInteger)

_GET = Statement(select(*json_columns(*COLUMNS)).where(_ID, _HERE), "user_id")


async def get(db: Runner, user_id: int) -> Row | None:
    """Return an account, ``None`` where there is none."""
    return await db.row(_GET, user_id)


_BY_EMAIL = Statement(
    select(User.id, case((User.is_active, User.password_hash))).where(func.lower(User.email) == bindparam("email", type_=Text), _HERE),
    "email",
)


async def credentials(db: Runner, email: str) -> tuple[int, str | None] | None:
    """Return id and password hash of the account of an address, given in lower case; no hash where it is not active."""
    row = await db.row(_BY_EMAIL, email)
    return None if row is None else (row[0], row[1])


_PROOF = Statement(select(User.email, User.password_hash).where(_ID, _HERE), "user_id")


async def proof(db: Runner, user_id: int) -> tuple[str, str] | None:
    """Return address and password hash of an account."""
    row = await db.row(_PROOF, user_id)
    return None if row is None else (row[0], row[1])


_CREATE = Statement(
    insert(User)
    .values(
        email=bindparam("email", type_=Text),
        password_hash=bindparam("password_hash", type_=Text),
        is_active=bindparam("is_active", type_=Boolean),
        is_superuser=bindparam("is_superuser", type_=Boolean),
    )
    .on_conflict_do_nothing(index_elements=[func.lower(User.email)], index_where=_HERE)
    .returning(*json_columns(*COLUMNS)),
    "email",
    "password_hash",
    "is_active",
    "is_superuser",
)


async def create(db: Runner, email: str, password_hash: str, *, is_active: bool, is_superuser: bool) -> Row | None:
    """Insert an account, ``None`` where the address has one."""
    return await db.row(_CREATE, email, password_hash, is_active, is_superuser)


def _page() -> Statement:
    after = bindparam("after_id", type_=BigInteger)
    query = select(*json_columns(*COLUMNS)).where(_HERE, User.id > after).order_by(User.id)
    return Statement(query.limit(bindparam("limit", type_=Integer)).offset(bindparam("skip", type_=Integer)), "after_id", "limit", "skip")


def _page_before() -> Statement:
    query = select(*json_columns(*COLUMNS)).where(_HERE, User.id < bindparam("before_id", type_=BigInteger)).order_by(User.id.desc())
    return Statement(query.limit(bindparam("limit", type_=Integer)), "before_id", "limit")


_PAGE = _page()
_PAGE_BEFORE = _page_before()


async def page(db: Runner, after_id: int, limit: int, skip: int) -> Sequence[Row]:
    """Return up to ``limit`` accounts behind an id, ``skip`` of them passed over."""
    return await db.rows(_PAGE, after_id, limit, skip)


async def page_before(db: Runner, before_id: int, limit: int) -> Sequence[Row]:
    """Return up to ``limit`` accounts before an id, the nearest first."""
    return await db.rows(_PAGE_BEFORE, before_id, limit)


def _update() -> Statement:
    email, is_active, is_superuser = (
        bindparam("email", type_=Text),
        bindparam("is_active", type_=Boolean),
        bindparam("is_superuser", type_=Boolean),
    )
    new_active, new_superuser = func.coalesce(is_active, User.is_active), func.coalesce(is_superuser, User.is_superuser)
    rights_change = or_(new_active != User.is_active, new_superuser != User.is_superuser)
    changed = (
        update(User)
        .where(_ID, _HERE)
        .values(
            email=func.coalesce(email, User.email),
            is_active=new_active,
            is_superuser=new_superuser,
            updated_at=NOW,
            security_changed_at=case((rights_change, NOW), else_=User.security_changed_at),
        )
    )
    return Statement(changed.returning(*json_columns(*COLUMNS)), "user_id", "email", "is_active", "is_superuser")


_UPDATE = _update()


async def change(
    db: Runner, user_id: int, email: str | None, *, is_active: bool | None = None, is_superuser: bool | None = None
) -> Row | None:
    """Change an account; what is ``None`` stays. A right that changes is noticed by every process.

    Returns:
        The account, ``None`` where there is none.

    Raises:
        sqlalchemy.exc.IntegrityError: if another account has the address.
    """
    return await db.row(_UPDATE, user_id, email, is_active, is_superuser)


_IS_FORMER = User.password_hash == bindparam("former", type_=Text)
_SET_PASSWORD = Statement(
    update(User)
    .where(_ID, _HERE, _IS_FORMER)
    .values(password_hash=bindparam("password_hash", type_=Text), updated_at=NOW, security_changed_at=NOW)
    .returning(User.id),
    "user_id",
    "former",
    "password_hash",
)


async def set_password(db: Runner, user_id: int, former: str, password_hash: str) -> bool:
    """Replace a password hash if it is still the ``former`` one; tells whether it was."""
    return await db.value(_SET_PASSWORD, user_id, former, password_hash) is not None


_REHASH = Statement(
    update(User).where(_ID, _IS_FORMER).values(password_hash=bindparam("password_hash", type_=Text)).returning(User.id),
    "user_id",
    "former",
    "password_hash",
)


async def rehash(db: Runner, user_id: int, former: str, password_hash: str) -> bool:
    """Keep the same password under another hash; tells whether ``former`` was still there."""
    return await db.value(_REHASH, user_id, former, password_hash) is not None


_DELETE = Statement(
    update(User).where(_ID, _HERE).values(deleted_at=NOW, updated_at=NOW, security_changed_at=NOW).returning(User.id), "user_id"
)


async def mark_deleted(db: Runner, user_id: int) -> bool:
    """Delete an account for everybody but ``purge``; tells whether there was one."""
    return await db.value(_DELETE, user_id) is not None


def _outdated() -> Select[int]:
    return select(User.id).where(User.deleted_at < func.now() - bindparam("grace", type_=Interval)).order_by(User.deleted_at)


def _purge_items() -> Statement:
    # LATERAL: from the accounts to their items, however many items PostgreSQL takes an account to have.
    limit = bindparam("limit", type_=Integer)
    owners = _outdated().subquery("owners")
    owned = select(Item.id).where(Item.owner_id == owners.c.id).limit(limit).lateral("owned")
    doomed = select(owned.c.id).select_from(owners.join(owned, true())).limit(limit)
    gone = delete(Item).where(Item.id.in_(doomed.scalar_subquery())).returning(Item.id).cte("gone")
    return Statement(select(func.count()).select_from(gone), "grace", "limit")


def _purge_users() -> Statement:
    empty = _outdated().where(~select(Item.id).where(Item.owner_id == User.id).exists()).limit(bindparam("limit", type_=Integer))
    gone = delete(User).where(User.id.in_(empty.scalar_subquery())).returning(User.id).cte("gone")
    return Statement(select(func.count()).select_from(gone), "grace", "limit")


_PURGE_ITEMS = _purge_items()
_PURGE_USERS = _purge_users()


async def purge_items(db: Runner, grace: timedelta, limit: int) -> int:
    """Delete up to ``limit`` items of accounts deleted more than ``grace`` ago and return how many."""
    gone: int = await db.value(_PURGE_ITEMS, grace, limit)
    return gone


async def purge(db: Runner, grace: timedelta, limit: int) -> int:
    """Delete up to ``limit`` accounts without items that were deleted more than ``grace`` ago and return how many."""
    gone: int = await db.value(_PURGE_USERS, grace, limit)
    return gone
