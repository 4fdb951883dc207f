"""``wait``: holds a process back until the database is there, in a state this release works with."""

import asyncio
import time
from typing import Annotated, Final

import typer

from app.cli.checks.postgres import check_postgres
from app.cli.checks.result import Result
from app.core.config import Settings, get_settings
from app.core.scrub import scrub_text

POLL_SECONDS: Final = 1.0
#: What must hold; the rest is for `doctor` to tell.
NEEDED: Final = frozenset({"reachable", "queries", "revision"})


def wait(seconds: Annotated[float, typer.Option(min=0, help="Give up after so many seconds.")] = 300) -> None:
    """Wait until PostgreSQL answers and its schema is one this release works with; exit with 1 if that takes too long."""
    fault = asyncio.run(_wait(get_settings(), seconds))
    if fault is not None:
        typer.echo(f"Gave up after {seconds:g} s: PostgreSQL, {fault.check}: {scrub_text(fault.detail)}. {fault.remedy}", err=True)
        raise typer.Exit(1)
    typer.echo("PostgreSQL is ready.")


async def _wait(settings: Settings, seconds: float) -> Result | None:
    """Return once nothing is in the way, or, after so many seconds, what still is."""
    deadline = time.monotonic() + seconds
    told: Result | None = None
    while (fault := await _fault(settings)) is not None:
        if fault != told:
            typer.echo(f"waiting for PostgreSQL, {fault.check}: {scrub_text(fault.detail)}")
            told = fault
        if time.monotonic() >= deadline:
            return fault
        await asyncio.sleep(POLL_SECONDS)
    return None


async def _fault(settings: Settings) -> Result | None:
    return next((result for result in await check_postgres(settings) if result.state == "failed" and result.check in NEEDED), None)
