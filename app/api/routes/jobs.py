"""Jobs: HTTP and nothing else."""

from typing import Annotated

from fastapi import APIRouter, Path, Request, Response

from app.api.deps import CurrentUser, ReadSession, Settings, WriteSession
from app.api.openapi import responses
from app.api.pagination import links
from app.core.errors import NotFound
from app.core.http.compile import JSONBytes
from app.core.http.route import Route
from app.schemas.job import Job, JobQueryParameters
from app.services import jobs
from app.services.jobs import JobIsOver, on_the_wire

router = APIRouter(prefix="/jobs", tags=["jobs"], route_class=Route)

JobId = Annotated[int, Path(ge=1, le=2**63 - 1, examples=[12])]


@router.get("/", response_model=list[Job], responses=responses(headers={200: ["Link"]}))
async def list_jobs(request: Request, query: JobQueryParameters, user: CurrentUser, db: ReadSession, settings: Settings) -> Response:
    """List your jobs, the newest first, a page at a time; `Link` headers lead to the neighbouring pages."""
    page = await jobs.search(db, user, query, settings.verification_keys)
    content = b"[" + b",".join(on_the_wire(job) for job in page.rows) + b"]"
    return JSONBytes(content, headers=links(request, page.next_cursor, page.prev_cursor))


@router.get("/{job_id}", response_model=Job, responses=responses(NotFound))
async def read_job(job_id: JobId, user: CurrentUser, db: ReadSession) -> Response:
    """Read a job: how far it is, and what went wrong in which row."""
    return JSONBytes(on_the_wire(await jobs.get(db, user, job_id)))


@router.post("/{job_id}/cancel", response_model=Job, responses=responses(NotFound, JobIsOver))
async def cancel_job(job_id: JobId, user: CurrentUser, db: WriteSession) -> Response:
    """Cancel a job. It stops within a moment; what it has done stays done."""
    return JSONBytes(on_the_wire(await jobs.cancel(db, user, job_id)))
