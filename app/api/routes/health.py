"""What the platform asks: is the process alive, may it get requests, has it started."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request

from app.api.deps import Resources
from app.api.openapi import responses
from app.core.errors import ServiceUnavailable
from app.core.http.route import Route
from app.schemas.health import Health, Welcome
from app.services.health import Readiness

router = APIRouter(tags=["service"], route_class=Route)


async def readiness(request: Request, held: Resources) -> Readiness:
    """Return what the process knows of its dependencies."""
    kept = request.app.state
    if not hasattr(kept, "readiness"):
        kept.readiness = Readiness(held)
    found: Readiness = kept.readiness
    return found


Checked = Annotated[Readiness, Depends(readiness)]


def _not_ready(faults: list[str]) -> ServiceUnavailable:
    return ServiceUnavailable(f"Not ready: {'; '.join(faults)}.")


@router.get("/")
async def read_root() -> Welcome:
    """Say that the API is running."""
    return Welcome(message="API is running")


@router.get("/health/live")
async def check_liveness() -> Health:
    """Say that the process answers. Asks nothing else: a restart would mend nothing else."""
    return Health(status="ok")


@router.get("/health/ready", responses=responses(ServiceUnavailable))
async def check_readiness(request: Request, checked: Checked) -> Health:
    """Say whether the process may get requests: database at an accepted revision, Redis there, not about to end."""
    if request.app.state.drain.begun:
        raise ServiceUnavailable("Not ready: the process is about to end.", headers={"Connection": "close"})
    if faults := await checked.faults():
        raise _not_ready(faults)
    return Health(status="ok")


@router.get("/health/startup", responses=responses(ServiceUnavailable))
async def check_startup(checked: Checked) -> Health:
    """Say whether the process has been ready once."""
    if not checked.started and (faults := await checked.faults()):
        raise _not_ready(faults)
    return Health(status="ok")
