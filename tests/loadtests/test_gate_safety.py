"""Load goes where a profile allows it, and never to production."""

import json
import threading
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, override

import pytest

from app.local.servers.ports import free_port
from loadtests.gate.outcome import Exit, GateError, RefusedError
from loadtests.gate.plan import load_profile
from loadtests.gate.safety import ask_service, check_host


@contextmanager
def describing(info: Any, *, live: bool = False) -> Generator[str]:
    """Serve an OpenAPI document with this ``info``, and the page of a local stack if ``live``."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps({"info": info}).encode()
            self.send_response(200 if live or self.path != "/live" else 404)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        @override
        def log_message(self, format: str, *args: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("url", ["http://127.0.0.1:8000", "http://localhost:8000/", "http://[::1]:8000"])
def test_hosts_on_the_list_are_allowed(url: str) -> None:
    assert check_host(url, load_profile("smoke")) == url.rstrip("/")


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com",
        "https://127.0.0.1.example.com",
        "http://127.0.0.1@example.com",
        "http://127.0.0.2:8000",
        "ftp://127.0.0.1",
        "127.0.0.1:8000",
        "http://127.0.0.1/api",
        "http://127.0.0.1:port",
        "http://",
        "",
    ],
)
def test_other_hosts_and_what_is_no_base_url_are_refused(url: str) -> None:
    with pytest.raises(RefusedError) as refused:
        check_host(url, load_profile("smoke"))
    assert refused.value.code is Exit.REFUSED


@pytest.mark.parametrize("environment", ["local", "test", "staging"])
def test_a_service_that_says_it_is_harmless_is_taken(environment: str) -> None:
    with describing({"version": "1", "x-environment": environment}) as url:
        assert ask_service(url).environment == environment


def test_production_is_refused_even_through_a_tunnel_and_even_if_it_looks_local() -> None:
    with describing({"version": "1", "x-environment": "production"}, live=True) as url, pytest.raises(RefusedError, match="production"):
        ask_service(url)


def test_a_service_that_does_not_say_what_it_is_counts_as_production() -> None:
    with describing({"version": "1"}) as url, pytest.raises(RefusedError, match="does not say"):
        ask_service(url)


def test_the_local_stack_is_known_by_its_page() -> None:
    with describing({"version": "1"}, live=True) as url:
        assert ask_service(url).environment == "local"


def test_a_host_where_nobody_answers_is_a_harness_error() -> None:
    with pytest.raises(GateError, match="does not answer as the service does") as unreachable:
        ask_service(f"http://127.0.0.1:{free_port()}")
    assert unreachable.value.code is Exit.HARNESS_ERROR


def test_something_else_that_answers_is_a_harness_error() -> None:
    with describing([]) as url, pytest.raises(GateError, match="does not answer as the service does"):
        ask_service(url)
