"""The local stack: taken if it runs, else started for the run and stopped after it."""

import json
import os
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from app.local.place import find_place
from loadtests.gate.outcome import GateError
from loadtests.gate.people import Credentials

REPOSITORY: Final = Path(__file__).parents[2]
START_SECONDS: Final = 180


@dataclass(frozen=True, slots=True)
class Target:
    """A service to send load to.

    Attributes:
        database_url: Its database, where the gate may look into it: of local stacks alone.
    """

    url: str
    credentials: Credentials
    database_url: str | None = None


def _description(local_dir: str) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = json.loads((find_place(local_dir) / "stack.json").read_text())
    except OSError:
        return None
    return found


@contextmanager
def local_stack(local_dir: str) -> Generator[Target]:
    """Yield the stack in ``local_dir``, which runs or is started for the length of the block.

    Raises:
        GateError: if it does not start, with what it said.
    """
    found, started = _description(local_dir), False
    if found is None:
        _command("run", "--detach", "--local-dir", local_dir)
        found, started = _description(local_dir), True
    try:
        if found is None:
            raise GateError("The stack started and did not say where it is.")
        superuser = found["superuser"]
        if not superuser["email"] or not superuser["password"]:
            raise GateError("The stack has no superuser that it knows; start it with its own.")
        yield Target(found["api_url"], Credentials(superuser["email"], superuser["password"]), found["migration_database_url"])
    finally:
        if started:
            _command("stop", "--local-dir", local_dir)


def _command(*words: str) -> None:
    command = (sys.executable, "-m", "app", *words)
    try:
        done = subprocess.run(command, cwd=REPOSITORY, env=os.environ, capture_output=True, text=True, timeout=START_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise GateError(f"`{' '.join(command[1:])}` took longer than {START_SECONDS} s.") from None
    if done.returncode != 0:
        raise GateError(f"`{' '.join(command[1:])}` failed:\n{done.stdout}{done.stderr}")


def remote(url: str) -> Target:
    """Return a service elsewhere, with the superuser of ``LOADTEST_SUPERUSER_EMAIL`` and ``..._PASSWORD``.

    Raises:
        GateError: if one of them is missing.
    """
    names = ("LOADTEST_SUPERUSER_EMAIL", "LOADTEST_SUPERUSER_PASSWORD")
    given = [os.environ.get(name, "") for name in names]
    if missing := [name for name, value in zip(names, given, strict=True) if not value]:
        raise GateError(f"Set {' and '.join(missing)}: a superuser there makes and deletes the people of the run.")
    return Target(url, Credentials(*given))
