"""Principals remembered: what an access token proved once is not proved again until it ends or is revoked."""

import time
from collections.abc import Awaitable, Callable
from hashlib import blake2b
from typing import Final

from app.core.config import Settings
from app.core.errors import Unauthorized
from app.core.revocations import Subject
from app.core.security import AccessClaims, InvalidToken, Principal, verify_access_token

#: Principals remembered by one process; the oldest goes first. About 10 MB.
MAX_REMEMBERED: Final = 10_000
#: Longer than a load can take: what was revoked during a load is not remembered by it.
TOMBSTONE_SECONDS: Final = 60

#: Tells whether the account of a session is a superuser, ``None`` where session or account no longer stand.
type Load = Callable[[AccessClaims], Awaitable[bool | None]]


def _key(authorization: bytes) -> bytes:
    """Return what a credential is remembered by: a hash, so that the process holds no list of tokens that still open something."""
    return blake2b(authorization, digest_size=32).digest()


class Principals:
    """The principals of one process, by the hash of the credential that proved them.

    Args:
        settings: What verifies access tokens.
        load: Asks the database, in one statement.
    """

    def __init__(self, settings: Settings, load: Load) -> None:
        self._settings = settings
        self._load = load
        self._known: dict[bytes, Principal] = {}
        self._keys: dict[Subject, set[bytes]] = {}
        self._tombstones: dict[Subject, float] = {}

    def __len__(self) -> int:
        return len(self._known)

    def remembered(self, authorization: bytes) -> Principal | None:
        """Return whom an ``Authorization`` header is known to speak for, ``None`` where it must be verified.

        Args:
            authorization: The header's value as it came.
        """
        principal = self._known.get(_key(authorization))
        if principal is None or principal.expires_at <= time.time():
            return None
        return principal

    async def verify(self, authorization: bytes) -> Principal:
        """Return whom an ``Authorization`` header speaks for, and remember it.

        Args:
            authorization: The header's value as it came.

        Raises:
            Unauthorized: if it is no bearer token (RFC 6750, 2.1) or the token does not hold.
        """
        scheme, _, token = authorization.partition(b" ")
        if scheme.lower() != b"bearer":
            raise Unauthorized
        claims = verify_access_token(self._settings, token.strip().decode("latin-1"))
        while True:
            started = time.monotonic()
            is_superuser = await self._load(claims)
            if is_superuser is None:
                raise InvalidToken
            if not self._changed_since(started, claims):
                break
        principal = Principal(claims.user_id, is_superuser, claims.session_id, claims.expires_at)
        self._remember(_key(authorization), principal)
        return principal

    def forget(self, subject: Subject) -> None:
        """Forget a session's or an account's principals, those included that are being loaded now."""
        now = time.monotonic()
        self._tombstones.pop(subject, None)
        self._tombstones[subject] = now
        while (oldest := next(iter(self._tombstones))) != subject and self._tombstones[oldest] < now - TOMBSTONE_SECONDS:
            del self._tombstones[oldest]
        for key in tuple(self._keys.get(subject, ())):
            self._drop(key)

    def _changed_since(self, moment: float, claims: AccessClaims) -> bool:
        never = float("-inf")
        return max(self._tombstones.get(claims.session_id, never), self._tombstones.get(claims.user_id, never)) >= moment

    def _remember(self, key: bytes, principal: Principal) -> None:
        if len(self._known) >= MAX_REMEMBERED:
            self._drop(next(iter(self._known)))
        self._known[key] = principal
        for subject in (principal.session_id, principal.user_id):
            self._keys.setdefault(subject, set()).add(key)

    def _drop(self, key: bytes) -> None:
        principal = self._known.pop(key)
        for subject in (principal.session_id, principal.user_id):
            self._keys[subject].discard(key)
            if not self._keys[subject]:
                del self._keys[subject]
