"""Files in an S3-compatible store: presigned uploads, downloads that resume, deletion.

The store must keep SHA-256 checksums of uploads (AWS S3 and SeaweedFS do): they are what an upload is verified by.
"""

import asyncio
from base64 import b64decode, b64encode
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import aiohttp
from aiobotocore.config import AioConfig
from aiobotocore.session import get_session
from botocore.exceptions import BotoCoreError, ClientError

from app.core.config import Settings
from app.core.errors import ServiceUnavailable

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client
    from types_aiobotocore_s3.type_defs import GetObjectOutputTypeDef

MAX_UPLOAD_BYTES: Final = 5 * 2**30
UPLOAD_LIFETIME: Final = timedelta(hours=1)
CONNECT_TIMEOUT_SECONDS: Final = 3
READ_TIMEOUT_SECONDS: Final = 10
#: Below PostgreSQL's patience with idle transactions: a request may hold one while it asks the store.
CALL_TIMEOUT_SECONDS: Final = 12
READ_BYTES: Final = 256 * 1024
READ_ATTEMPTS: Final = 4
RETRY_SECONDS: Final = 0.5

_GONE: Final = frozenset({"404", "NoSuchKey", "NotFound"})
_CHANGED: Final = frozenset({"412", "PreconditionFailed"})
_LOST: Final = (BotoCoreError, aiohttp.ClientError, TimeoutError, OSError)


class ObjectMissing(Exception):  # noqa: N818  # says what is, not that something broke
    """The object is not in the store, or not as it was."""


class Stored(NamedTuple):
    """What the store holds under a key.

    Attributes:
        size: In bytes.
        content_type: As it was uploaded.
        checksum_sha256: In hexadecimal, empty where the store has none.
        etag: Changes with the content.
    """

    size: int
    content_type: str
    checksum_sha256: str
    etag: str


class PresignedUpload(NamedTuple):
    """A request that puts one file into the store, to be sent by whoever holds it."""

    url: str
    headers: dict[str, str]
    expires_at: datetime


class Storage:
    """A process's way to the store; connects on first use.

    Args:
        settings: Where the store is. ``S3_PUBLIC_ENDPOINT_URL`` is what clients are sent to.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._session: Any = get_session()  # Any: its stubs know only those services whose own stubs are installed
        self._stack = AsyncExitStack()
        self._opening = asyncio.Lock()
        self._clients: dict[str | None, S3Client] = {}
        self._http: aiohttp.ClientSession | None = None

    async def presign_put(self, key: str, *, size: int, content_type: str, checksum_sha256: str, public: bool = True) -> PresignedUpload:
        """Return the request that puts exactly one file under ``key``; the store refuses another size, type or content.

        Args:
            key: The object's key.
            size: In bytes, at most ``MAX_UPLOAD_BYTES``.
            content_type: The file's media type.
            checksum_sha256: Its SHA-256 in hexadecimal.
            public: Whether a client sends it, rather than this service.

        Raises:
            ServiceUnavailable: if credentials cannot be had.
        """
        settings = self._settings
        client = await self._client((settings.S3_PUBLIC_ENDPOINT_URL if public else None) or settings.S3_ENDPOINT_URL)
        checksum = b64encode(bytes.fromhex(checksum_sha256)).decode()
        bound = {"ContentLength": size, "ContentType": content_type, "ChecksumSHA256": checksum}
        try:
            url = await client.generate_presigned_url(
                "put_object",
                Params={"Bucket": settings.S3_BUCKET, "Key": key, **bound},
                ExpiresIn=int(UPLOAD_LIFETIME.total_seconds()),
            )
        except BotoCoreError as error:
            raise ServiceUnavailable from error
        return PresignedUpload(
            url,
            {"Content-Type": content_type, "x-amz-checksum-sha256": checksum},
            datetime.now(UTC).replace(microsecond=0) + UPLOAD_LIFETIME,
        )

    async def put(self, key: str, content: AsyncIterator[bytes], *, size: int, content_type: str, checksum_sha256: str) -> Stored:
        """Store a file while it is read.

        It goes the way of a client's upload, because the SDK would hash the whole content once more, on the event loop.

        Raises:
            ServiceUnavailable: if the store does not take it in time.
        """
        upload = await self.presign_put(key, size=size, content_type=content_type, checksum_sha256=checksum_sha256, public=False)
        headers = {**upload.headers, "Content-Length": str(size)}
        try:
            async with self._http_session().put(upload.url, data=content, headers=headers) as response:
                if response.status >= 300:  # noqa: PLR2004  # the class of success
                    raise ServiceUnavailable
                return Stored(size, content_type, checksum_sha256, response.headers["ETag"])
        except _LOST as error:
            raise ServiceUnavailable from error

    async def head(self, key: str) -> Stored | None:
        """Return what is stored under ``key``, ``None`` if nothing is.

        Raises:
            ServiceUnavailable: if the store does not answer.
        """
        client = await self._client(self._settings.S3_ENDPOINT_URL)
        try:
            async with asyncio.timeout(CALL_TIMEOUT_SECONDS):
                found = await client.head_object(Bucket=self._settings.S3_BUCKET, Key=key, ChecksumMode="ENABLED")
        except ClientError as error:
            if _code(error) in _GONE:
                return None
            raise ServiceUnavailable from error
        except _LOST as error:
            raise ServiceUnavailable from error
        checksum = b64decode(found.get("ChecksumSHA256", "")).hex()
        return Stored(found["ContentLength"], found.get("ContentType", ""), checksum, found["ETag"])

    async def read(self, key: str, *, etag: str, offset: int, size: int) -> AsyncGenerator[bytes]:
        """Yield an object's bytes from ``offset`` on, in pieces of at most ``READ_BYTES``; a broken connection is taken up where it broke.

        Args:
            key: The object's key.
            etag: What the object must still be (``If-Match``, RFC 9110, 13.1.1).
            offset: First byte.
            size: Bytes of the whole object.

        Raises:
            ObjectMissing: if it is gone or was changed.
            ServiceUnavailable: if the store gave nothing several times over.
        """
        failures = 0
        while offset < size:
            try:
                async with aclosing(self._read_once(key, etag, offset)) as pieces:
                    async for piece in pieces:
                        offset += len(piece)
                        failures = 0
                        yield piece
                if offset < size:
                    raise ConnectionError("the body ended early")
            except _LOST as error:
                failures += 1
                if failures == READ_ATTEMPTS:
                    raise ServiceUnavailable from error
                await asyncio.sleep(RETRY_SECONDS * 2**failures)

    async def _read_once(self, key: str, etag: str, offset: int) -> AsyncGenerator[bytes]:
        client = await self._client(self._settings.S3_ENDPOINT_URL)
        try:
            found: GetObjectOutputTypeDef = await client.get_object(
                Bucket=self._settings.S3_BUCKET, Key=key, Range=f"bytes={offset}-", IfMatch=etag
            )
        except ClientError as error:
            if _code(error) in _GONE | _CHANGED:
                raise ObjectMissing(key) from error
            raise ConnectionError(_code(error)) from error
        async with found["Body"] as body:
            while piece := await body.read(READ_BYTES):
                yield piece

    async def delete(self, key: str) -> None:
        """Delete an object; one that does not exist is deleted already.

        Raises:
            ServiceUnavailable: if the store does not answer.
        """
        client = await self._client(self._settings.S3_ENDPOINT_URL)
        try:
            await client.delete_object(Bucket=self._settings.S3_BUCKET, Key=key)
        except (ClientError, *_LOST) as error:
            raise ServiceUnavailable from error

    async def older_than(self, prefix: str, moment: datetime) -> AsyncGenerator[list[str]]:
        """Yield the keys of the objects under a prefix that were stored before a moment, a page at a time.

        Raises:
            ServiceUnavailable: if the store does not answer.
        """
        client = await self._client(self._settings.S3_ENDPOINT_URL)
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=self._settings.S3_BUCKET, Prefix=prefix)
        try:
            async for page in pages:
                found = [(one.get("Key", ""), one.get("LastModified", moment)) for one in page.get("Contents", ())]
                yield [key for key, stored_at in found if stored_at < moment]
        except (ClientError, *_LOST) as error:
            raise ServiceUnavailable from error

    async def close(self) -> None:
        """Close every connection."""
        if self._http is not None:
            await self._http.close()
        await self._stack.aclose()

    async def _client(self, endpoint_url: str | None) -> "S3Client":
        async with self._opening:
            if endpoint_url not in self._clients:
                # The first client reads the service's description for longer than the event loop may stand still; it is kept.
                await asyncio.to_thread(asyncio.run, self._try_client(endpoint_url))
                self._clients[endpoint_url] = await self._stack.enter_async_context(self._new_client(endpoint_url))
            return self._clients[endpoint_url]

    async def _try_client(self, endpoint_url: str | None) -> None:
        async with self._new_client(endpoint_url):
            pass

    def _new_client(self, endpoint_url: str | None) -> Any:
        settings = self._settings
        secret = settings.S3_SECRET_ACCESS_KEY
        config = AioConfig(
            signature_version="s3v4",
            connect_timeout=CONNECT_TIMEOUT_SECONDS,
            read_timeout=READ_TIMEOUT_SECONDS,
            retries={"mode": "standard", "total_max_attempts": 2},
            s3={"addressing_style": "path" if settings.S3_ENDPOINT_URL else "auto"},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        )
        return self._session.create_client(
            "s3",
            endpoint_url=endpoint_url,
            region_name=settings.S3_REGION,
            aws_access_key_id=settings.S3_ACCESS_KEY_ID,
            aws_secret_access_key=secret.get_secret_value() if secret else None,
            config=config,
        )

    def _http_session(self) -> aiohttp.ClientSession:
        if self._http is None:
            timeout = aiohttp.ClientTimeout(total=CALL_TIMEOUT_SECONDS, connect=CONNECT_TIMEOUT_SECONDS)
            self._http = aiohttp.ClientSession(timeout=timeout, auto_decompress=False)
        return self._http


@asynccontextmanager
async def open_storage(settings: Settings) -> AsyncGenerator[Storage]:
    """Open the way to the store and close it at the end of the block."""
    storage = Storage(settings)
    try:
        yield storage
    finally:
        await storage.close()


def _code(error: ClientError) -> str:
    return error.response.get("Error", {}).get("Code", "")
