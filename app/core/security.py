"""Credentials: who a request speaks for, and the tokens that say so."""

import hashlib
import re
import secrets
import time
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final
from uuid import UUID, uuid4

from jose import JWTError, jwk, jwt

from app.core.config import Settings
from app.core.errors import Unauthorized

#: Every class of token names its own audience and type, so that one can never stand in for another.
ACCESS_AUDIENCE: Final = "access"
#: RFC 9068, 2.1.
ACCESS_HEADER_TYPE: Final = "at+jwt"
ACCESS_TYPE: Final = "access"

#: What PostgreSQL's bigint holds.
MAX_USER_ID: Final = 2**63 - 1
#: Ours take a third of it. A longer one is refused before anything of it is decoded.
MAX_TOKEN_LENGTH: Final = 1024
#: python-jose skips characters that are not base64url, which would give one token many spellings.
COMPACT_JWS: Final = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
REQUIRED_CLAIMS: Final = {f"require_{name}": True for name in ("aud", "exp", "iat", "iss", "jti", "sub")}

OPAQUE_TOKEN_BYTES: Final = 32


@dataclass(slots=True, frozen=True)
class Principal:
    """Whom an access token speaks for, as long as nothing revokes it.

    Attributes:
        user_id: The account.
        is_superuser: Whether the account may act on others.
        session_id: The session the token belongs to (claim ``sid``).
        expires_at: When the token ends, in seconds since the epoch.
    """

    user_id: int
    is_superuser: bool
    session_id: UUID
    expires_at: float


@dataclass(slots=True, frozen=True)
class AccessClaims:
    """What a verified access token says; whether its session still stands, the database knows."""

    user_id: int
    session_id: UUID
    expires_at: int


def create_access_token(settings: Settings, *, user_id: int, session_id: UUID, now: float | None = None) -> str:
    """Return a signed access token (RFC 7519, profile of RFC 9068).

    Args:
        settings: Signing key, algorithm, issuer and life of the token.
        user_id: Whom it speaks for (``sub``).
        session_id: The session it ends with (``sid``).
        now: When it is issued, in seconds since the epoch; the present unless given.
    """
    issued_at = int(time.time() if now is None else now)
    claims: dict[str, Any] = {
        "iss": settings.PUBLIC_URL,
        "aud": ACCESS_AUDIENCE,
        "typ": ACCESS_TYPE,
        "sub": str(user_id),
        "sid": str(session_id),
        "jti": uuid4().hex,
        "iat": issued_at,
        "exp": issued_at + settings.ACCESS_TOKEN_EXPIRE_MINUTES * 60,
    }
    key = _keys(settings.ALGORITHM, settings.verification_keys)[0]
    token: str = jwt.encode(claims, key, algorithm=settings.ALGORITHM, headers={"typ": ACCESS_HEADER_TYPE})
    return token


def verify_access_token(settings: Settings, token: str) -> AccessClaims:
    """Return what an access token says, once signature, issuer, audience, type and times hold.

    Args:
        settings: Keys that verify, the one algorithm, the issuer.
        token: As sent by the client.

    Raises:
        Unauthorized: if it is not an access token of ours or is over.
    """
    if len(token) > MAX_TOKEN_LENGTH or COMPACT_JWS.fullmatch(token) is None:
        raise InvalidToken
    try:
        claims = _verified_claims(settings, token)
        user_id = int(claims["sub"])
        if user_id > MAX_USER_ID:
            raise InvalidToken
        return AccessClaims(user_id=user_id, session_id=UUID(claims["sid"]), expires_at=int(claims["exp"]))
    except (JWTError, KeyError, TypeError, ValueError, OverflowError, AttributeError, RecursionError) as error:
        raise InvalidToken from error


class InvalidToken(Unauthorized):
    """401: an access token that does not hold (RFC 6750, 3.1)."""

    description = "The access token is invalid, over or revoked. Get a new one with the refresh token, or sign in again."

    def __init__(self) -> None:
        super().__init__(headers={"WWW-Authenticate": 'Bearer error="invalid_token"'})


def new_opaque_token() -> str:
    """Return a random token of 256 bits that says nothing by itself, in the characters of base64url."""
    return secrets.token_urlsafe(OPAQUE_TOKEN_BYTES)


def hash_opaque_token(token: str) -> bytes:
    """Return what is kept of an opaque token. It is random, so a fast hash is enough."""
    return hashlib.sha256(token.encode(errors="surrogatepass")).digest()


def _verified_claims(settings: Settings, token: str) -> dict[str, Any]:
    if jwt.get_unverified_header(token).get("typ") != ACCESS_HEADER_TYPE:
        raise JWTError("another type of token")
    claims: dict[str, Any] = jwt.decode(
        token,
        _keys(settings.ALGORITHM, settings.verification_keys),
        algorithms=[settings.ALGORITHM],
        audience=ACCESS_AUDIENCE,
        issuer=settings.PUBLIC_URL,
        options=REQUIRED_CLAIMS,
    )
    if claims.get("typ") != ACCESS_TYPE:
        raise JWTError("another class of token")
    return claims


@lru_cache(maxsize=4)
def _keys(algorithm: str, secrets_: tuple[str, ...]) -> tuple[Any, ...]:
    """Return python-jose's keys. Given text, it would take one that reads as JSON for a set of keys."""
    return tuple(jwk.construct(secret, algorithm) for secret in secrets_)
