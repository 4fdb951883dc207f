"""``outbox``: looks at what is promised and not yet done, tries parked tasks again, parks others."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from app.core.autocommit import Autocommit
from app.core.config import get_settings
from app.core.resources import open_resources
from app.crud import outbox as crud

outbox = typer.Typer(no_args_is_help=True, help="Look at what is promised and not yet done; retry or park it.")

STYLES = {"parked": "bold red", "running": "green", "queued": "cyan", "waiting": "default"}

Ids = Annotated[list[int] | None, typer.Argument(help="Ids as `outbox list` shows them.")]


def _run[Result](work: Callable[[Autocommit], Awaitable[Result]]) -> Result:
    async def connected() -> Result:
        async with open_resources(get_settings(), "cli") as resources:
            return await work(resources.database.autocommit)

    return asyncio.run(connected())


@outbox.command("list")
def list_(
    *,
    parked: Annotated[bool, typer.Option("--parked", help="Only what was given up.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="Rows at most, the oldest first.")] = 50,
) -> None:
    """Show the oldest tasks and events that are not done."""
    entries = _run(lambda db: crud.entries(db, only_parked=parked, limit=limit))
    if not entries:
        typer.echo("Nothing is parked." if parked else "Nothing waits.")
        return
    table = Table(box=None, pad_edge=False)
    for heading in ("id", "name", "state", "age", "attempts", "last error"):
        table.add_column(heading, overflow="fold")
    for entry in entries:
        age = str(datetime.now(UTC) - entry.created_at).partition(".")[0]
        table.add_row(
            str(entry.id), entry.name, f"[{STYLES[entry.state]}]{entry.state}[/]", age, str(entry.attempts), entry.last_error or ""
        )
    Console().print(table)


@outbox.command()
def retry(ids: Ids = None, *, every: Annotated[bool, typer.Option("--all", help="Every parked task.")] = False) -> None:
    """Try parked tasks again, with all their attempts."""
    if not ids and not every:
        raise typer.BadParameter("name some ids, or use --all")
    done = _run(lambda db: crud.retry(db, ids or [], every=every))
    _report("due again", done, ids or [], "is not parked")


@outbox.command()
def park(ids: Annotated[list[int], typer.Argument(help="Ids as `outbox list` shows them.")]) -> None:
    """Keep tasks from being tried, until `retry`."""
    done = _run(lambda db: crud.park(db, ids, "Parked by hand."))
    _report("parked", done, ids, "is not a task that waits or runs")


def _report(what: str, done: list[int], asked: list[int], otherwise: str) -> None:
    for row_id in sorted(set(asked) - set(done)):
        typer.echo(f"{row_id} {otherwise}.", err=True)
    typer.echo(f"{what}: {', '.join(map(str, sorted(done))) or 'none'}")
    raise typer.Exit(int(bool(set(asked) - set(done))))
