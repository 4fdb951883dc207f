"""The one log of the stack: what every part says, on the terminal and in a file."""

import contextlib
import json
import os
import queue
import sys
import threading
import time
from collections import deque
from pathlib import Path
from typing import Any, TextIO

NAME_WIDTH = 11
RESET = "\x1b[0m"
DIM = "\x1b[2m"
COLOURS = {
    "stack": "\x1b[1m",
    "api": "\x1b[36m",
    "worker-main": "\x1b[35m",
    "worker-bulk": "\x1b[34m",
    "beat": "\x1b[33m",
    "postgres": "\x1b[94m",
    "valkey": "\x1b[91m",
    "s3": "\x1b[92m",
    "mail": "\x1b[95m",
}
LEVELS = {"warning": "\x1b[33m", "error": "\x1b[31m", "critical": "\x1b[31;1m"}
REMEMBERED = 30
MOST_WAITING = 10_000
MOST_LOG_BYTES = 64 * 2**20
FIRST = ("timestamp", "level", "event")
LEFT_OUT = {*FIRST, "logger", "color_message"}
MOST_VALUE = 200


class Console:
    """Writes lines where a person reads them, and all of them to a file.

    A thread writes to the terminal: nobody reading it must not stop the supervisor. What waits too long is dropped there.
    """

    def __init__(self, log: Path, terminal: TextIO = sys.stdout) -> None:
        self.colours = terminal.isatty() and "NO_COLOR" not in os.environ
        self._last: dict[str, deque[str]] = {}
        self._terminal = terminal
        self._waiting: queue.Queue[str | None] = queue.Queue(MOST_WAITING)
        self._log = log
        self._file = open_private(log)
        self._thread = threading.Thread(target=self._write_to_terminal, daemon=True, name="console")
        self._thread.start()

    def say(self, text: str) -> None:
        """Say something as the stack itself."""
        now = time.strftime("%H:%M:%S")
        self.lines("stack", [f"{now} {line}" for line in text.splitlines()])

    def lines(self, part: str, lines: list[str]) -> None:
        """Take what a part said."""
        self._last.setdefault(part, deque(maxlen=REMEMBERED)).extend(lines[-REMEMBERED:])
        prefix = f"{part:<{NAME_WIDTH}} | "
        self._file.write("".join(f"{prefix}{line}\n" for line in lines))
        if self._file.tell() > MOST_LOG_BYTES:
            self._file.close()
            self._log.replace(self._log.with_name(self._log.name + ".1"))
            self._file = open_private(self._log)
        if self.colours:
            prefix = f"{COLOURS.get(part, '')}{prefix}{RESET}"
            lines = [readable(line) for line in lines]
        lines = [line for line in lines if is_of_interest(part, line)]
        self.print("".join(f"{prefix}{line}\n" for line in lines))

    def print(self, text: str) -> None:
        """Show text on the terminal alone."""
        with contextlib.suppress(queue.Full):  # it is in the file
            self._waiting.put_nowait(text)

    def last_lines(self, part: str) -> str:
        """Return the last of what a part said."""
        return "\n".join(f"    {line}" for line in self._last.get(part, ()))

    def close(self, seconds: float = 1) -> None:
        """Write what waits, as far as somebody reads it within ``seconds``."""
        with contextlib.suppress(queue.Full):
            self._waiting.put(None, timeout=seconds)
            self._thread.join(seconds)
        self._file.close()

    def _write_to_terminal(self) -> None:
        while (text := self._waiting.get()) is not None:
            try:
                self._terminal.write(text)
                if self._waiting.empty():
                    self._terminal.flush()
            except (OSError, ValueError):
                return  # the terminal is gone


def open_private(path: Path) -> TextIO:
    """Open an empty file that only its owner may read."""
    path.unlink(missing_ok=True)
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "w", buffering=1, encoding="utf-8")


def is_of_interest(part: str, line: str) -> bool:
    """Tell whether a person wants to see a line; what the embedded servers say in good health is in the file."""
    match part:
        case "postgres":
            return " LOG: " not in line
        case "valkey":
            return " # " in line and "bye bye" not in line
        case "s3":
            return line.startswith("F")
        case _:
            return bool(line.strip())


def readable(line: str) -> str:
    """Turn a line of JSON into one for people; leave any other as it is."""
    if not line.startswith("{"):
        return line
    try:
        entry: dict[str, Any] = json.loads(line)
    except ValueError:
        return line
    at, level, event = (str(entry.get(name, "")) for name in FIRST)
    rest = " ".join(
        f"{DIM}{name}={RESET}{str(value)[:MOST_VALUE]}" for name, value in entry.items() if name not in LEFT_OUT and value is not None
    )
    colour = LEVELS.get(level, "")
    return f"{DIM}{at[11:23]}{RESET} {colour}{level:<7}{RESET if colour else ''} {event} {rest}"
