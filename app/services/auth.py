"""Signing in and staying signed in."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from typing import Final, NamedTuple
from unicodedata import normalize
from uuid import UUID

from app.core.autocommit import Autocommit
from app.core.config import Settings
from app.core.database import WriteSession
from app.core.errors import NotFound, Problem, Unauthorized
from app.core.http.limits import Limits
from app.core.passwords import Passwords, Verification
from app.core.principals import Principals
from app.core.resources import Resources
from app.core.revocations import Revocations
from app.core.security import AccessClaims, Principal, create_access_token, hash_opaque_token, new_opaque_token
from app.crud import session as sessions
from app.crud import user as users
from app.schemas.session import Session
from app.schemas.token import PasswordGrant, RefreshGrant, Token

#: For how long a client whose answer got lost may use the same refresh token again.
REUSE_GRACE: Final = timedelta(seconds=10)


class Client(NamedTuple):
    """Where a request comes from, as far as it says."""

    address: str | None
    user_agent: str | None


class Guard(NamedTuple):
    """What stands between a client and somebody's password."""

    passwords: Passwords
    limits: Limits
    client: Client

    async def verify(self, email: str, password: str, hashed: str | None) -> Verification:
        """Compare a password with an account's, unless too many wrong ones were tried.

        Args:
            email: The account's address, as ``account_of`` spells it; it need not exist.
            password: As given.
            hashed: What is kept, ``None`` where there is no such account; it takes as long.

        Raises:
            TooManyRequests: after too many wrong passwords for the account or from the address.
        """
        await self._refuse_guesser(email)
        verification = await self.passwords.verify(password, hashed)
        if verification.matches:
            # Of guesses that were on their way together, those behind the limit do not count as right either.
            await self._refuse_guesser(email)
        else:
            await self.limits.count("login-address", self.client.address or "")
            await self.limits.count("login-account", email)
        return verification

    async def count_registration(self) -> None:
        """Count what tells whether an address has an account; raises ``TooManyRequests`` where it is too much."""
        await self.limits.count("registration", self.client.address or "")

    async def _refuse_guesser(self, email: str) -> None:
        await self.limits.check("login-address", self.client.address or "")
        await self.limits.check("login-account", email)


class InvalidCredentials(Unauthorized):
    """401: no active account has this address and password."""

    slug = "invalid-credentials"
    title = "Wrong e-mail address or password"
    description = "No active account has this e-mail address and this password."


class InvalidGrant(Unauthorized):
    """401: the refresh token is unknown, or its session ended (RFC 6749, 5.2)."""

    slug = "invalid-grant"
    title = "Invalid refresh token"
    description = "The refresh token is unknown, or its session has ended. Sign in again."


class RefreshReused(Unauthorized):
    """401: the refresh token had been used before, so one of its two users stole it (RFC 9700, 4.14.2)."""

    slug = "refresh-reused"
    title = "Refresh token used twice"
    description = "This refresh token was used before. Its session has been ended, because one of its users may be a thief. Sign in again."


class UnsupportedGrantType(Problem):
    """400: another grant than the route's (RFC 6749, 5.2)."""

    status = 400
    slug = "unsupported-grant-type"
    title = "Unsupported grant type"
    description = "This route serves one grant type only."


@asynccontextmanager
async def watching_sessions(resources: Resources) -> AsyncGenerator[tuple[Principals, Revocations]]:
    """Remember this process's principals, and forget them as soon as any process revokes them, for the length of the block."""
    db = resources.database.autocommit

    async def load(claims: AccessClaims) -> bool | None:
        return await sessions.is_superuser(db, claims.session_id, claims.user_id)

    principals = Principals(resources.settings, load)
    revocations = Revocations(resources.redis, partial(sessions.recently_revoked, db))
    revocations.subscribe(principals.forget)
    async with revocations.watching():
        yield principals, revocations


def account_of(email: str) -> str:
    """Return an address as accounts are told apart by it: its case does not matter."""
    return normalize("NFC", email.strip()).lower()


async def login(db: Autocommit, settings: Settings, guard: Guard, grant: PasswordGrant) -> Token:
    """Start a session for whoever knows the password.

    Args:
        db: Where single statements run.
        settings: Keys and lives of the tokens.
        guard: Compares the password.
        grant: Address and password.

    Raises:
        UnsupportedGrantType: if it is another grant.
        InvalidCredentials: if address and password do not go together, the account is not active or does not exist.
        TooManyRequests: after too many of those.
    """
    if grant.grant_type != "password":
        raise UnsupportedGrantType
    email = account_of(grant.username)
    user_id, hashed = await users.credentials(db, email) or (0, None)
    verification = await guard.verify(email, grant.password, hashed)
    if hashed is None or not verification.matches:
        raise InvalidCredentials
    if verification.replacement is not None and await users.rehash(db, user_id, hashed, verification.replacement):
        hashed = verification.replacement
    token = new_opaque_token()
    session_id = await sessions.start(
        db, user_id, hashed, guard.client.user_agent, guard.client.address, _lifetime(settings), hash_opaque_token(token)
    )
    if session_id is None:
        raise InvalidCredentials
    return _pair(settings, user_id, session_id, token)


async def refresh(db: WriteSession, settings: Settings, revocations: Revocations, grant: RefreshGrant, client: Client) -> Token | None:
    """Exchange a refresh token for the next pair.

    Args:
        db: The transaction; it must be committed even where the answer is ``None``.
        settings: Keys and lives of the tokens.
        revocations: Learns of a session that is ended.
        grant: The refresh token.
        client: Where the request comes from.

    Returns:
        The next pair, ``None`` where the token had been used before: its session has been ended.

    Raises:
        UnsupportedGrantType: if it is another grant.
        InvalidGrant: if the token is unknown, or its session or account no longer stands.
    """
    if grant.grant_type != "refresh_token":
        raise UnsupportedGrantType
    presented = await sessions.present(db, hash_opaque_token(grant.refresh_token), client.user_agent, client.address, REUSE_GRACE)
    if presented is None or not presented.stands:
        raise InvalidGrant
    if presented.used and not presented.in_grace:
        await sessions.end(db, presented.session_id, presented.user_id)
        revocations.announce_after_commit(db, presented.session_id)
        return None
    token = new_opaque_token()
    await sessions.use(db, presented.token_id, client.user_agent, client.address)
    await sessions.renew(db, presented.session_id, client.user_agent, client.address, _lifetime(settings), hash_opaque_token(token))
    return _pair(settings, presented.user_id, presented.session_id, token)


async def list_sessions(db: Autocommit, user: Principal) -> list[Session]:
    """Return the account's sessions that stand, the last used first."""
    names = [column.key for column in sessions.COLUMNS]
    rows = await sessions.standing(db, user.user_id)
    return [Session(**dict(zip(names, row, strict=True)), is_current=row[0] == user.session_id) for row in rows]


async def end_session(db: Autocommit, revocations: Revocations, user: Principal, session_id: UUID) -> None:
    """End one of the account's sessions.

    Raises:
        NotFound: if the account has no such session, or it ended before.
    """
    if not await sessions.end(db, session_id, user.user_id):
        raise NotFound
    revocations.announce(session_id)


async def end_other_sessions(db: Autocommit, revocations: Revocations, user: Principal) -> None:
    """End the account's sessions, all but the one that asks."""
    revocations.announce(*await sessions.end_all(db, user.user_id, kept=user.session_id))


async def purge_sessions(db: WriteSession, settings: Settings, *, limit: int = 1000) -> int:
    """Delete what is left of sessions that ended and of refresh tokens used so long ago that they are over anyway.

    Args:
        db: The transaction.
        settings: How long a session lasts.
        limit: Most rows of a kind deleted at once.

    Returns:
        How many rows went; call again while there are any.
    """
    over = _lifetime(settings)
    return await sessions.purge(db, over, limit) + await sessions.purge_tokens(db, over, limit)


def _lifetime(settings: Settings) -> timedelta:
    return timedelta(days=settings.REFRESH_TOKEN_EXPIRE_DAYS)


def _pair(settings: Settings, user_id: int, session_id: UUID, refresh_token: str) -> Token:
    return Token(
        access_token=create_access_token(settings, user_id=user_id, session_id=session_id),
        refresh_token=refresh_token,
        expires_in=settings.ACCESS_TOKEN_EXPIRE_MINUTES * 60,
    )
