"""Structured logs: one JSON object per line on standard output, whichever library speaks.

Every line carries the request id and the user id of the request or task at hand; secrets and personal data are
taken out where the line is rendered (``scrub``). Loggers are the standard library's or structlog's, as one likes.
"""

import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from functools import lru_cache, partial
from ipaddress import ip_address, ip_network
from types import TracebackType
from typing import Any, Final, override

import orjson
import structlog
from structlog.typing import EventDict

from app.core import context, metrics
from app.core.log_writer import Writer
from app.core.scrub import scrub, scrub_path

STANDARD_OUTPUT: Final = 1
#: Loggers that talk too much at INFO, or say again what the access log says.
QUIET: Final = {
    "aiobotocore": logging.WARNING,
    "asyncio": logging.WARNING,
    "boto3": logging.WARNING,
    "botocore": logging.WARNING,
    "gunicorn.access": logging.CRITICAL,
    "httpx": logging.WARNING,
    "kombu": logging.WARNING,
    "sqlalchemy": logging.WARNING,
    "urllib3": logging.WARNING,
    "uvicorn.access": logging.CRITICAL,
}
#: Loggers that come with handlers of their own.
ADOPTED: Final = ("celery", "celery.task", "gunicorn.error", "sqlalchemy", "uvicorn", "uvicorn.error", "uvicorn.access", "gunicorn.access")

type Render = Callable[[EventDict], bytes]


def render_json(event: EventDict) -> bytes:
    """Render a line for machines."""
    return orjson.dumps(event, default=str, option=orjson.OPT_APPEND_NEWLINE | orjson.OPT_NON_STR_KEYS)


_console: Final = structlog.dev.ConsoleRenderer(colors=True, sort_keys=False)


def render_console(event: EventDict) -> bytes:
    """Render a line for a person at a terminal."""
    return (str(_console(None, "", dict(event))) + "\n").encode()


class _Output:
    """Where this process's lines go and what they look like; one per process, set by ``configure_logging``."""

    writer: Writer = Writer(STANDARD_OUTPUT, metrics.LOG_LINES_DROPPED.inc)
    render: Render = staticmethod(render_json)
    access: bool = True


def _timestamp(seconds: float) -> str:
    whole = int(seconds)
    return f"{_second(whole)}.{int((seconds - whole) * 1000):03d}Z"


@lru_cache(maxsize=16)
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _assemble(_logger: object, _name: str, event: EventDict) -> EventDict:
    """Put a line's parts in order: when, how bad, who, what, for which request, and what else there is."""
    record: logging.LogRecord = event.pop("_record")
    event.pop("_from_structlog", None)
    event.pop("color_message", None)  # uvicorn says the same twice
    known: Mapping[str, Any] = event.pop("context_fields", None) or record.__dict__.get("context_fields", {})
    line: EventDict = {
        "timestamp": _timestamp(record.created),
        "level": record.levelname.lower(),
        "logger": record.name,
        "event": event.pop("event", ""),
        **known,
    }
    scrubbed: EventDict = scrub({**line, **event})
    return scrubbed


class LineHandler(logging.Handler):
    """Hands records to the writer, with what is known of the request; rendering is the writer's work."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(
            structlog.stdlib.ProcessorFormatter(
                foreign_pre_chain=[structlog.stdlib.ExtraAdder()],
                processors=[structlog.processors.format_exc_info, _assemble, lambda _logger, _name, event: _Output.render(event).decode()],
                use_get_message=True,
            )
        )

    @override
    def emit(self, record: logging.LogRecord) -> None:
        record.context_fields = context.fields()
        if not isinstance(record.msg, dict):  # arguments may change before the writer comes to it
            record.msg, record.args = record.getMessage(), ()
        _Output.writer.put(partial(self._line, record))

    def _line(self, record: logging.LogRecord) -> bytes:
        try:
            return self.format(record).encode()
        except Exception as error:  # noqa: BLE001  # a line that cannot be rendered must not take the writer with it
            return render_json({"level": "error", "logger": __name__, "event": "unprintable log line", "error": type(error).__name__})


def access(  # noqa: PLR0913, PLR0917  # one argument per field: an object to hold them would cost more than the call
    method: str,
    route: str,
    path: str,
    status: int,
    duration_ms: float,
    size: int,
    request_id: str,
    user_id: int | None,
    client: str | None,
) -> None:
    """Log an answered request. Costs the request no more than remembering the arguments.

    Args:
        method: The request's method.
        route: The route's template, ``none`` where no route matched.
        path: The request's path, without its query.
        status: The answer's status code.
        duration_ms: Milliseconds it took.
        size: Bytes of the answer's body.
        request_id: The request's id.
        user_id: Who asked, where known.
        client: The client's address; its network is logged.
    """
    if _Output.access:
        _Output.writer.put(partial(_access_line, time.time(), method, route, path, status, duration_ms, size, request_id, user_id, client))


def _access_line(  # noqa: PLR0913, PLR0917  # the arguments of access()
    at: float,
    method: str,
    route: str,
    path: str,
    status: int,
    duration_ms: float,
    size: int,
    request_id: str,
    user_id: int | None,
    client: str | None,
) -> bytes:
    return _Output.render(
        {
            "timestamp": _timestamp(at),
            "level": "info",
            "logger": "app.access",
            "event": "request",
            "request_id": request_id,
            "user_id": user_id,
            "method": method,
            "route": route,
            "path": scrub_path(path),
            "status": status,
            "duration_ms": round(duration_ms, 2),
            "bytes": size,
            "client": _network(client),
        }
    )


@lru_cache(maxsize=4096)
def _network(client: str | None) -> str | None:
    """Return the network of an address (/24 or /48): enough to see where trouble comes from, too little to point at a person."""
    try:
        address = ip_address(client or "")
    except ValueError:
        return None
    return str(ip_network((address, 24 if address.version == 4 else 48), strict=False))  # noqa: PLR2004  # IPv4


def configure_logging(level: str, *, environment: str = "production", descriptor: int = STANDARD_OUTPUT) -> None:
    """Send everything that is logged in this process through here.

    Args:
        level: Least level that is logged.
        environment: In ``local``, and at a terminal, lines are for people.
        descriptor: The file to write to.
    """
    _Output.writer = Writer(descriptor, metrics.LOG_LINES_DROPPED.inc)
    _Output.render = render_console if environment == "local" and os.isatty(descriptor) else render_json
    _Output.access = logging.getLevelNamesMapping()[level] <= logging.INFO
    root = logging.getLogger()
    root.handlers = [LineHandler()]
    root.setLevel(level)
    for name in ADOPTED:
        adopted = logging.getLogger(name)
        adopted.handlers, adopted.propagate = [], True
    for name, least in QUIET.items():
        logging.getLogger(name).setLevel(max(least, root.level))
    logging.captureWarnings(capture=True)
    sys.excepthook = _log_uncaught
    threading.excepthook = lambda args: _log_uncaught(args.exc_type, args.exc_value, args.exc_traceback)
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


def _log_uncaught(kind: type[BaseException], error: BaseException | None, traceback: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        return
    logging.getLogger("app").critical("uncaught error", exc_info=(kind, error or kind(), traceback))


def written_in_background() -> AbstractContextManager[None]:
    """Return a context in which a thread writes the lines, so that the event loop never waits for the reader of the log."""
    return _Output.writer.background()


def flush_logs() -> None:
    """Write every line that waits."""
    _Output.writer.flush()
