"""The stack's folder: what it remembers between runs, and the lock that keeps a second stack out."""

import fcntl
import json
import os
import secrets
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.local.errors import StackError
from app.local.servers.ports import LOOPBACK, free_port, is_free
from app.local.servers.postgres_files import remove_data

REPOSITORY = Path(__file__).parents[2]
MARKER = "README"
MARKER_TEXT = "Data of `make run`: databases, queue, files, mails, logs. `make run RESET=1` deletes it and starts over.\n"
LOCK = "lock"


class AlreadyRunningError(StackError):
    """Another stack holds the folder."""


@dataclass(frozen=True, slots=True)
class Place:
    """A folder that belongs to one stack."""

    folder: Path

    def __truediv__(self, name: str) -> Path:
        return self.folder / name

    def secret(self, name: str) -> str:
        """Return the random secret of this name, made the first time it is asked for."""
        kept: dict[str, str] = self._read("secrets.json")
        if name not in kept:
            kept[name] = secrets.token_hex(16)
            write_private(self / "secrets.json", json.dumps(kept, indent=2))
        return kept[name]

    def port(self, name: str, preferred: int | None = None) -> int:
        """Return a free port for the listener ``name``: the one it had, else a preferred one, else any."""
        kept: dict[str, int] = self._read("ports.json")
        choices = [kept.get(name), preferred]
        chosen = next((port for port in choices if port and is_free(port) and port not in _others(kept, name)), None) or free_port()
        if kept.get(name) != chosen:
            write_private(self / "ports.json", json.dumps(kept | {name: chosen}, indent=2))
        return chosen

    def subfolder(self, name: str) -> Path:
        """Return a folder inside, made when it is missing."""
        folder = self / name
        folder.mkdir(mode=0o700, exist_ok=True)
        return folder

    def _read(self, name: str) -> dict[str, Any]:
        try:
            kept: dict[str, Any] = json.loads((self / name).read_text())
        except FileNotFoundError:
            return {}
        except ValueError as error:
            raise StackError(f"{self / name} is damaged: {error}", "Start over with `make run RESET=1`, or mend the file.") from error
        return kept


def _others(ports: dict[str, int], name: str) -> set[int]:
    return {port for other, port in ports.items() if other != name}


def require_free(variable: str, text: str) -> int:
    """Return the port a variable asks for.

    Raises:
        StackError: when it is no port, or taken.
    """
    if not text.isdigit() or int(text) > 65535:  # noqa: PLR2004  # the largest port there is
        raise StackError(f"{variable}={text} is no port.", "Give a number from 0 (any free one) to 65535.")
    port = int(text) or free_port()
    if not is_free(port):
        raise StackError(
            f"Port {port} on {LOOPBACK} is taken by another program.",
            f"Stop that program (`make stop`, if it is another stack), or choose another port: `make run {variable}={port + 1}`.",
        )
    return port


def write_private(path: Path, text: str) -> None:
    """Replace a file that only its owner may read; readers see the old content or the new, never a part."""
    partial = path.with_name(path.name + ".partial")
    partial.unlink(missing_ok=True)
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    partial.replace(path)


def find_place(name: str) -> Place:
    """Return the folder called ``name``, relative to the repository, without touching it."""
    return Place((REPOSITORY / Path(name).expanduser()).resolve())


def open_place(name: str) -> Place:
    """Return the folder called ``name``, relative to the repository, made when it is missing.

    Raises:
        StackError: when it cannot be made, or holds what is not ours.
    """
    place = find_place(name)
    try:
        place.folder.mkdir(mode=0o711, parents=True, exist_ok=True)
        place.folder.chmod(0o711)  # PostgreSQL's account must get through; every file in it is private by itself
        if not (place / MARKER).exists():
            if any(place.folder.iterdir()):
                raise StackError(f"{place.folder} holds files that `make run` did not make.", "Choose another folder with LOCAL_DIR.")
            (place / MARKER).write_text(MARKER_TEXT)
    except OSError as error:
        raise StackError(f"{place.folder} cannot be used: {error.strerror}.", "Choose another folder with LOCAL_DIR.") from error
    return place


def reset(place: Place) -> None:
    """Delete everything in a folder that is ours, while its lock is held."""
    remove_data(place.folder)
    for entry in place.folder.iterdir():
        if entry.name in {MARKER, LOCK}:
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()


@contextmanager
def locked(place: Place) -> Generator[None]:
    """Hold the folder's lock, which ends with this process however it ends.

    Raises:
        AlreadyRunningError: when another stack holds it.
    """
    with (place / LOCK).open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AlreadyRunningError(
                f"A stack is running in {place.folder} already (process {holder(place)}).",
                "Stop it with `make stop`, or start a second one beside it: `make run LOCAL_DIR=.local2 API_PORT=8001`.",
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def holder(place: Place) -> int | None:
    """Return the process that holds the folder's lock."""
    try:
        with (place / LOCK).open("r+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return int(file.read() or 0) or None
    except FileNotFoundError:
        pass
    return None
