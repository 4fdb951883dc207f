"""Requests that take effect once, however often they are sent (the Idempotency-Key header).

The answer is stored in the transaction of the effect: either both are there or neither is. Two requests with one key
meet at an advisory lock, which PostgreSQL lets go of with the transaction.
"""

import hashlib
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Annotated, Any, Final

from fastapi import Header
from fastapi.dependencies.models import Dependant
from sqlalchemy import DateTime, Integer, LargeBinary, column, func, select, table
from sqlalchemy.dialects.postgresql import JSONB, insert
from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import Response

from app.core.database import Database, WriteSession
from app.core.errors import IdempotencyInProgress, IdempotencyKeyReused, ValidationFailed

HEADER: Final = "Idempotency-Key"
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
        alias=HEADER,
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

    __slots__ = ("_key_hash", "_request_hash", "_session", "transaction")

    def __init__(self, transaction: AsyncExitStack, session: WriteSession, key_hash: bytes, request_hash: bytes) -> None:
        self.transaction = transaction
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


async def begin(database: Database, request: Request, key: str, caller: str) -> WriteSession:
    """Open the transaction of a request with a key. ``answering`` ends it.

    Args:
        database: Where the transaction is opened.
        request: The request; its body is read.
        key: The ``Idempotency-Key``.
        caller: Whose key it is, as ``caller_of`` says.

    Raises:
        Replayed: if it was answered before.
        IdempotencyKeyReused: if the key belongs to another body.
        IdempotencyInProgress: if a request with the key has not been answered yet.
    """
    if len(request.headers.getlist("idempotency-key")) > 1:
        raise ValidationFailed(errors=[{"pointer": "/Idempotency-Key", "detail": "Must be sent once."}])
    key_hash = hashlib.sha256(f"{caller}\0{request.method}\0{request.url.path}\0{key}".encode()).digest()
    request_hash = await fingerprint(request)
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(database.write())
        answer = await _claim(session, key_hash)
        if answer is None:
            request.scope[SCOPE_KEY].append(Pending(stack.pop_all(), session, key_hash, request_hash))
            return session
    if answer.request_hash != request_hash:
        raise IdempotencyKeyReused
    raise Replayed(_stored(answer))


async def _claim(session: WriteSession, key_hash: bytes) -> Any:
    """Lock a key for this transaction and return the answer it has, if it has one."""
    lock = int.from_bytes(key_hash[:8], signed=True)
    if not await session.scalar(select(func.pg_try_advisory_xact_lock(lock))):
        raise IdempotencyInProgress
    # A statement of its own: what the lock's last holder committed is visible to those that begin after it.
    wanted = select(ANSWERS).where(ANSWERS.c.key_hash == key_hash, ANSWERS.c.created_at > func.now() - LIFETIME)
    return (await session.execute(wanted)).one_or_none()


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
    """Run a route's handler; with a key, answer again what was answered before, or store the answer and commit it.

    Args:
        request: The request.
        handler: The route's handler, dependencies included.
    """
    begun: list[Pending] = []
    request.scope[SCOPE_KEY] = begun
    try:
        response = await handler(request)
    except Replayed as replayed:
        return replayed.response
    except BaseException as error:
        for pending in begun:
            await pending.transaction.__aexit__(type(error), error, error.__traceback__)
        raise
    finally:
        await request.close()  # a form that ``fingerprint`` read, whose files may lie on disk
    for pending in begun:
        async with pending.transaction:
            if response.status_code < 400:  # noqa: PLR2004  # errors are not stored
                await pending.store(response)
    return response


def takes_key(dependant: Dependant) -> bool:
    """Return whether a route takes an Idempotency-Key."""
    return any(field.alias == HEADER for field in dependant.header_params) or any(takes_key(child) for child in dependant.dependencies)


def caller_of(request: Request, user_id: int | None) -> str:
    """Return whose keys a request's are: the user's, or the address's where nobody is signed in."""
    if user_id is not None:
        return f"user:{user_id}"
    return f"address:{request.client.host if request.client else ''}"
