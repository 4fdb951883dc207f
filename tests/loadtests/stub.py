"""A tiny service that answers what a run of the journey ``platform`` asks, well or badly."""

import json
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from typing import Any, override

type Answer = tuple[int, Any]

PROFILE = """
description = "The service's health, for a few seconds."
hosts = ["127.0.0.1"]
people = 2
users = 20
max_rate = 400
quantiles = ["p50"]
[[phases]]
name = "warm-up"
seconds = 0.5
judged = false
[[phases]]
name = "load"
seconds = 2
[journeys]
platform = 60
"""
BUDGET = "{p50_ms: 5000, p95_ms: 5000, p99_ms: 5000, error_rate: 0.001}"
ROUTES = ("GET /", "GET /health/live", "GET /health/ready", "GET /health/startup")
SLO = f"endpoints:\n{''.join(f'  {route}: {BUDGET}\n' for route in ROUTES)}flows: {{}}\n"


def health(path: str) -> Answer:
    """Answer as the service does."""
    return 200, {"message": "API is running"} if path == "/" else {"status": "ok"}


class Stub:
    """The service.

    Attributes:
        url: Where it is.
        users: Accounts that are there, by id.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.users: dict[int, str] = {}
        self.superuser = True
        self._numbers = count(2)

    def answer(self, method: str, path: str, body: bytes) -> Answer:  # noqa: PLR0911  # a table of answers
        """Answer what preparation and invariants ask."""
        match method, path.partition("?")[0].removeprefix("/api/v1"):
            case "GET", "/openapi.json":
                return 200, {"info": {"version": "1", "x-environment": "test"}}
            case "POST", "/auth/login":
                return 200, {"access_token": "a", "refresh_token": "r", "expires_in": 900}
            case "GET", "/users/me":
                return 200, {"id": 1, "is_superuser": self.superuser}
            case "POST", "/users/":
                user_id = next(self._numbers)
                self.users[user_id] = json.loads(body)["email"]
                return 201, {"id": user_id}
            case "GET", "/users/":
                return 200, [{"id": user_id, "email": email} for user_id, email in self.users.items()]
            case "DELETE", _:
                self.users.pop(int(path.rpartition("/")[2]), None)
                return 204, None
            case "POST", "/items/batch":
                return 201, [{"id": number, "title": each["title"]} for number, each in enumerate(json.loads(body))]
            case "GET", "/items/":
                return 200, []
            case _:
                return 404, {}


@contextmanager
def stub(healthy: Callable[[str], Answer] = health) -> Generator[Stub]:
    """Serve for the length of the block; ``healthy`` answers what the load asks."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # head and body in one packet

        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, value = (
                healthy(self.path) if self.path == "/" or self.path.startswith("/health") else served.answer(self.command, self.path, body)
            )
            content = b"" if value is None else json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_POST = do_GET  # noqa: N815  # the name is the library's
        do_DELETE = do_GET  # noqa: N815

        @override
        def log_message(self, format: str, *args: object) -> None: ...

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 256

    server = Server(("127.0.0.1", 0), Handler)
    served = Stub(f"http://127.0.0.1:{server.server_port}")
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield served
    finally:
        server.shutdown()
        server.server_close()


def arguments(folder: Path, url: str, *more: str) -> list[str]:
    """Return the command line of a run against a stub."""
    (folder / "own.toml").write_text(PROFILE)
    (folder / "slo.yaml").write_text(SLO)
    out = folder / "out"
    return ["run", "--profile", str(folder / "own.toml"), "--slo", str(folder / "slo.yaml"), "--host", url, "--out", str(out), *more]
