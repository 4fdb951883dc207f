"""Imports of items: HTTP and nothing else."""

from typing import Any, Final

from fastapi import APIRouter, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.datastructures import FormData, UploadFile

from app.api.deps import CurrentUser, Settings, Storage, WriterSession
from app.api.openapi import responses
from app.core.errors import FieldError, NotFound, PayloadTooLarge, ValidationFailed
from app.core.http.body import MAX_BODY_BYTES, media_type, refuse_large, require_media_type
from app.core.http.compile import JSONBytes
from app.core.http.route import Route
from app.schemas.imports import ImportFromUpload
from app.schemas.job import Job
from app.schemas.upload import Upload, UploadCreate
from app.services import imports
from app.services.imports import UploadIncomplete, UploadUsed
from app.services.jobs import on_the_wire

router = APIRouter(prefix="/items/imports", tags=["items"], route_class=Route)

JSON: Final = "application/json"
MULTIPART: Final = "multipart/form-data"
#: What a multipart body holds beside its file.
MULTIPART_OVERHEAD_BYTES: Final = 8 * 1024

#: FastAPI knows no route whose body is either of two kinds, so this one reads it by itself and says so.
BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {
            JSON: {"schema": ImportFromUpload.model_json_schema()},
            MULTIPART: {
                "schema": {
                    "title": "ImportFile",
                    "type": "object",
                    "required": ["file"],
                    "additionalProperties": False,
                    "properties": {"file": {"type": "string", "format": "binary", "description": "A CSV or NDJSON file."}},
                },
                "encoding": {"file": {"contentType": "text/csv, application/x-ndjson"}},
            },
        },
    }
}


@router.post(
    "",
    response_model=Job,
    status_code=202,
    openapi_extra=BODY,
    responses=responses(NotFound, UploadIncomplete, UploadUsed, headers={202: ["Location"]}),
)
async def import_items(request: Request, user: CurrentUser, db: WriterSession, storage: Storage, settings: Settings) -> Response:
    """Import items from a CSV or NDJSON file: one sent with the request, or a larger one that was uploaded before.

    CSV is UTF-8 with a header that names the columns `title`, `description` and `attributes` (a JSON object) in any order;
    only `title` is required. In NDJSON every line is an object with these members. Rows that cannot be imported are listed
    in the job's `errors`; all others become items. One `'` in front of a CSV cell's leading `=`, `+`, `-`, `@`, tab or
    carriage return is taken off, as the export put it there.
    """
    require_media_type(request, JSON, MULTIPART)
    if media_type(request) == MULTIPART:
        async with request.form(max_files=1, max_fields=1) as form:
            job = await imports.start_from_file(db, storage, user, _file(form, settings.IMPORT_MAX_BODY_BYTES))
    else:
        job = await imports.start_from_upload(db, storage, user, await _from_upload(request))
    return JSONBytes(on_the_wire(job), 202, [(b"location", f"{settings.API_V1_STR}/jobs/{job.id}".encode())])


@router.post("/uploads", status_code=201, max_body_size=MAX_BODY_BYTES)
async def announce_upload(data: UploadCreate, user: CurrentUser, db: WriterSession, storage: Storage) -> Upload:
    """Announce a file of up to 5 GiB and learn how to send it.

    Send the content as `upload` says, then start the import with the `id`. There is nothing to complete: the import
    verifies what arrived.
    """
    return await imports.announce_upload(db, storage, user, data)


def _file(form: FormData, limit: int) -> UploadFile:
    faults = [FieldError(pointer=f"/{name}", detail="Unknown field.") for name in form if name != "file"]
    file = form.get("file")
    if not isinstance(file, UploadFile):
        faults.append({"pointer": "/file", "detail": "Send the file in a part named `file` that has a file name."})
    if faults or not isinstance(file, UploadFile):
        raise ValidationFailed(errors=faults)
    if (file.size or 0) > limit:
        raise PayloadTooLarge(f"The file is larger than {limit} bytes; announce it at `/items/imports/uploads` and upload it.")
    return file


async def _from_upload(request: Request) -> ImportFromUpload:
    body = await request.body()
    refuse_large(len(body), MAX_BODY_BYTES)
    if not body:
        raise RequestValidationError([{"loc": ("body",), "type": "missing", "msg": "Field required"}])
    try:
        return ImportFromUpload.model_validate(await request.json())
    except ValidationError as error:
        faults = error.errors(include_url=False, include_input=False)
        raise RequestValidationError([{**fault, "loc": ("body", *fault["loc"])} for fault in faults]) from error
