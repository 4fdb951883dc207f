"""Writing log lines: at once by default, by a thread in batches while ``background`` runs, so that no request waits for a pipe."""

import atexit
import os
import select
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from typing import Final

BATCH_SECONDS: Final = 0.2
#: Lines kept when nobody reads; what comes then is dropped and counted.
MOST_PENDING: Final = 50_000
#: What a pipe takes as a whole, so that lines of several processes do not mix (POSIX, write()).
PIPE_BUF: Final = select.PIPE_BUF

type Line = Callable[[], bytes]


class Writer:
    """Lines on their way to a file descriptor; an entry is a function that renders the line, run by the thread."""

    def __init__(self, descriptor: int, dropped: Callable[[], object] = lambda: None) -> None:
        self._descriptor = descriptor
        self._dropped = dropped
        self._pending: deque[Line] = deque()
        self._threaded = False
        self._wake = threading.Event()
        self._writing = threading.Lock()

    def put(self, line: Line) -> None:
        """Take a line: for the thread where it runs, else write it now."""
        if not self._threaded:
            self._write([line()])
        elif len(self._pending) < MOST_PENDING:
            self._pending.append(line)
        else:
            self._dropped()

    def flush(self) -> None:
        """Write what is pending."""
        with self._writing:
            lines: list[bytes] = []
            while self._pending:
                lines.append(self._pending.popleft()())
            self._write(lines)

    @contextmanager
    def background(self) -> Generator[None]:
        """Let a thread do the writing while the block runs; at its end everything is written."""
        stopped = threading.Event()

        def run() -> None:
            while not stopped.wait(BATCH_SECONDS):
                self.flush()

        thread = threading.Thread(target=run, name="logs", daemon=True)
        self._threaded = True
        thread.start()
        atexit.register(self.flush)
        try:
            yield
        finally:
            self._threaded = False
            stopped.set()
            thread.join(timeout=5)
            self.flush()
            atexit.unregister(self.flush)

    def _write(self, lines: Iterable[bytes]) -> None:
        for chunk in _chunks(lines):
            _write_all(self._descriptor, chunk)


def _chunks(lines: Iterable[bytes]) -> Generator[bytes]:
    """Join lines into pieces that a pipe takes as a whole."""
    held: list[bytes] = []
    size = 0
    for line in lines:
        if held and size + len(line) > PIPE_BUF:
            yield b"".join(held)
            held, size = [], 0
        held.append(line)
        size += len(line)
    if held:
        yield b"".join(held)


def _write_all(descriptor: int, chunk: bytes) -> None:
    while chunk:
        try:
            chunk = chunk[os.write(descriptor, chunk) :]
        except BlockingIOError:
            select.select([], [descriptor], [], 1)
        except OSError:  # nobody reads any more: there is nobody to tell either
            return
