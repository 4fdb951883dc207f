"""The command line: ``python -m app COMMAND``. Only the command that was asked for is imported."""

import signal
import sys
from importlib import import_module
from importlib.util import find_spec
from types import FrameType

import typer

#: Where each command's function is. Those of the local stack are missing from the image.
COMMANDS = {
    "run": "app.local.commands:run",
    "stop": "app.local.commands:stop",
    "doctor": "app.cli.doctor:doctor",
    "create-superuser": "app.cli.superuser:create_superuser",
    "database-roles": "app.cli.database_roles:database_roles",
    "openapi": "app.cli.openapi:openapi",
    "outbox": "app.cli.outbox:outbox",
    "settings": "app.cli.docs:settings",
    "docs": "app.cli.docs:docs",
    "wait": "app.cli.wait:wait",
    "smoke": "app.cli.smoke:smoke",
}


def command_line(arguments: list[str]) -> typer.Typer:
    """Return the command line with the command that ``arguments`` begin with, or with all of them."""
    app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help="FastAPI Platform")
    app.callback()(lambda: None)  # a single command keeps its name
    asked = arguments[:1] if arguments[:1] and arguments[0] in COMMANDS else COMMANDS
    for name in asked:
        module, _, function = COMMANDS[name].partition(":")
        if find_spec(module.rpartition(".")[0]):
            found = getattr(import_module(module), function)
            if isinstance(found, typer.Typer):
                app.add_typer(found, name=name)
            else:
                app.command(name)(found)
    return app


def end(number: int, _frame: FrameType | None) -> None:
    """End by a signal. Without this, the first process of a container would not hear it; with it, commands clean up.

    Raises:
        SystemExit: with the status that shells give to a process which a signal ended.
    """
    raise SystemExit(128 + number)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, end)
    command_line(sys.argv[1:])(prog_name="python -m app")
