"""Every metric of the service, defined once. Correct over several processes: see ``metrics_directory`` and ``metrics_server``.

What is counted on a request's way is counted in plain memory (``observe_request``, ``tally``) and carried over by a
thread once a second; the rest of the code uses the metrics as prometheus_client made them.
"""

import platform
import threading
from bisect import bisect_left
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, Final, cast

from prometheus_client import Counter, Gauge, Histogram, values

from app.core.metrics_directory import open_directory

DIRECTORY: Final = open_directory()
# The library decides by the environment, when it is imported; here it is decided for every process, whatever imported it first.
values.ValueClass = cast("Any", values).MultiProcessValue()

FLUSH_SECONDS: Final = 1.0
METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "WEBSOCKET"})
REQUEST_BUCKETS: Final = (0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
WAIT_BUCKETS: Final = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0)
TASK_BUCKETS: Final = (0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0)


class BulkHistogram(Histogram):
    """A histogram that takes many observations at once."""

    def add(self, counts: list[int], total: float) -> None:
        """Add observations that were sorted into the buckets before.

        Args:
            counts: Observations per bucket, the last being those above every bound.
            total: Sum of the observed values.
        """
        own = vars(self)
        for bucket, count in zip(own["_buckets"], counts, strict=True):
            if count:
                bucket.inc(count)
        own["_sum"].inc(total)


# HTTP, named as prometheus-fastapi-instrumentator names them.
REQUESTS: Final = Counter("http_requests_total", "Requests by route template, method and status.", ["handler", "method", "status"])
REQUEST_SECONDS: Final = BulkHistogram(
    "http_request_duration_seconds",
    "Seconds from a request's first byte to its answer's last.",
    ["handler", "method"],
    buckets=REQUEST_BUCKETS,
)
IN_FLIGHT: Final = Gauge("http_requests_inprogress", "Requests being answered now.", multiprocess_mode="livesum")
RATE_LIMIT_DECISIONS: Final = Counter(
    "rate_limit_decisions_total",
    "Rate-limit decisions by policy: allowed, refused, or unchecked because Redis did not answer.",
    ["policy", "decision"],
)

# PostgreSQL, per pool: `transactions` and `autocommit`.
POOL_SIZE: Final = Gauge("database_pool_size", "Connections the pool may open.", ["pool"], multiprocess_mode="livesum")
POOL_IN_USE: Final = Gauge("database_pool_in_use", "Connections in use now.", ["pool"], multiprocess_mode="livesum")
POOL_WAITING: Final = Gauge("database_pool_waiting", "Requests waiting for a connection now.", ["pool"], multiprocess_mode="livesum")
POOL_WAIT_SECONDS: Final = BulkHistogram(
    "database_pool_wait_seconds", "Seconds waited for a connection, opening it included.", ["pool"], buckets=WAIT_BUCKETS
)

# Background work. The relay and the workers report these.
OUTBOX_BACKLOG: Final = Gauge("outbox_backlog", "Outbox rows that wait to be published.", multiprocess_mode="livemostrecent")
OUTBOX_BACKLOG_AGE: Final = Gauge(
    "outbox_backlog_age_seconds", "Age of the oldest outbox row that waits to be published.", multiprocess_mode="livemostrecent"
)
OUTBOX_PARKED: Final = Gauge("outbox_parked", "Outbox rows given up after too many attempts.", multiprocess_mode="livemostrecent")
OUTBOX_PUBLISHED: Final = Counter("outbox_published_total", "Outbox rows published, by kind (task, event).", ["kind"])
OUTBOX_REPUBLISHED: Final = Counter("outbox_republished_total", "Outbox rows published again because nobody confirmed them.")
QUEUE_DEPTH: Final = Gauge("queue_depth", "Messages waiting in a queue.", ["queue"], multiprocess_mode="livemostrecent")
QUEUE_AGE: Final = Gauge(
    "queue_age_seconds", "Age of the oldest message waiting in a queue.", ["queue"], multiprocess_mode="livemostrecent"
)
TASKS: Final = Counter("tasks_total", "Tasks ended: succeeded, failed, parked, postponed, lost or released.", ["task", "outcome"])
TASK_SECONDS: Final = Histogram("task_duration_seconds", "Seconds a task ran.", ["task"], buckets=TASK_BUCKETS)
EMAILS: Final = Counter("emails_total", "Mails handed to the mail server, by outcome: sent or failed.", ["outcome"])
EMAIL_REPEATS: Final = Counter("email_repeats_total", "Mails sent again because the first sending was not recorded.")

# Live events.
WEBSOCKETS: Final = Gauge("websocket_connections", "Open WebSocket connections.", multiprocess_mode="livesum")
WEBSOCKET_CLOSES: Final = Counter("websocket_closes_total", "WebSocket connections closed, by close code.", ["code"])
EVENTS_DELIVERED: Final = Counter("events_delivered_total", "Events sent to sockets, by type.", ["type"])
EVENTS_MISSED: Final = Counter("events_missed_total", "Times a socket was told that events are gone.")

BUILD_INFO: Final = Gauge(
    "build_info", "The release that runs; always 1.", ["version", "environment", "python"], multiprocess_mode="livemax"
)
LOG_LINES_DROPPED: Final = Counter("log_lines_dropped_total", "Log lines dropped because their reader was too slow.")


class Tally:
    """A count kept in memory: ``tally.count += 1`` by one thread, carried over to a counter by the flusher.

    The count never falls; the flusher remembers how much of it was carried over, so neither needs a lock.
    """

    __slots__ = ("_counter", "_flushed", "count")

    def __init__(self, counter: Counter) -> None:
        self.count = 0
        self._flushed = 0
        self._counter = counter

    def flush(self) -> None:
        """Carry over what was counted since the last time."""
        count = self.count
        if count > self._flushed:
            self._counter.inc(count - self._flushed)
            self._flushed = count


class Observations:
    """Observations of a histogram kept in memory by one thread, carried over by the flusher.

    Args:
        histogram: With its labels set.
        bounds: Its buckets' upper bounds.
    """

    __slots__ = ("_bounds", "_flushed", "_flushed_total", "_histogram", "buckets", "total")

    def __init__(self, histogram: BulkHistogram, bounds: tuple[float, ...]) -> None:
        self.buckets = [0] * (len(bounds) + 1)
        self.total = 0.0
        self._bounds = bounds
        self._histogram = histogram
        self._flushed = self.buckets[:]
        self._flushed_total = 0.0

    def observe(self, value: float) -> None:
        """Take an observation."""
        self.buckets[bisect_left(self._bounds, value)] += 1
        self.total += value

    def flush(self) -> int:
        """Carry over what was observed since the last time, and return how many observations that were."""
        buckets, total = self.buckets[:], self.total
        fresh = [now - before for now, before in zip(buckets, self._flushed, strict=True)]
        if count := sum(fresh):
            self._histogram.add(fresh, total - self._flushed_total)
            self._flushed, self._flushed_total = buckets, total
        return count


class _RequestTally:
    """Requests of one handler, method and status, by duration."""

    __slots__ = ("_counter", "seconds")

    def __init__(self, handler: str, method: str, status: int) -> None:
        self._counter = REQUESTS.labels(handler, method, status)
        self.seconds = Observations(REQUEST_SECONDS.labels(handler, method), REQUEST_BUCKETS)

    def flush(self) -> None:
        """Carry over what was observed since the last time."""
        if count := self.seconds.flush():
            self._counter.inc(count)


_requests: Final[dict[tuple[str, str, int], _RequestTally]] = {}
_tallies: Final[list[Tally | Observations]] = []
_samples: Final[dict[Gauge, Callable[[], float]]] = {}
_flushing: Final = threading.Lock()


def observe_request(handler: str, method: str, status: int, seconds: float) -> None:
    """Count a request that was answered.

    Args:
        handler: The route's template, such as ``/api/v1/items/{id}``; ``none`` where no route matched.
        method: The request's method; unknown ones are counted as ``OTHER``.
        status: The answer's status code.
        seconds: How long it took.
    """
    found = _requests.get((handler, method, status)) or _request_tally(handler, method, status)
    found.seconds.observe(seconds)


def _request_tally(handler: str, method: str, status: int) -> _RequestTally:
    key = (handler, method if method in METHODS else "OTHER", status)
    if key not in _requests:
        _requests[key] = _RequestTally(*key)
    return _requests[key]


def tally(counter: Counter) -> Tally:
    """Return a count in memory for a counter (one with its labels set) that a hot path adds to."""
    made = Tally(counter)
    _tallies.append(made)
    return made


def waits_for_connections(pool: str) -> Observations:
    """Return where a pool notes how long somebody waited for a connection, in seconds."""
    made = Observations(POOL_WAIT_SECONDS.labels(pool), WAIT_BUCKETS)
    _tallies.append(made)
    return made


def sample(gauge: Gauge, read: Callable[[], float]) -> None:
    """Have a gauge (one with its labels set) follow a value, read once a second by another thread."""
    _samples[gauge] = read


def flush() -> None:
    """Carry over what was counted in memory."""
    with _flushing:
        for requests in list(_requests.values()):
            requests.flush()
        for tallied in _tallies:
            tallied.flush()
        for gauge, read in list(_samples.items()):
            gauge.set(read())


def say_build(version: str, environment: str) -> None:
    """Publish which release this process runs."""
    BUILD_INFO.labels(version, environment, platform.python_version()).set(1)


@contextmanager
def collecting(version: str, environment: str) -> Generator[None]:
    """Carry over, while the block runs, what this process counts in memory."""
    say_build(version, environment)
    stopped = threading.Event()

    def run() -> None:
        while not stopped.wait(FLUSH_SECONDS):
            flush()

    thread = threading.Thread(target=run, name="metrics", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()
        flush()
