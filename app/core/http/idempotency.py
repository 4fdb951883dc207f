"""Requests that take effect once, however often they are sent (the Idempotency-Key header).

The answer is stored in the transaction of the effect: either both are there or neither is. Two requests with one key
meet at an advisory lock, which PostgreSQL lets go of with the transaction.
"""

import hashlib
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Annotated, Any, Final

from fastapi import Header
from sqlalchemy import DateTime, Integer, LargeBinary, column, func, select, table
from sqlalchemy.dialects.postgresql import JSONB, insert
from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import Response

from app.core.database import WriteSession
from app.core.errors import IdempotencyInProgress, IdempotencyKeyReused, ValidationFailed

LIFETIME: Final = timedelta(hours=24)
MAX_KEY_CHARS: Final = 255
REPLAYED: Final = (b"idempotency-replayed", b"true")
SCOPE_KEY: Final = "idempotency"
CHUNK_BYTES: Final = 64 * 1024

#: The table of ``app.models.idempotency``, which lies above this layer.
ANSWERS: Final = table(
    "idempotency_keys",
    column("key_hash", LargeBinary),
    column("request_hash", LargeBinary),
    column("status", Integer),
    column("headers", JSONB),
    column("body", LargeBinary),
    column("created_at", DateTime(timezone=True)),
)
#: Made anew for the answer when it is sent.
NOT_STORED: Final = frozenset({b"content-length", b"date", b"set-cookie"})

IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=MAX_KEY_CHARS,
        pattern=r"^[\x20-\x7e]+$",
        description="Makes the request take effect once: within 24 hours, the same key with the same body gets the first answer again.",
    ),
]


class Replayed(Exception):  # noqa: N818  # not an error: the stored answer
    """The request was answered before. Raised where the route would begin, answered by ``answering``."""

    def __init__(self, response: Response) -> None:
        self.response = response
        super().__init__()


class Pending:
    """A key that is being worked on: the open transaction, and what to store in it."""

    __slots__ = ("_key_hash", "_request_hash", "_session")

    def __init__(self, session: WriteSession, key_hash: bytes, request_hash: bytes) -> None:
        self._session = session
        self._key_hash = key_hash
        self._request_hash = request_hash

    async def store(self, response: Response) -> None:
        """Write the answer into the transaction, in place of one that is past its time."""
        headers = [[name.decode("latin-1"), value.decode("latin-1")] for name, value in response.raw_headers if name not in NOT_STORED]
        values = {
            "request_hash": self._request_hash,
            "status": response.status_code,
            "headers": headers,
            "body": bytes(response.body),
            "created_at": func.now(),
        }
        statement = insert(ANSWERS).values(key_hash=self._key_hash, **values)
        await self._session.execute(statement.on_conflict_do_update(index_elements=["key_hash"], set_=values))


async def begin(session: WriteSession, request: Request, key: str, caller: str) -> None:
    """Begin a request with a key in an open transaction.

    Args:
        session: The transaction of the effect.
        request: The request; its body is read.
        key: The ``Idempotency-Key``.
        caller: Whose key it is: a user or, where nobody is signed in, an address.

    Raises:
        Replayed: if it was answered before.
        IdempotencyKeyReused: if the key belongs to another body.
        IdempotencyInProgress: if a request with the key has not been answered yet.
    """
    if len(request.headers.getlist("idempotency-key")) > 1:
        raise ValidationFailed(errors=[{"pointer": "/Idempotency-Key", "detail": "Must be sent once."}])
    key_hash = hashlib.sha256(f"{caller}\0{request.method}\0{request.url.path}\0{key}".encode()).digest()
    request_hash = await fingerprint(request)
    lock = int.from_bytes(key_hash[:8], signed=True)
    if not await session.scalar(select(func.pg_try_advisory_xact_lock(lock))):
        raise IdempotencyInProgress
    # A statement of its own: what the lock's last holder committed is visible to those that begin after it.
    answer = (
        await session.execute(
            select(ANSWERS).where(ANSWERS.c.key_hash == key_hash, ANSWERS.c.created_at > func.now() - LIFETIME),
        )
    ).one_or_none()
    if answer is None:
        request.scope[SCOPE_KEY] = Pending(session, key_hash, request_hash)
        return
    if answer.request_hash != request_hash:
        raise IdempotencyKeyReused
    raise Replayed(_stored(answer))


def _stored(answer: Any) -> Response:
    response = Response(answer.body, answer.status)
    length = [(b"content-length", b"%d" % len(answer.body))]
    response.raw_headers = [*((name.encode("latin-1"), value.encode("latin-1")) for name, value in answer.headers), *length, REPLAYED]
    return response


async def fingerprint(request: Request) -> bytes:
    """Return a digest of what a request asks for.

    A multipart body is compared by its parts: a client that repeats it makes a new boundary.
    """
    digest = hashlib.sha256()
    if not request.headers.get("content-type", "").lower().startswith("multipart/"):
        digest.update(await request.body())
        return digest.digest()
    form = await request.form()
    for name, value in form.multi_items():
        digest.update(_framed(name))
        if not isinstance(value, UploadFile):
            digest.update(_framed(value))
            continue
        digest.update(_framed(value.filename or "") + _framed(value.content_type or "") + b"%d:" % (value.size or 0))
        while chunk := await value.read(CHUNK_BYTES):
            digest.update(chunk)
        await value.seek(0)
    return digest.digest()


def _framed(text: str) -> bytes:
    encoded = text.encode(errors="surrogatepass")
    return b"%d:%b" % (len(encoded), encoded)


async def answering(request: Request, handler: Callable[[Request], Awaitable[Response]]) -> Response:
    """Run a route's handler, store its answer if the request carries a key, and answer again what was answered before.

    To be called while the route's transaction is open: inside of what leaves its generators.
    """
    try:
        response = await handler(request)
    except Replayed as replayed:
        return replayed.response
    pending: Pending | None = request.scope.get(SCOPE_KEY)
    if pending is not None and response.status_code < 400:  # noqa: PLR2004  # errors are not stored
        await pending.store(response)
    return response


def caller_of(request: Request, user_id: int | None) -> str:
    """Return whose keys a request's are: the user's, or the address's where nobody is signed in."""
    if user_id is not None:
        return f"user:{user_id}"
    return f"address:{request.client.host if request.client else ''}"
