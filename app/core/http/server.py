"""The server process: uvicorn in a gunicorn worker, ending in the order that loses nothing."""

import asyncio
import gc
import os
import signal
import sys
import time
from types import FrameType
from typing import Any, ClassVar, cast, override

from gunicorn.arbiter import Arbiter
from uvicorn.config import Config
from uvicorn.server import Server
from uvicorn_worker import UvicornWorker

from app.core.config import get_settings
from app.core.drain import Drain
from app.core.http.protocol import HttpProtocol
from app.core.http.websocket import WebSocketProtocol


class DrainingServer(Server):
    """Goes on answering for a while after the stop signal, so that whoever sends requests here can notice.

    Args:
        config: uvicorn's configuration.
        drain: Announced at the signal.
        seconds: Between the announcement and the end of accepting connections.
    """

    def __init__(self, config: Config, drain: Drain, seconds: float) -> None:
        super().__init__(config)
        self._loop = asyncio.get_running_loop()
        self._drain = drain
        self._seconds = seconds
        self._stop_at: float | None = None
        self._parent = os.getppid()

    @override
    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        # Not passed on to uvicorn's list of signals, which it raises anew at the end: the process is to end by itself.
        self._loop.call_soon_threadsafe(self._drain.begin)
        if sig == signal.SIGTERM and self._stop_at is None:
            self._stop_at = time.monotonic() + self._seconds
        elif sig != signal.SIGTERM:
            self.should_exit = True

    @override
    async def on_tick(self, counter: int) -> bool:
        if self._stop_at is not None and time.monotonic() >= self._stop_at:
            self.should_exit = True
        if os.getppid() != self._parent:  # the master was killed: nobody would ever stop this process
            self.should_exit = True
        return await super().on_tick(counter)


class Worker(UvicornWorker):  # type: ignore[misc]  # its package has no types
    """gunicorn's worker."""

    CONFIG_KWARGS: ClassVar[dict[str, Any]] = {  # pyright: ignore[reportIncompatibleVariableOverride]  # how it is meant to be used
        "loop": "uvloop",
        "http": HttpProtocol,
        "ws": WebSocketProtocol,
        "interface": "asgi3",
        "lifespan": "on",
        "log_config": None,
        "access_log": False,  # the dispatcher writes one
        "proxy_headers": False,  # the dispatcher believes whom TRUSTED_PROXIES names
        "server_header": False,
    }

    @override
    async def _serve(self) -> None:
        settings, app = get_settings(), cast("Any", self.wsgi)
        self.config.app, self.config.timeout_graceful_shutdown = app, settings.GRACEFUL_TIMEOUT
        server = DrainingServer(self.config, app.state.drain, settings.DRAIN_SECONDS)
        asyncio.get_running_loop().add_signal_handler(signal.SIGQUIT, server.handle_exit, signal.SIGQUIT, None)
        # What is there by now stays: left out of every later collection, which then looks at what requests leave behind alone.
        gc.collect()
        gc.freeze()
        await server.serve(sockets=self.sockets)
        if not server.started:
            sys.exit(Arbiter.WORKER_BOOT_ERROR)
