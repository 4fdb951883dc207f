"""The folder through which the processes of one service (a master and its children) add up their metrics.

The folder belongs to the process that made it and to those forked from it. A child that runs another program, such as the
relay of a Celery worker, is told with ``shared_environment()``; otherwise it would be counted by itself.
"""

import atexit
import fcntl
import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Final

_SHARED: Final = "SHARED_METRICS_DIR"
_LIBRARY: Final = "PROMETHEUS_MULTIPROC_DIR"  # where prometheus_client looks
_PREFIX: Final = "platform-metrics"
_LOCK: Final = "lock"


def alive(pid: int) -> bool:
    """Say whether a process of this id exists."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def shared_environment() -> dict[str, str]:
    """Return the environment variables that make a child process count together with this one."""
    return {_SHARED: os.environ[_LIBRARY]}


def _sweep(parent: Path) -> None:
    """Remove the folders of masters that were killed: nobody holds their lock any more."""
    for folder in parent.glob(f"{_PREFIX}-*"):
        with suppress(OSError), (folder / _LOCK).open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)


def _make(parent: Path) -> Path:
    """Make a folder that is locked before it gets the name under which others would sweep it."""
    made = Path(tempfile.mkdtemp(prefix=f".{_PREFIX}-", dir=parent))
    lock = os.open(made / _LOCK, os.O_CREAT | os.O_RDONLY)  # open until this process and those forked from it are gone
    fcntl.flock(lock, fcntl.LOCK_EX)
    return made.rename(parent / made.name.removeprefix("."))


def _remove(folder: Path, owner: int) -> None:
    if os.getpid() == owner:
        shutil.rmtree(folder, ignore_errors=True)


def open_directory() -> Path:
    """Make this process's folder, or take the one that its parent shares, and tell prometheus_client where it is.

    A ``PROMETHEUS_MULTIPROC_DIR`` that was merely inherited is another service's, and is not used.
    """
    shared = os.environ.get(_SHARED)
    if shared is not None and Path(shared).is_dir():
        folder = Path(shared)
    else:
        parent = Path(tempfile.gettempdir())
        _sweep(parent)
        folder = _make(parent)
        atexit.register(_remove, folder, os.getpid())
    os.environ[_LIBRARY] = str(folder)
    return folder
