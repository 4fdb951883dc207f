"""Sentry's ingest endpoint, as far as error reports need it."""

import gzip
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import import_module
from typing import Any, override


def decode(encoding: str | None, body: bytes) -> bytes:
    match encoding:
        case None:
            return body
        case "gzip":
            return gzip.decompress(body)
        case _:  # the library takes Brotli wherever that is installed
            assert encoding == "br"
            return import_module("brotli").decompress(body)


class Ingest:
    """Sentry's ingest endpoint: takes envelopes and keeps the events in them."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.raw = b""
        ingest = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                ingest.take(self.path, self.headers.get("Content-Encoding"), self.rfile.read(int(self.headers["Content-Length"])))
                self.send_response(200)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            @override
            def log_message(self, format: str, *args: object) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.dsn = f"http://0123456789abcdef@127.0.0.1:{self.server.server_port}/42"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def take(self, path: str, encoding: str | None, body: bytes) -> None:
        assert path == "/api/42/envelope/"
        text = decode(encoding, body)
        self.raw += text
        _header, *items = text.split(b"\n")
        for kind, payload in zip(items[::2], items[1::2], strict=False):
            if json.loads(kind)["type"] == "event":
                self.events.append(json.loads(payload))

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
