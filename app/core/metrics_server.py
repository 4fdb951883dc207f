"""``GET /metrics`` on a port of its own: what all processes of one service counted, those that ended included.

It never runs in a process that forks: a child forked while another thread holds a lock would wait for that lock for ever.
gunicorn's master has a process for it (``python -m app.core.metrics_server``); beside a Celery worker the relay answers.
"""

import argparse
import logging
import os
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Generator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import uvicorn
from fastapi import Depends, FastAPI
from prometheus_client import mmap_dict as untyped_mmap_dict
from prometheus_client import multiprocess as untyped_multiprocess
from prometheus_fastapi_instrumentator import Instrumentator

from app.core.config import Settings, get_settings
from app.core.logging import configure_logging
from app.core.metrics import DIRECTORY
from app.core.metrics_directory import alive, shared_environment

mmap_dict: Any = untyped_mmap_dict
multiprocess: Any = untyped_multiprocess

#: Where the counts of processes that ended are kept; no process has this id.
ENDED: Final = "0"
SUMMED: Final = ("counter", "histogram", "summary")
#: How long a former listener may take to let go of the port.
BIND_SECONDS: Final = 10.0
WATCH_SECONDS: Final = 0.5
STOP_SECONDS: Final = 5.0
_scraping: Final = threading.Lock()

logger = logging.getLogger(__name__)


def _owner(file: Path) -> str:
    return file.stem.rsplit("_", 1)[-1]


def _merge(kind: str, files: list[Path]) -> None:
    """Add the counts of processes that ended to those kept, and remove their files."""
    kept = DIRECTORY / f"{kind}_{ENDED}.db"
    totals: Counter[str] = Counter()
    for file in (*([kept] if kept.exists() else []), *files):
        totals.update({key: value for key, value, *_ in mmap_dict.MmapedDict.read_all_values_from_file(str(file))})
    merged = DIRECTORY / f"{kind}.merging"
    merged.unlink(missing_ok=True)
    target = mmap_dict.MmapedDict(str(merged))
    for key, value in totals.items():
        target.write_value(key, value, 0.0)
    target.close()
    merged.replace(kept)
    for file in files:
        file.unlink()


def tidy() -> None:
    """Keep the counts of processes that ended, in one file each, and drop their gauges.

    Without it every process that ever ran would leave its files, and the gauges of a killed one would stand for ever.
    """
    ended = {owner for owner in map(_owner, DIRECTORY.glob("*.db")) if owner != ENDED and not alive(int(owner))}
    for owner in ended:
        multiprocess.mark_process_dead(int(owner), str(DIRECTORY))
    for kind in SUMMED:
        if files := [file for owner in ended if (file := DIRECTORY / f"{kind}_{owner}.db").exists()]:
            _merge(kind, files)


def _alone() -> Generator[None]:
    with _scraping:
        tidy()
        yield


def metrics_app() -> FastAPI:
    """Build the application that answers ``GET /metrics``."""
    app = FastAPI(openapi_url=None)
    Instrumentator().expose(app, dependencies=[Depends(_alone)])
    return app


class MetricsServer:
    """``GET /metrics`` in a thread of this process, which must not fork.

    Args:
        host: Address to listen on.
        port: Port to listen on; 0 takes a free one.

    Raises:
        OSError: if the port is taken.
    """

    def __init__(self, host: str, port: int) -> None:
        config = uvicorn.Config(metrics_app(), loop="asyncio", http="h11", ws="none", lifespan="off", log_config=None, access_log=False)
        self._socket = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [self._socket]}, name="metrics-server", daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        """The port listened on."""
        port: int = self._socket.getsockname()[1]
        return port

    def close(self) -> None:
        """Stop answering."""
        self._server.should_exit = True
        self._thread.join(timeout=STOP_SECONDS)
        self._socket.close()


def serve_metrics(settings: Settings) -> MetricsServer | None:
    """Answer ``GET /metrics`` on METRICS_PORT; without one, or where it stays taken, the service runs on unmeasured."""
    if settings.METRICS_PORT == 0:
        return None
    deadline = time.monotonic() + BIND_SECONDS
    while True:
        try:
            return MetricsServer(settings.HOST, settings.METRICS_PORT)
        except OSError as error:
            if time.monotonic() > deadline:
                logger.error("metrics are not served: %s:%s: %s", settings.HOST, settings.METRICS_PORT, error.strerror)  # noqa: TRY400  # says it all
                return None
            time.sleep(WATCH_SECONDS)


class MetricsProcess:
    """The process that answers for a master that forks. It ends with its master, however that ends."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "app.core.metrics_server", "--parent", str(os.getpid())]
        self._process = subprocess.Popen(command, env=os.environ | shared_environment(), stdin=subprocess.DEVNULL)  # noqa: S603  # a constant command

    def close(self) -> None:
        """End it."""
        self._process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(STOP_SECONDS)
        self._process.kill()
        self._process.wait()


def main() -> None:
    """Answer until the master named on the command line is gone."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--parent", type=int, required=True)
    parent: int = parser.parse_args().parent
    settings = get_settings()
    configure_logging(settings.LOG_LEVEL, environment=settings.ENVIRONMENT)
    server = serve_metrics(settings)
    while server is not None and os.getppid() == parent:
        time.sleep(WATCH_SECONDS)


if __name__ == "__main__":
    main()
