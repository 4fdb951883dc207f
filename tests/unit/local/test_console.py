"""The one log: readable for people, whole in the file, and no hindrance when nobody reads."""

import contextlib
import io
import os
import threading
from pathlib import Path
from typing import override

import pytest

from app.local import console
from app.local.console import Console, is_of_interest, readable


class Terminal(io.StringIO):
    """A terminal that remembers."""

    @override
    def isatty(self) -> bool:
        return True


def test_a_line_of_json_is_made_readable_on_a_terminal_and_stays_json_in_the_file(tmp_path: Path) -> None:
    terminal = Terminal()
    log = Console(tmp_path / "log", terminal)
    line = '{"timestamp":"2026-01-02T03:04:05.678Z","level":"warning","event":"slow","seconds":3}'
    log.lines("api", [line])
    log.close()
    assert (tmp_path / "log").read_text() == f"api         | {line}\n"
    shown = terminal.getvalue()
    assert "03:04:05.678" in shown
    assert "slow" in shown
    assert "{" not in shown


@pytest.mark.parametrize("line", ["plain text", "{not json", ""])
def test_what_is_no_json_is_shown_as_it_is(line: str) -> None:
    assert readable(line) == line


@pytest.mark.parametrize(
    ("part", "line", "shown"),
    [
        ("postgres", "2026-01-02 GMT [1] LOG:  checkpoint complete", False),
        ("postgres", "2026-01-02 GMT [1] ERROR:  relation does not exist", True),
        ("valkey", "1:M 02 Jan 2026 * Ready to accept connections", False),
        ("valkey", "1:M 02 Jan 2026 # Out of memory", True),
        ("s3", "I0102 volume.go:1] started", False),
        ("api", "anything", True),
    ],
)
def test_the_terminal_shows_of_the_servers_only_what_is_wrong(part: str, line: str, *, shown: bool) -> None:
    assert is_of_interest(part, line) is shown


def test_a_terminal_nobody_reads_does_not_stop_the_stack(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    with contextlib.suppress(BrokenPipeError), os.fdopen(writing, "w") as unread:
        log = Console(tmp_path / "log", unread)
        for _ in range(1000):
            log.lines("api", ["x" * 1000])
        log.close(seconds=0.1)
        assert (tmp_path / "log").read_text().count("\n") == 1000
        os.close(reading)  # the writing thread ends, as its terminal is gone
        for thread in [thread for thread in threading.enumerate() if thread.name == "console"]:
            thread.join(5)


def test_the_file_does_not_grow_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "MOST_LOG_BYTES", 1000)
    log = Console(tmp_path / "log", io.StringIO())
    for _ in range(100):
        log.lines("api", ["x" * 100])
    log.close()
    assert (tmp_path / "log").stat().st_size < 2000
    assert (tmp_path / "log.1").stat().st_size < 2000
