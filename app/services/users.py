"""Accounts: who may make, see and change them, and what follows."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Final, NamedTuple

from sqlalchemy.exc import IntegrityError

from app.core import cursor
from app.core.autocommit import Autocommit
from app.core.database import WriteSession
from app.core.errors import Conflict, Forbidden, NotFound, ValidationFailed
from app.core.passwords import hash_password, verify_password
from app.core.revocations import Revocations
from app.core.security import Principal
from app.core.statement import Runner
from app.crud import outbox
from app.crud import session as sessions
from app.crud import user as crud
from app.crud.user import Row
from app.schemas.user import PasswordChange, UserCreate, UserPatch, UserPatchMe, UserQuery
from app.services.auth import Guard, account_of

ID: Final = 0
QUESTION: Final = cursor.fingerprint("users")
WELCOME: Final = "app.tasks.email_tasks.send_welcome_email"


class EmailTaken(Conflict):
    """409: another account has the address."""

    slug = "email-taken"
    title = "E-mail address taken"
    description = "Another account has this e-mail address. Sign in to it, or choose another address."


class WrongPassword(Forbidden):
    """403: the present password given as a proof is not it."""

    slug = "wrong-password"
    title = "Wrong password"
    description = "The present password is another one."


class Page(NamedTuple):
    """A page of accounts and the cursors of its neighbours."""

    rows: Sequence[Row]
    next_cursor: str | None
    prev_cursor: str | None


async def register(db: WriteSession, guard: Guard, data: UserCreate, caller: Principal | None) -> Row:
    """Make an account and promise its welcome mail.

    Args:
        db: The transaction.
        guard: Hashes the password and counts registrations.
        data: The account.
        caller: Who is signed in, if anybody is.

    Raises:
        Forbidden: if anybody but a superuser asks for a superuser or for an account that may not sign in.
        TooManyRequests: after too many registrations from one address; a superuser's do not count.
        EmailTaken: if an account has the address.
    """
    if caller is None or not caller.is_superuser:
        if "is_superuser" in data.model_fields_set:
            raise Forbidden("Only a superuser may set `is_superuser`; leave it out.")
        if not data.is_active:
            raise Forbidden("Only a superuser may make an account that cannot sign in; leave out `is_active`.")
        await guard.count_registration()
    hashed = await guard.passwords.hash(data.password)
    row = await crud.create(db, data.email, hashed, is_active=data.is_active, is_superuser=data.is_superuser)
    if row is None:
        raise EmailTaken
    await outbox.add_task(db, WELCOME, {"user_id": row[ID]})
    return row


async def get(db: Runner, user: Principal, user_id: int) -> Row:
    """Return the user's own account, or anybody's for a superuser.

    Raises:
        NotFound: if there is none, or it is somebody else's.
    """
    row = await crud.get(db, user_id) if user.user_id == user_id or user.is_superuser else None
    if row is None:
        raise NotFound
    return row


async def search(db: Runner, query: UserQuery, keys: Sequence[str]) -> Page:
    """Return a page of all accounts in the order of their ids.

    Args:
        db: Where the query runs.
        query: The page.
        keys: Keys of cursors, the signing one first.

    Raises:
        ValidationFailed: if the cursor is not of this listing, or goes with ``skip``.
    """
    position = None if query.cursor is None else cursor.decode(keys, QUESTION, query.cursor)
    if position is not None and query.skip:
        raise ValidationFailed(errors=[{"pointer": "/skip", "detail": "Use either `cursor` or `skip`."}])
    backwards = position is not None and position.direction == "prev"
    start = 0 if position is None else position.row_id
    rows = list(
        await crud.page_before(db, start, query.limit + 1) if backwards else await crud.page(db, start, query.limit + 1, query.skip)
    )
    more = len(rows) > query.limit
    del rows[query.limit :]
    if backwards:
        rows.reverse()
    has_next, has_prev = (bool(rows), more) if backwards else (more, bool(rows) and (position is not None or query.skip > 0))

    def at(row: Row, direction: cursor.Direction) -> str:
        return cursor.encode(keys[0], QUESTION, cursor.Position(direction, "", row[ID]))

    return Page(rows, at(rows[-1], "next") if has_next else None, at(rows[0], "prev") if has_prev else None)


async def change_own(db: WriteSession, guard: Guard, user: Principal, patch: UserPatchMe) -> Row:
    """Change the user's own account.

    Raises:
        EmailTaken: if another account has the address. It counts as a registration, as it tells who has an account.
        NotFound: if the account was deleted meanwhile.
    """
    try:
        return await _change(db, user.user_id, UserPatch(**patch.model_dump(exclude_unset=True)))
    except EmailTaken:
        await guard.count_registration()
        raise


async def change(db: WriteSession, revocations: Revocations, user_id: int, patch: UserPatch) -> Row:
    """Change any account. Its principals are loaded anew everywhere, and its sessions end where it may not sign in any more.

    Raises:
        EmailTaken: if another account has the address.
        NotFound: if there is no such account.
    """
    row = await _change(db, user_id, patch)
    ended = await sessions.end_all(db, user_id) if patch.is_active is False else []
    revocations.announce_after_commit(db, user_id, *ended)
    return row


async def _change(db: WriteSession, user_id: int, patch: UserPatch) -> Row:
    try:
        row = await crud.change(db, user_id, patch.email, is_active=patch.is_active, is_superuser=patch.is_superuser)
    except IntegrityError as error:
        raise EmailTaken from error
    if row is None:
        raise NotFound
    return row


async def change_password(
    db: WriteSession, reads: Autocommit, guard: Guard, revocations: Revocations, user: Principal, data: PasswordChange
) -> None:
    """Replace the user's password and end all other sessions.

    Args:
        db: The transaction, begun once the slow comparison is over.
        reads: Where the present password is read.
        guard: Compares and hashes.
        revocations: Learns of the sessions ended.
        user: Whose password it is.
        data: The present password and the new one.

    Raises:
        WrongPassword: if the present one is not it. It counts as a wrong sign-in.
        TooManyRequests: after too many of those.
        Conflict: if another request changed the password meanwhile.
    """
    email, former = await crud.proof(reads, user.user_id) or ("", None)
    if not (await guard.verify(account_of(email), data.current_password, former)).matches or former is None:
        raise WrongPassword
    hashed = await guard.passwords.hash(data.new_password)
    if not await crud.set_password(db, user.user_id, former, hashed):
        raise Conflict("Another request changed the password meanwhile.")
    ended = await sessions.end_all(db, user.user_id, kept=user.session_id)
    revocations.announce_after_commit(db, user.user_id, *ended)


async def remove(db: WriteSession, revocations: Revocations, user_id: int) -> None:
    """Delete an account for everybody and end its sessions; what it owns goes after a grace period.

    Raises:
        NotFound: if there is no such account.
    """
    if not await crud.mark_deleted(db, user_id):
        raise NotFound
    revocations.announce_after_commit(db, user_id, *await sessions.end_all(db, user_id))


async def purge_deleted_users(db: WriteSession, *, grace: timedelta, limit: int = 1000) -> int:
    """Delete for good, a part at a time, accounts that were deleted more than ``grace`` ago, with all they own.

    Args:
        db: The transaction.
        grace: How long a deleted account is kept.
        limit: Most items, and most accounts, deleted at once.

    Returns:
        How many rows went; call again while there are any.
    """
    items = await crud.purge_items(db, grace, limit)
    return items if items == limit else items + await crud.purge(db, grace, limit)


async def ensure_superuser(db: WriteSession, email: str, password: str) -> int:
    """Make sure that an active superuser has the address and the password, and return its id."""
    hashed = await asyncio.to_thread(hash_password, password)
    row = await crud.create(db, email, hashed, is_active=True, is_superuser=True)
    if row is not None:
        made: int = row[ID]
        return made
    found = await crud.credentials(db, account_of(email))
    assert found is not None  # noqa: S101  # the address is taken, so somebody has it
    user_id = found[0]
    await crud.change(db, user_id, None, is_active=True, is_superuser=True)
    proof = await crud.proof(db, user_id)
    if proof is not None and not (await asyncio.to_thread(verify_password, password, proof[1])).matches:
        await crud.set_password(db, user_id, proof[1], hashed)
    return user_id
