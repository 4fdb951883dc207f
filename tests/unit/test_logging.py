import json
import logging
import os
import socket
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from app.core import context
from app.core.log_writer import MOST_PENDING, PIPE_BUF, Writer
from app.core.logging import access, configure_logging, flush_logs, render_console, written_in_background

SETUP = "from app.core.logging import *; import logging, sys, os, signal; configure_logging('INFO');"


class Logs:
    """Lines written by this process while a test runs."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self.descriptor = descriptor
        configure_logging("INFO", descriptor=descriptor)

    def lines(self) -> list[dict[str, Any]]:
        flush_logs()
        return [json.loads(line) for line in self.path.read_text().splitlines()]

    def line(self) -> dict[str, Any]:
        [only] = self.lines()
        return only


@pytest.fixture
def logs(tmp_path: Path) -> Iterator[Logs]:
    root = logging.getLogger()
    before = (root.handlers[:], root.level, sys.excepthook, threading.excepthook)
    path = tmp_path / "log"
    with path.open("wb") as file:
        yield Logs(path, file.fileno())
    configure_logging("INFO")
    root.handlers[:] = before[0]
    root.setLevel(before[1])
    sys.excepthook, threading.excepthook = before[2:]
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()


@pytest.fixture
def request_at_hand() -> Iterator[None]:
    request, user = context.request_id.set("req-1"), context.user_id.set(7)
    yield
    context.request_id.reset(request)
    context.user_id.reset(user)


def run(code: str) -> list[dict[str, Any]]:
    """Run a program that logs and return its lines."""
    environment = {**os.environ, "PYTHONPATH": str(Path.cwd())}
    done = subprocess.run(
        [sys.executable, "-c", SETUP + "\n" + textwrap.dedent(code)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert done.stderr == ""
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.usefixtures("request_at_hand")
def test_a_line_of_any_library_names_the_request_and_the_user(logs: Logs) -> None:
    for name in ("uvicorn.error", "gunicorn.error", "celery.worker", "sqlalchemy.pool", "app.services.items"):
        logging.getLogger(name).warning("something about %s", name)
    lines = logs.lines()
    assert [line["logger"] for line in lines] == [
        "uvicorn.error",
        "gunicorn.error",
        "celery.worker",
        "sqlalchemy.pool",
        "app.services.items",
    ]
    assert all(line["request_id"] == "req-1" and line["user_id"] == 7 for line in lines)
    assert lines[0]["event"] == "something about uvicorn.error"
    assert lines[0]["level"] == "warning"


@pytest.mark.usefixtures("request_at_hand")
def test_structlog_and_extra_give_fields_of_their_own(logs: Logs) -> None:
    structlog.get_logger("app.a").info("paid", amount=3)
    logging.getLogger("app.b").info("paid", extra={"amount": 3})
    first, second = logs.lines()
    for line in (first, second):
        assert {key: line[key] for key in ("event", "amount", "request_id", "level")} == {
            "event": "paid",
            "amount": 3,
            "request_id": "req-1",
            "level": "info",
        }
    assert first.keys() == second.keys()


def test_an_error_brings_its_traceback_without_its_secrets(logs: Logs) -> None:
    def connect() -> None:
        raise ValueError("no login for bob@example.com with postgresql://app:s3cr3t@db/x")

    try:
        connect()
    except ValueError:
        logging.getLogger("app").exception("login failed")
    line = logs.line()
    assert "ValueError: no login for [e-mail]" in line["exception"]
    assert "s3cr3t" not in line["exception"]
    assert "test_logging.py" in line["exception"]


def test_lines_below_the_level_are_not_written(logs: Logs) -> None:
    logging.getLogger("app").debug("no")
    structlog.get_logger("app").debug("no")
    logging.getLogger("botocore").info("no")
    assert logs.lines() == []


def test_access_lines_say_who_asked_for_what(logs: Logs) -> None:
    access("GET", "/api/v1/items/{id}", "/api/v1/items/7", 200, 1.23456, 321, "req-9", 5, "203.0.113.77")
    line = logs.line()
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "level": "info",
        "logger": "app.access",
        "event": "request",
        "request_id": "req-9",
        "user_id": 5,
        "method": "GET",
        "route": "/api/v1/items/{id}",
        "path": "/api/v1/items/7",
        "status": 200,
        "duration_ms": 1.23,
        "bytes": 321,
        "client": "203.0.113.0/24",
    }


@pytest.mark.parametrize(
    ("client", "network"), [("2001:db8:1:2::3", "2001:db8:1::/48"), ("testclient", None), (None, None), ("10.1.2.3", "10.1.2.0/24")]
)
def test_an_address_is_logged_as_its_network(logs: Logs, client: str | None, network: str | None) -> None:
    access("GET", "none", "/bob@example.com", 404, 1, 0, "r", None, client)
    line = logs.line()
    assert line["client"] == network
    assert line["path"] == "/[e-mail]"


def test_access_lines_are_off_above_info(logs: Logs) -> None:
    configure_logging("WARNING", descriptor=logs.descriptor)
    access("GET", "/", "/", 200, 1, 1, "r", None, None)
    assert logs.lines() == []


def test_a_thread_writes_in_order_while_it_runs_and_everything_at_its_end(logs: Logs) -> None:
    with written_in_background():
        for number in range(200):
            logging.getLogger("app").info("line", extra={"number": number})
            access("GET", "/", "/", 200, 1, number, "r", None, None)
    assert [line.get("number", line.get("bytes")) for line in logs.lines()] == [n for number in range(200) for n in (number, number)]


def test_arguments_are_taken_when_the_line_is_logged(logs: Logs) -> None:
    held = [1]
    with written_in_background():
        logging.getLogger("app").info("held %s", held)
        held.append(2)
    assert logs.line()["event"] == "held [1]"


def test_a_line_that_cannot_be_rendered_does_not_stop_the_others(logs: Logs) -> None:
    class Broken:
        def __str__(self) -> str:
            raise RuntimeError

    logging.getLogger("app").info("first", extra={"broken": Broken()})
    logging.getLogger("app").info("second")
    first, second = logs.lines()
    assert first["event"] == "unprintable log line"
    assert second["event"] == "second"


def test_writes_are_no_longer_than_what_a_pipe_takes_as_a_whole() -> None:
    reader, writer = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)  # keeps writes apart
    out = Writer(writer.fileno())
    with out.background():
        for _ in range(30):
            out.put(lambda: b"x" * 999 + b"\n")
    writer.close()
    sizes = [len(reader.recv(2 * PIPE_BUF)) for _ in range(8)]
    reader.close()
    assert sizes == [4000] * 7 + [2000]


def test_lines_that_nobody_reads_are_dropped_and_counted() -> None:
    dropped: list[int] = []
    reader, descriptor = os.pipe()
    out = Writer(descriptor, dropped=lambda: dropped.append(1))
    os.close(reader)
    reached, go_on = threading.Event(), threading.Event()

    def slow() -> bytes:
        reached.set()
        go_on.wait(10)
        return b""

    with out.background():
        out.put(slow)
        assert reached.wait(10)
        for _ in range(MOST_PENDING + 3):
            out.put(lambda: b"line\n")
        assert len(dropped) == 3
        go_on.set()
    os.close(descriptor)


def test_a_full_pipe_that_must_not_block_is_waited_for() -> None:
    reader, descriptor = os.pipe()
    os.set_blocking(descriptor, False)
    out = Writer(descriptor)
    size = 1_000_000
    received = bytearray()

    def read() -> None:
        while len(received) < size:
            received.extend(os.read(reader, 65536))

    thread = threading.Thread(target=read)
    thread.start()
    out.put(lambda: b"y" * size)
    thread.join(10)
    assert len(received) == size
    os.close(reader)
    os.close(descriptor)


def test_everything_is_written_when_the_process_ends() -> None:
    lines = run("""
        written_in_background().__enter__()
        logging.getLogger("app").info("last words")
    """)
    assert [line["event"] for line in lines] == ["last words"]


def test_everything_is_written_on_sigterm() -> None:
    lines = run("""
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        with written_in_background():
            logging.getLogger("app").info("before the signal")
            os.kill(os.getpid(), signal.SIGTERM)
    """)
    assert [line["event"] for line in lines] == ["before the signal"]


def test_what_ends_a_process_or_a_thread_is_a_line_too() -> None:
    lines = run("""
        import threading
        thread = threading.Thread(target=lambda: 1 / 0)
        thread.start()
        thread.join()
        import warnings
        warnings.warn("old")
        raise ValueError("x")
    """)
    assert [line["level"] for line in lines] == ["critical", "warning", "critical"]
    assert "ZeroDivisionError" in lines[0]["exception"]
    assert "ValueError: x" in lines[2]["exception"]


def test_a_person_at_a_terminal_reads_lines_made_for_people() -> None:
    line = render_console(
        {"timestamp": "2026-01-01T00:00:00Z", "level": "info", "logger": "app", "event": "started", "port": 8000}
    ).decode()
    assert "started" in line
    assert not line.startswith("{")
