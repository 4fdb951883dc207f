"""The command line: ``python -m app``. Every command imports what it needs when it runs, so that `--help` is quick."""

from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help="FastAPI Platform")

LocalDir = Annotated[str, typer.Option(envvar="LOCAL_DIR", help="Where the stack keeps its data, relative to the repository.")]


@app.command()
def run(
    local_dir: LocalDir = ".local",
    *,
    detach: Annotated[bool, typer.Option("--detach", help="Return when it is ready, and leave it running.")] = False,
    reset: Annotated[bool, typer.Option("--reset", help="Delete the stack's data first.")] = False,
    reload: Annotated[bool, typer.Option(help="Start the service anew when its code changes.")] = True,
) -> None:
    """Run the whole service on this machine, with servers of its own."""
    from app.local import commands  # noqa: PLC0415  # only this command needs it

    raise typer.Exit(commands.run(local_dir, detach=detach, start_over=reset, reload=reload))


@app.command()
def stop(local_dir: LocalDir = ".local") -> None:
    """Stop the stack that runs in the background."""
    from app.local import commands  # noqa: PLC0415  # only this command needs it

    raise typer.Exit(commands.stop(local_dir))


if __name__ == "__main__":
    app(prog_name="python -m app")
