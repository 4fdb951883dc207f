"""``run`` and ``stop``: the stack from the command line."""

import asyncio
import os
import sys
from typing import Annotated

import typer

from app.local.console import Console
from app.local.detach import start_detached, stop_running
from app.local.errors import StackError
from app.local.place import find_place, locked, open_place, reset
from app.local.processes import end_leftovers
from app.local.stack import LOG, PROCESSES, run_stack

LocalDir = Annotated[str, typer.Option(envvar="LOCAL_DIR", help="Where the stack keeps its data, relative to the repository.")]


def run(
    local_dir: LocalDir = ".local",
    *,
    detach: Annotated[bool, typer.Option("--detach", help="Return when it is ready, and leave it running.")] = False,
    reset: Annotated[bool, typer.Option("--reset", help="Delete the stack's data first.")] = False,
    reload: Annotated[bool, typer.Option(help="Start the service anew when its code changes.")] = True,
) -> None:
    """Run the whole service on this machine, with servers of its own."""
    try:
        if detach:
            start_detached(open_place(local_dir), local_dir, start_over=reset)
        else:
            _run_here(local_dir, start_over=reset, reload=reload)
    except StackError as error:
        remedy = f"\n{error.remedy}" if error.remedy else ""
        sys.stderr.write(f"\nERROR: {error.problem}{remedy}\n")
        raise typer.Exit(1) from None
    except KeyboardInterrupt:  # before anything was started
        raise typer.Exit(130) from None


def stop(local_dir: LocalDir = ".local") -> None:
    """Stop the stack that runs in the background."""
    typer.echo(stop_running(find_place(local_dir)))


def _run_here(local_dir: str, *, start_over: bool, reload: bool) -> None:
    place = open_place(local_dir)
    with locked(place):
        if start_over:
            end_leftovers(place / PROCESSES)
            reset(place)
        console = Console(place / LOG)
        try:
            asyncio.run(run_stack(place, dict(os.environ), console, reload=reload))
        finally:
            console.close()
