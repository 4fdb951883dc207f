"""Queries on sessions and their refresh tokens."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    BigInteger,
    ColumnElement,
    Integer,
    Interval,
    LargeBinary,
    Select,
    Text,
    Uuid,
    and_,
    bindparam,
    delete,
    func,
    insert,
    literal_column,
    null,
    or_,
    select,
    union_all,
    update,
)
from sqlalchemy.sql.dml import ReturningUpdate

from app.core.statement import Runner, Statement
from app.models import RefreshToken, Session, User

COLUMNS: Final = tuple(Session.__table__.c[name] for name in ("id", "user_agent", "address", "created_at", "last_used_at", "expires_at"))

type Row = Sequence[Any]

#: The moment itself, also behind a lock that was waited for. An index is searched by ``now()``, the statement's beginning.
NOW: Final = func.clock_timestamp()


def _duration(name: str) -> ColumnElement[timedelta]:
    return bindparam(name, type_=Interval)


def _stands() -> ColumnElement[bool]:
    """The session was not ended and is not over."""
    return and_(Session.revoked_at.is_(None), Session.expires_at > NOW)


def _may_sign_in() -> ColumnElement[bool]:
    return and_(User.is_active, User.deleted_at.is_(None))


_STANDING = Statement(
    select(User.is_superuser)
    .join(Session, Session.user_id == User.id)
    .where(Session.id == bindparam("session_id", type_=Uuid), User.id == bindparam("user_id", type_=BigInteger), _stands(), _may_sign_in()),
    "session_id",
    "user_id",
)


async def is_superuser(db: Runner, session_id: UUID, user_id: int) -> bool | None:
    """Return whether a session's account is a superuser, ``None`` where the session or the account no longer stands."""
    found: bool | None = await db.value(_STANDING, session_id, user_id)
    return found


def _recent() -> Statement:
    since = func.now() - _duration("age")
    ended = select(Session.id, null().cast(BigInteger), Session.revoked_at).where(Session.revoked_at > since)
    changed = select(null().cast(Uuid), User.id, User.security_changed_at).where(
        User.security_changed_at > since, User.security_changed_at > User.created_at
    )
    return Statement(union_all(ended, changed), "age")


_RECENT = _recent()


async def recently_revoked(db: Runner, age: timedelta) -> list[tuple[UUID | int, datetime]]:
    """Return the sessions ended and the accounts changed within the last ``age``, and when."""
    return [(user_id if session_id is None else session_id, at) for session_id, user_id, at in await db.rows(_RECENT, age)]


def _start() -> Statement:
    # The lock makes a sign-in and a change of the password wait for each other, so that neither misses the other.
    account = select(User.id, bindparam("user_agent", type_=Text), bindparam("address", type_=Text), NOW + _duration("lifetime")).where(
        User.id == bindparam("user_id", type_=BigInteger), User.password_hash == bindparam("password_hash", type_=Text), _may_sign_in()
    )
    started = (
        insert(Session)
        .from_select(["user_id", "user_agent", "address", "expires_at"], account.with_for_update(read=True))
        .returning(Session.id)
        .cte("started")
    )
    token = select(started.c.id, bindparam("token_hash", type_=LargeBinary))
    issued = insert(RefreshToken).from_select(["session_id", "token_hash"], token).cte("issued")
    query = select(started.c.id).add_cte(issued)
    return Statement(query, "user_id", "password_hash", "user_agent", "address", "lifetime", "token_hash")


_START = _start()


async def start(
    db: Runner, user_id: int, password_hash: str, user_agent: str | None, address: str | None, lifetime: timedelta, token_hash: bytes
) -> UUID | None:
    """Start a session with its first refresh token.

    Args:
        db: Where it runs.
        user_id: Whose it is.
        password_hash: What the password was verified against; the account must still have it.
        user_agent: The client's.
        address: The client's.
        lifetime: Until the session is over.
        token_hash: SHA-256 of the refresh token.

    Returns:
        The session's id, ``None`` where the account changed meanwhile.
    """
    started: UUID | None = await db.value(_START, user_id, password_hash, user_agent, address, lifetime, token_hash)
    return started


class Presented(NamedTuple):
    """A refresh token that a client presents, locked together with its session.

    Attributes:
        token_id: The token.
        session_id: Its session.
        user_id: The session's account.
        stands: Whether the session and the account are alive.
        used: Whether the token was used before.
        in_grace: Whether that was a moment ago, by the client that presents it now.
    """

    token_id: int
    session_id: UUID
    user_id: int
    stands: bool
    used: bool
    in_grace: bool


def _present() -> Statement:
    same_client = and_(
        RefreshToken.used_user_agent.is_not_distinct_from(bindparam("user_agent", type_=Text)),
        RefreshToken.used_address.is_not_distinct_from(bindparam("address", type_=Text)),
    )
    in_grace = and_(RefreshToken.used_at > NOW - _duration("grace"), same_client)
    query = (
        select(
            RefreshToken.id,
            Session.id,
            Session.user_id,
            and_(_stands(), _may_sign_in()),
            RefreshToken.used_at.is_not(None),
            func.coalesce(in_grace, literal_column("false")),
        )
        .join(Session, Session.id == RefreshToken.session_id)
        .join(User, User.id == Session.user_id)
        .where(RefreshToken.token_hash == bindparam("token_hash", type_=LargeBinary))
        .with_for_update(of=(RefreshToken, Session))
    )
    return Statement(query, "token_hash", "user_agent", "address", "grace")


_PRESENT = _present()


async def present(db: Runner, token_hash: bytes, user_agent: str | None, address: str | None, grace: timedelta) -> Presented | None:
    """Return a refresh token and keep others from using it until the transaction ends; ``None`` where it is unknown.

    Args:
        db: The transaction.
        token_hash: SHA-256 of the token.
        user_agent: The client's.
        address: The client's.
        grace: How long the same client may use it again.
    """
    row = await db.row(_PRESENT, token_hash, user_agent, address, grace)
    return None if row is None else Presented(*row)


_USE = Statement(
    update(RefreshToken)
    .where(RefreshToken.id == bindparam("token_id", type_=BigInteger), RefreshToken.used_at.is_(None))
    .values(used_at=NOW, used_user_agent=bindparam("user_agent", type_=Text), used_address=bindparam("address", type_=Text))
    .returning(RefreshToken.id),
    "token_id",
    "user_agent",
    "address",
)


async def use(db: Runner, token_id: int, user_agent: str | None, address: str | None) -> None:
    """Mark a refresh token as used by a client."""
    await db.value(_USE, token_id, user_agent, address)


def _renew() -> Statement:
    renewed = (
        update(Session)
        .where(Session.id == bindparam("session_id", type_=Uuid))
        .values(
            last_used_at=NOW,
            expires_at=NOW + _duration("lifetime"),
            user_agent=bindparam("user_agent", type_=Text),
            address=bindparam("address", type_=Text),
        )
        .returning(Session.id)
        .cte("renewed")
    )
    token = select(renewed.c.id, bindparam("token_hash", type_=LargeBinary))
    issued = insert(RefreshToken).from_select(["session_id", "token_hash"], token).cte("issued")
    return Statement(select(renewed.c.id).add_cte(issued), "session_id", "user_agent", "address", "lifetime", "token_hash")


_RENEW = _renew()


async def renew(db: Runner, session_id: UUID, user_agent: str | None, address: str | None, lifetime: timedelta, token_hash: bytes) -> None:
    """Give a session another refresh token and ``lifetime`` from now."""
    await db.value(_RENEW, session_id, user_agent, address, lifetime, token_hash)


_LIST = Statement(
    select(*COLUMNS)
    .where(Session.user_id == bindparam("user_id", type_=BigInteger), _stands())
    .order_by(Session.last_used_at.desc(), Session.id),
    "user_id",
)


async def standing(db: Runner, user_id: int) -> Sequence[Row]:
    """Return an account's sessions as ``COLUMNS``, the last used first."""
    return await db.rows(_LIST, user_id)


_STILL_STANDING = Statement(
    select(Session.id)
    .join(User, User.id == Session.user_id)
    .where(Session.id == func.any(bindparam("session_ids", type_=ARRAY(Uuid))), _stands(), _may_sign_in()),
    "session_ids",
)


async def still_standing(db: Runner, session_ids: Sequence[UUID]) -> set[UUID]:
    """Return those of some sessions that were not ended, are not over, and whose account may sign in."""
    return {row[0] for row in await db.rows(_STILL_STANDING, session_ids)}


def _end(*which: ColumnElement[bool]) -> ReturningUpdate[UUID]:
    return update(Session).where(*which, Session.revoked_at.is_(None)).values(revoked_at=NOW).returning(Session.id)


_END = Statement(
    _end(
        Session.id == bindparam("session_id", type_=Uuid),
        Session.user_id == bindparam("user_id", type_=BigInteger),
        Session.expires_at > NOW,
    ),
    "session_id",
    "user_id",
)


async def end(db: Runner, session_id: UUID, user_id: int) -> bool:
    """End a session of an account; tells whether there was one to end."""
    return await db.value(_END, session_id, user_id) is not None


_END_ALL = Statement(
    _end(
        Session.user_id == bindparam("user_id", type_=BigInteger),
        Session.id.is_distinct_from(bindparam("kept", type_=Uuid)),
    ),
    "user_id",
    "kept",
)


async def end_all(db: Runner, user_id: int, *, kept: UUID | None = None) -> list[UUID]:
    """End an account's sessions, all but ``kept``, and return their ids."""
    return [row[0] for row in await db.rows(_END_ALL, user_id, kept)]


def _purge(outdated: Select[Any], table: type[Session | RefreshToken]) -> Statement:
    oldest = outdated.limit(bindparam("limit", type_=Integer)).with_for_update(skip_locked=True)
    gone = delete(table).where(table.id.in_(oldest.scalar_subquery())).returning(table.id).cte("gone")
    return Statement(select(func.count()).select_from(gone), "age", "limit")


_PURGE = _purge(
    select(Session.id).where(or_(Session.expires_at < func.now() - _duration("age"), Session.revoked_at < func.now() - _duration("age"))),
    Session,
)
_PURGE_TOKENS = _purge(select(RefreshToken.id).where(RefreshToken.used_at < func.now() - _duration("age")), RefreshToken)


async def purge(db: Runner, age: timedelta, limit: int) -> int:
    """Delete up to ``limit`` sessions that ended more than ``age`` ago and return how many."""
    gone: int = await db.value(_PURGE, age, limit)
    return gone


async def purge_tokens(db: Runner, age: timedelta, limit: int) -> int:
    """Delete up to ``limit`` refresh tokens used more than ``age`` ago and return how many."""
    gone: int = await db.value(_PURGE_TOKENS, age, limit)
    return gone
