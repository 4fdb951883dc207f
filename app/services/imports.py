"""Imports: what a client may start, from an upload or from a request's own body."""

import hashlib
from collections.abc import AsyncGenerator
from datetime import UTC, datetime, timedelta
from pathlib import PurePosixPath
from typing import Any, Final, Protocol
from uuid import uuid4

from app.core.database import Database, WriteSession
from app.core.errors import Conflict, NotFound, ValidationFailed
from app.core.security import Principal
from app.crud import job as job_crud
from app.crud import outbox
from app.crud import upload as upload_crud
from app.models.job import Job
from app.models.job import Upload as UploadRow
from app.schemas.imports import ImportFormat, ImportFromUpload
from app.schemas.upload import Upload, UploadCreate, UploadRequest
from app.services.storage import Storage, Stored

KIND: Final = "import"
TASK: Final = "app.tasks.import_tasks.run_import"
#: Where the files lie in the bucket; nothing else does.
PREFIX: Final = "imports/"
#: How long a file may wait for its import after its upload could last begin, and a file without a row at all.
GRACE: Final = timedelta(days=1)
CHUNK_BYTES: Final = 256 * 1024

_BY_TYPE: Final[dict[str, ImportFormat]] = {"text/csv": "csv", "application/x-ndjson": "ndjson"}
_BY_ENDING: Final[dict[str, ImportFormat]] = {".csv": "csv", ".ndjson": "ndjson", ".jsonl": "ndjson"}


class UploadIncomplete(Conflict):
    """409: what was announced has not arrived."""

    slug = "upload-incomplete"
    title = "Upload incomplete"
    description = "The file has not arrived, or what arrived is not what was announced. Upload it, then start the import again."


class UploadUsed(Conflict):
    """409: the upload was imported."""

    slug = "upload-used"
    title = "Upload used"
    description = "This upload has been imported already; an upload serves one import."


class File(Protocol):
    """A file of a request, as Starlette's ``UploadFile``."""

    filename: str | None
    size: int | None

    @property
    def content_type(self) -> str | None:
        """Its media type, as the client says."""
        ...

    async def read(self, size: int = -1) -> bytes:
        """Return the next bytes."""
        ...

    async def seek(self, offset: int) -> None:
        """Go to a byte."""
        ...


async def announce_upload(db: WriteSession, storage: Storage, user: Principal, data: UploadCreate) -> Upload:
    """Take note of a file to come and return how to send it.

    Raises:
        ServiceUnavailable: if the store's credentials cannot be had.
    """
    upload_id = uuid4()
    key = _object_key(user, upload_id.hex)
    checksum = data.checksum_sha256.lower()
    presigned = await storage.presign_put(key, size=data.size, content_type=data.content_type, checksum_sha256=checksum)
    values = data.model_dump() | {"checksum_sha256": checksum}
    await upload_crud.create(db, id=upload_id, owner_id=user.user_id, object_key=key, expires_at=presigned.expires_at, **values)
    request = UploadRequest(url=presigned.url, headers=presigned.headers, expires_at=presigned.expires_at)
    return Upload(id=upload_id, upload=request)


async def start_from_upload(db: WriteSession, storage: Storage, user: Principal, data: ImportFromUpload) -> Job:
    """Start the import of an uploaded file.

    Raises:
        NotFound: if there is no such upload, or it is somebody else's.
        UploadUsed: if it was imported before.
        UploadIncomplete: if the file is not there or differs from what was announced.
        ServiceUnavailable: if the store does not answer.
    """
    upload = await upload_crud.lock_own(db, data.upload_id, user.user_id)
    if upload is None:
        raise NotFound
    if upload.job_id is not None:
        raise UploadUsed
    stored = await storage.head(upload.object_key)
    if stored is None:
        raise UploadIncomplete("The file has not arrived: send it to the upload's URL first.")
    if differences := _differences(upload, stored):
        raise UploadIncomplete(f"What arrived differs from what was announced in its {' and '.join(differences)}; announce it anew.")
    return await _start(db, user, upload, stored, data.format)


async def start_from_file(db: WriteSession, storage: Storage, user: Principal, file: File) -> Job:
    """Put a request's file into the store and start its import.

    Raises:
        ValidationFailed: if it is empty or its format cannot be told.
        ServiceUnavailable: if the store does not take it.
    """
    format_ = _format_of(file)
    if not file.size:
        raise ValidationFailed(errors=[{"pointer": "/file", "detail": "The file is empty."}])
    digest = hashlib.sha256()
    async for chunk in _chunks(file):
        digest.update(chunk)
    upload_id = uuid4()
    key, checksum, content_type = _object_key(user, upload_id.hex), digest.hexdigest(), _type_of(format_)
    stored = await storage.put(key, _chunks(file), size=file.size, content_type=content_type, checksum_sha256=checksum)
    values: dict[str, Any] = {"content_type": content_type, "size": file.size, "checksum_sha256": checksum, "expires_at": datetime.now(UTC)}
    filename = (file.filename or "")[:255]
    upload = await upload_crud.create(db, id=upload_id, owner_id=user.user_id, object_key=key, filename=filename, **values)
    return await _start(db, user, upload, stored, format_)


async def purge_uploads(database: Database, storage: Storage, now: datetime) -> int:
    """Delete the files that no unfinished import reads and that have waited long enough, and what is noted of them.

    Args:
        database: Where it runs.
        storage: The store.
        now: What to count from.

    Returns:
        How many files were deleted.

    Raises:
        ServiceUnavailable: if the store does not answer.
    """
    deleted = 0
    async for keys in storage.older_than(PREFIX, now - GRACE):
        async with database.read() as session:
            needed = await upload_crud.in_use(session, keys)
        for key in keys:
            if key not in needed:
                await storage.delete(key)
                deleted += 1
    async with database.write() as session:
        await upload_crud.delete_expired(session, now - GRACE)
    return deleted


async def _start(db: WriteSession, user: Principal, upload: UploadRow, stored: Stored, format_: ImportFormat) -> Job:
    parameters = {"object_key": upload.object_key, "size": stored.size, "etag": stored.etag, "format": format_}
    job = await job_crud.create(db, user.user_id, KIND, parameters)
    await upload_crud.use(db, upload.id, job.id)
    await outbox.add_task(db, TASK, {"job_id": job.id})
    return job


def _object_key(user: Principal, name: str) -> str:
    return f"{PREFIX}{user.user_id}/{name}"


def _differences(upload: UploadRow, stored: Stored) -> list[str]:
    pairs = (
        ("size", upload.size, stored.size),
        ("content type", upload.content_type, stored.content_type),
        ("checksum", upload.checksum_sha256, stored.checksum_sha256),
    )
    return [name for name, announced, arrived in pairs if announced != arrived]


def _format_of(file: File) -> ImportFormat:
    content_type = (file.content_type or "").partition(";")[0].strip().lower()
    format_ = _BY_TYPE.get(content_type) or _BY_ENDING.get(PurePosixPath(file.filename or "").suffix.lower())
    if format_ is None:
        fault = "Say what it is: content type text/csv or application/x-ndjson, or a file name that ends in .csv, .ndjson or .jsonl."
        raise ValidationFailed(errors=[{"pointer": "/file", "detail": fault}])
    return format_


def _type_of(format_: ImportFormat) -> str:
    return next(content_type for content_type, known in _BY_TYPE.items() if known == format_)


async def _chunks(file: File) -> AsyncGenerator[bytes]:
    await file.seek(0)
    while chunk := await file.read(CHUNK_BYTES):
        yield chunk
