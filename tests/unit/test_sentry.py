import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from app.core import context, sentry
from app.core.config import Settings
from app.core.errors import NotFound
from app.core.http import problems
from tests.ingest import Ingest

DATABASE_URL = "postgresql://a:b@127.0.0.1/x"
PASSWORD = "hunter2-hunter2"


def ignore(_args: threading.ExceptHookArgs) -> None: ...


@pytest.fixture
def ingest() -> Iterator[Ingest]:
    fake = Ingest()
    values = {"DATABASE_URL": DATABASE_URL, "SENTRY_DSN": fake.dsn, "VERSION": "4.5.6", "ENVIRONMENT": "test", "SECRET_KEY": "k" * 32}
    settings = Settings.model_validate(values)
    hook, threading.excepthook = threading.excepthook, ignore
    sentry.start_sentry(settings, "api")
    yield fake
    sentry.stop_sentry()
    threading.excepthook = hook
    fake.close()


@pytest.fixture(autouse=True)
def request_at_hand() -> Iterator[None]:
    tokens = [context.request_id.set("req-123"), context.user_id.set(77)]
    yield
    context.request_id.reset(tokens[0])  # pyright: ignore[reportArgumentType]  # tokens of several types in one list
    context.user_id.reset(tokens[1])  # pyright: ignore[reportArgumentType]  # tokens of several types in one list


def fail(message: str = "it broke") -> Exception:
    def inner(password: str) -> None:
        raise ValueError(message, len(password))

    try:
        inner(PASSWORD)
    except ValueError as error:
        return error
    raise AssertionError


def test_an_error_arrives_with_release_environment_request_and_user(ingest: Ingest) -> None:
    sentry.capture(fail(), route="/api/v1/items/{id}")
    sentry.stop_sentry()
    [event] = ingest.events
    assert event["release"] == "fastapi-platform@4.5.6"
    assert event["environment"] == "test"
    assert event["exception"]["values"][0]["type"] == "ValueError"
    assert event["tags"] == {"service": "api", "route": "/api/v1/items/{id}", "request_id": "req-123"}
    assert event["user"] == {"id": "77"}
    assert event["exception"]["values"][0]["stacktrace"]["frames"][-1]["function"].endswith("inner")


def test_an_error_nobody_foresaw_is_reported_and_one_that_was_foreseen_is_not(ingest: Ingest) -> None:
    assert problems.from_exception(NotFound()).status == 404
    assert problems.from_exception(fail()).status == 500
    sentry.stop_sentry()
    assert len(ingest.events) == 1


def test_an_error_met_twice_is_reported_once(ingest: Ingest) -> None:
    first, second = fail("one"), fail("two")
    for error in (first, second, first, second):
        sentry.capture(error)
    sentry.stop_sentry()
    assert len(ingest.events) == 2


def test_nothing_secret_or_personal_leaves(ingest: Ingest) -> None:
    sentry.capture(
        fail("bob@example.com sent Authorization: Bearer abcdefgh12345678 to postgresql://app:s3cr3t@db/x"),
        url="https://bucket/x?X-Amz-Signature=feedbeef&X-Amz-Expires=3",
    )
    sentry.stop_sentry()
    assert ingest.events
    for secret in (b"bob@example.com", b"abcdefgh12345678", b"s3cr3t", b"feedbeef", PASSWORD.encode(), b"breadcrumbs", b'"vars"'):
        assert secret not in ingest.raw


def test_a_task_is_linked_to_the_request_that_caused_it(ingest: Ingest) -> None:
    sentry.capture(fail("in the request"))
    token = context.task_id.set("7f1c0b1e-0000-4000-8000-000000000001")
    sentry.capture(fail("in its task"), task="app.tasks.email_tasks.send_welcome_email")
    context.task_id.reset(token)
    context.request_id.set("req-of-somebody-else")
    sentry.capture(fail("in another request"))
    sentry.stop_sentry()
    request, task, other = ingest.events
    assert request["contexts"]["trace"]["trace_id"] == task["contexts"]["trace"]["trace_id"]
    assert other["contexts"]["trace"]["trace_id"] != task["contexts"]["trace"]["trace_id"]
    assert task["tags"]["task_id"] == "7f1c0b1e-0000-4000-8000-000000000001"


def test_the_trace_of_the_caller_is_kept(ingest: Ingest) -> None:
    token = context.traceparent.set("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
    sentry.capture(fail())
    context.traceparent.reset(token)
    sentry.stop_sentry()
    assert ingest.events[0]["contexts"]["trace"]["trace_id"] == "4bf92f3577b34da6a3ce929d0e0e4736"


def test_what_ended_a_thread_is_reported(ingest: Ingest) -> None:
    def run() -> None:
        raise fail("in a thread")

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    sentry.stop_sentry()
    assert ingest.events[0]["exception"]["values"][0]["value"].startswith("('in a thread'")


def test_without_a_dsn_nothing_is_loaded() -> None:
    code = (
        "import sys; from app.core import sentry; from app.core.config import Settings;"
        f"sentry.start_sentry(Settings(DATABASE_URL='{DATABASE_URL}'), 'api'); sentry.capture(ValueError()); sentry.stop_sentry();"
        "sys.exit('sentry_sdk' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd=".").returncode == 0
