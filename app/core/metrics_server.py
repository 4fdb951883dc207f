"""``GET /metrics`` on a port of its own: what all processes of one service counted, those that ended included.

It runs in a thread of the master (gunicorn's, or Celery's worker process), which answers while its children are busy.
"""

import logging
import os
import socket
import threading
from collections import Counter
from collections.abc import Generator
from pathlib import Path
from typing import Any, Final

import uvicorn
from fastapi import Depends, FastAPI
from prometheus_client import mmap_dict as untyped_mmap_dict
from prometheus_client import multiprocess as untyped_multiprocess
from prometheus_fastapi_instrumentator import Instrumentator

from app.core.config import Settings
from app.core.metrics import DIRECTORY
from app.core.metrics_directory import alive

mmap_dict: Any = untyped_mmap_dict
multiprocess: Any = untyped_multiprocess

#: Where the counts of processes that ended are kept; no process has this id.
ENDED: Final = "0"
SUMMED: Final = ("counter", "histogram", "summary")
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
    """``GET /metrics`` in a thread of this process.

    Args:
        host: Address to listen on.
        port: Port to listen on; 0 takes a free one.

    Raises:
        OSError: if the port is taken.
    """

    def __init__(self, host: str, port: int) -> None:
        config = uvicorn.Config(metrics_app(), loop="asyncio", http="h11", ws="none", lifespan="off", log_config=None, access_log=False)
        self._owner = os.getpid()
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
        """Stop answering; in a forked child, only let go of the port."""
        if os.getpid() == self._owner:
            self._server.should_exit = True
            self._thread.join(timeout=5)
        self._socket.close()


def serve_metrics(settings: Settings) -> MetricsServer | None:
    """Answer ``GET /metrics`` on METRICS_PORT; without one, or where it is taken, the service runs on unmeasured."""
    if settings.METRICS_PORT == 0:
        return None
    try:
        return MetricsServer(settings.HOST, settings.METRICS_PORT)
    except OSError as error:
        logger.error("metrics are not served: %s:%s: %s", settings.HOST, settings.METRICS_PORT, error.strerror)  # noqa: TRY400  # says it all
        return None
