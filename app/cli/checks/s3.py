"""The object store: takes, returns and deletes a file, and lets browsers upload."""

import hashlib
from collections.abc import AsyncGenerator
from typing import Final
from uuid import uuid4

import aiohttp

from app.cli.checks.result import Result, verdict
from app.core.config import Settings
from app.core.errors import ServiceUnavailable
from app.services.storage import ObjectMissing, Storage

PART: Final = "S3"
CONTENT: Final = b"written by doctor"
TIMEOUT_SECONDS: Final = 5.0
REMEDY: Final = "Correct S3_ENDPOINT_URL, S3_BUCKET and the credentials; they need GetObject, PutObject and DeleteObject on the bucket."


async def check_s3(settings: Settings) -> list[Result]:
    """Store a small file, read it, delete it, and ask as a browser would whether it may upload."""
    storage = Storage(settings)
    try:
        return [await _round_trip(storage), *[await _cors(storage, origin) for origin in settings.ALLOWED_ORIGINS[:1]]]
    except (ServiceUnavailable, ObjectMissing) as error:
        cause = error.__cause__ or error
        return [Result(PART, "put, get, delete", "failed", f"{type(cause).__name__}: {cause}", REMEDY)]
    finally:
        await storage.close()


async def _once() -> AsyncGenerator[bytes]:
    yield CONTENT


async def _round_trip(storage: Storage) -> Result:
    key = f"doctor/{uuid4()}"
    checksum = hashlib.sha256(CONTENT).hexdigest()
    await storage.put(key, _once(), size=len(CONTENT), content_type="text/plain", checksum_sha256=checksum)
    stored = await storage.head(key)
    if stored is None:
        return Result(PART, "put, get, delete", "failed", "what was stored is not there", REMEDY)
    read = b"".join([piece async for piece in storage.read(key, etag=stored.etag, offset=0, size=stored.size)])
    await storage.delete(key)
    remedy = "Use a store that keeps SHA-256 checksums of uploads: AWS S3 does; imports are verified by them."
    good = read == CONTENT and stored.checksum_sha256 == checksum
    return verdict(
        PART, "put, get, delete", good=good, detail=f"{len(read)} bytes, checksum {'kept' if good else 'not kept'}", remedy=remedy
    )


async def _cors(storage: Storage, origin: str) -> Result:
    upload = await storage.presign_put("doctor/cors", size=1, content_type="text/csv", checksum_sha256="00" * 32)
    asked = {
        "Origin": origin,
        "Access-Control-Request-Method": "PUT",
        "Access-Control-Request-Headers": "content-type,x-amz-checksum-sha256",
    }
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
    try:
        async with aiohttp.ClientSession(timeout=timeout) as client, client.options(upload.url, headers=asked) as answer:
            allowed = answer.headers.get("Access-Control-Allow-Origin")
    except (aiohttp.ClientError, TimeoutError) as error:
        remedy = "Correct S3_PUBLIC_ENDPOINT_URL: it is the address that clients upload to."
        return Result(PART, "uploads by browsers", "failed", f"{type(error).__name__}: {error}", remedy)
    remedy = f"Allow PUT from {origin} with the headers content-type and x-amz-checksum-sha256 in the bucket's CORS rules."
    detail = f"{origin} {'may' if allowed else 'may not'} upload"
    return verdict(PART, "uploads by browsers", good=allowed in {origin, "*"}, detail=detail, remedy=remedy, otherwise="warning")
