"""Run a command with the settings of the stack that runs: ``python -m app.local.with_stack LOCAL_DIR COMMAND ...``."""

import json
import os
import sys

from app.local.place import find_place
from app.local.stack import SETTINGS


def main() -> None:
    """Become the command."""
    local_dir, *command = sys.argv[1:]
    place = find_place(local_dir)
    try:
        settings: dict[str, str] = json.loads((place / SETTINGS).read_text())
    except OSError:
        sys.exit(f"No stack is running in {place.folder}; start one with `make run ARGS=--detach`.")
    os.environ.update(settings)
    os.execvp(command[0], command)  # noqa: S606  # the command is the user's own


if __name__ == "__main__":
    main()
