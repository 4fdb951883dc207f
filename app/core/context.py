"""What belongs to the request or task at hand, carried along by the interpreter: log lines, errors and outbox rows read it here."""

from contextvars import ContextVar
from hashlib import blake2b
from typing import Final

request_id: Final[ContextVar[str | None]] = ContextVar("request_id", default=None)
user_id: Final[ContextVar[int | None]] = ContextVar("user_id", default=None)
#: W3C Trace Context, level 1: passed on as it came.
traceparent: Final[ContextVar[str | None]] = ContextVar("traceparent", default=None)
#: Id of the message a task works on.
task_id: Final[ContextVar[str | None]] = ContextVar("task_id", default=None)


def fields() -> dict[str, str | int]:
    """Return what is known of the request or task, by the names that log lines use."""
    known = (
        ("request_id", request_id.get()),
        ("user_id", user_id.get()),
        ("traceparent", traceparent.get()),
        ("task_id", task_id.get()),
    )
    return {name: value for name, value in known if value is not None}


def trace_id() -> str | None:
    """Return the 32 hexadecimal digits that link a request with the tasks it caused.

    The trace id of ``traceparent`` where the caller sent one, else one derived from the request id, so that
    every process arrives at the same without telling the others.
    """
    parent = traceparent.get()
    if parent is not None:
        return parent.split("-")[1]
    current = request_id.get()
    return None if current is None else blake2b(current.encode(), digest_size=16).hexdigest()
