"""The folder through which the processes of one service (a master and its children) add up their metrics.

The folder belongs to the process that made it and to those forked from it. A child that runs another program, such as the
relay of a Celery worker, is told with ``shared_environment()``; otherwise it would be counted by itself.
"""

import atexit
import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Final

_SHARED: Final = "SHARED_METRICS_DIR"
_LIBRARY: Final = "PROMETHEUS_MULTIPROC_DIR"  # where prometheus_client looks
_PREFIX: Final = "platform-metrics"


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
    """Remove the folders of masters that were killed: their process is gone, or its id is ours by now."""
    for folder in parent.glob(f"{_PREFIX}-*"):
        with suppress(ValueError):
            owner = int(folder.name.split("-")[2])
            if owner == os.getpid() or not alive(owner):
                shutil.rmtree(folder, ignore_errors=True)


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
        _sweep(Path(tempfile.gettempdir()))
        folder = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}-{os.getpid()}-"))
        atexit.register(_remove, folder, os.getpid())
    os.environ[_LIBRARY] = str(folder)
    return folder
