"""Error reports to Sentry: an error once, with its release and what it happened to, without secrets and personal data.

Nothing of Sentry's stands on a request's way: no integration wraps the application, errors are handed over where
they are turned into an answer (``capture``). Without SENTRY_DSN the library is not even imported.
"""

import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from app.core import context
from app.core.config import Settings
from app.core.scrub import scrub

if TYPE_CHECKING:
    from sentry_sdk.types import Event, Hint

FLUSH_SECONDS: Final = 2.0
#: Set on an error that was reported, so that whoever meets it next does not report it again.
REPORTED: Final = "_reported_to_sentry"


type ThreadHook = Callable[[threading.ExceptHookArgs], object]


class _State:
    """Whether this process reports errors."""

    enabled = False


def start_sentry(settings: Settings, service: str) -> None:
    """Begin to report this process's errors; nothing happens without SENTRY_DSN.

    Args:
        settings: Where to report to, and the release and environment that runs.
        service: Which of the processes this is: ``api``, ``worker``, ``scheduler``.
    """
    if settings.SENTRY_DSN is None:
        return
    import sentry_sdk  # noqa: PLC0415  # costs 30 MB and 0.3 s that only those pay who use it
    from sentry_sdk.integrations.atexit import AtexitIntegration  # noqa: PLC0415  # only a service with a DSN pays for the import
    from sentry_sdk.integrations.dedupe import DedupeIntegration  # noqa: PLC0415  # only a service with a DSN pays for the import
    from sentry_sdk.integrations.excepthook import ExcepthookIntegration  # noqa: PLC0415  # only a service with a DSN pays for the import

    sentry_sdk.init(
        dsn=settings.SENTRY_DSN.get_secret_value(),
        release=f"{settings.PROJECT_NAME}@{settings.VERSION}".lower().replace(" ", "-"),
        environment=settings.ENVIRONMENT,
        default_integrations=False,
        integrations=[
            AtexitIntegration(callback=_say_nothing),
            DedupeIntegration(),
            ExcepthookIntegration(),
        ],
        include_local_variables=False,
        max_request_body_size="never",
        max_breadcrumbs=0,
        auto_session_tracking=False,
        send_client_reports=False,
        shutdown_timeout=FLUSH_SECONDS,
        before_send=_before_send,
    )
    sentry_sdk.get_global_scope().set_tag("service", service)
    _State.enabled = True
    threading.excepthook = _reporting(threading.excepthook)


def capture(error: BaseException, **tags: str) -> None:
    """Report an error with the request or task it happened in; a second report of the same error is not sent.

    Args:
        error: What was raised.
        tags: What to find it by, such as the route or the task's name.
    """
    if not _State.enabled or getattr(error, REPORTED, False):
        return
    import sentry_sdk  # noqa: PLC0415  # loaded when ``start_sentry`` did

    with suppress(AttributeError):  # an error without a __dict__ may be reported twice
        setattr(error, REPORTED, True)
    with sentry_sdk.new_scope() as scope:
        for name, value in tags.items():
            scope.set_tag(name, value)
        scope.capture_exception(error)


def stop_sentry() -> None:
    """Send what waits and stop reporting."""
    if _State.enabled:
        import sentry_sdk  # noqa: PLC0415  # loaded when ``start_sentry`` did

        _State.enabled = False
        sentry_sdk.get_client().close(timeout=FLUSH_SECONDS)


def _say_nothing(_pending: int, _timeout: float) -> None:
    """Wait for reports at exit without a word on standard error."""


def _reporting(hook: ThreadHook) -> ThreadHook:
    """Report what ended a thread; Sentry's own integration would wrap every thread and every executor for it."""

    def report(args: threading.ExceptHookArgs) -> None:
        if args.exc_value is not None:
            capture(args.exc_value)
        hook(args)

    return report


def _before_send(event: "Event", _hint: "Hint") -> "Event":
    """Add whom and what the error belongs to, and take out what must not leave the service."""
    held: dict[str, Any] = dict(event)
    for name in ("request", "breadcrumbs", "modules", "extra"):
        held.pop(name, None)
    tags: dict[str, Any] = held.setdefault("tags", {})
    known = context.fields()
    tags |= {name: str(known[name]) for name in ("request_id", "task_id") if name in known}
    if "user_id" in known:
        held["user"] = {"id": str(known["user_id"])}
    if trace := context.trace_id():
        held.setdefault("contexts", {})["trace"] = {"trace_id": trace, "span_id": trace[:16]}
    scrubbed: Event = scrub(held)
    return scrubbed
