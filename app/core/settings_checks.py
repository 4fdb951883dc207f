"""What settings must not say together, or not where others depend on them. Each problem names its remedy."""

from collections.abc import Iterator, Mapping
from ipaddress import ip_network
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs, urlsplit

from pydantic import ValidationError
from pydantic.fields import FieldInfo

if TYPE_CHECKING:
    from app.core.config import Settings

MIN_SECRET_BYTES: Final = 32
SHARED_ENVIRONMENTS: Final = frozenset({"staging", "production"})
ENCRYPTED: Final = frozenset({"require", "verify-ca", "verify-full"})
#: Seconds after which the process of the longest task is killed. The tasks say it themselves, but are not known here.
LONGEST_TASK_SECONDS: Final = 3630


class InvalidSettings(Exception):  # noqa: N818  # read as a statement about the settings
    """The settings cannot be used.

    Args:
        problems: One sentence each: the variable, what is wrong, what to do.
    """

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        lines = "\n".join(f"  - {problem}" for problem in problems)
        noun = "problem" if len(problems) == 1 else "problems"
        super().__init__(f"The settings have {len(problems)} {noun}:\n{lines}\nEvery setting is described in docs/reference/settings.md.")


def field_problems(error: ValidationError, fields: Mapping[str, FieldInfo]) -> dict[str, str]:
    """Return what is wrong with single fields, by name."""
    problems: dict[str, str] = {}
    for fault in error.errors(include_url=False, include_context=False, include_input=False):
        name = str(fault["loc"][0])
        if fault["type"] == "missing":
            problems[name] = f"{name}: is missing. {fields[name].description}"
        else:
            problems.setdefault(name, f"{name}: {fault['msg'][0].lower()}{fault['msg'][1:]}.")
    return problems


def settings_problems(settings: "Settings") -> list[str]:
    """Return what the settings must not say together or in their environment."""
    problems = [*_contradictions(settings), *_malformed(settings)]
    if settings.ENVIRONMENT != "local":
        problems += _weak_secrets(settings)
    if settings.ENVIRONMENT in SHARED_ENVIRONMENTS:
        problems += _unencrypted(settings)
    return problems


def _contradictions(settings: "Settings") -> Iterator[str]:
    if "*" in settings.ALLOWED_ORIGINS:
        yield "ALLOWED_ORIGINS: `*` cannot go with credentials; list the origins."
    per_process = settings.DATABASE_POOL_SIZE + settings.DATABASE_AUTOCOMMIT_POOL_SIZE
    if per_process * settings.WEB_CONCURRENCY > settings.DATABASE_MAX_CONNECTIONS:
        yield (
            f"DATABASE_POOL_SIZE + DATABASE_AUTOCOMMIT_POOL_SIZE ({per_process}) x WEB_CONCURRENCY ({settings.WEB_CONCURRENCY}) is above "
            f"DATABASE_MAX_CONNECTIONS ({settings.DATABASE_MAX_CONNECTIONS}); lower a pool or raise the budget."
        )
    longest = LONGEST_TASK_SECONDS + settings.WORKER_SOFT_SHUTDOWN_SECONDS
    if longest >= settings.BROKER_VISIBILITY_TIMEOUT:
        yield (
            f"BROKER_VISIBILITY_TIMEOUT ({settings.BROKER_VISIBILITY_TIMEOUT}) must be above {longest}, the longest task "
            f"({LONGEST_TASK_SECONDS}) + WORKER_SOFT_SHUTDOWN_SECONDS ({settings.WORKER_SOFT_SHUTDOWN_SECONDS}), or Redis hands a task "
            "that still runs to a second worker; raise it."
        )
    pairs: list[tuple[str, Any, str, Any]] = [
        ("S3_ACCESS_KEY_ID", settings.S3_ACCESS_KEY_ID, "S3_SECRET_ACCESS_KEY", settings.S3_SECRET_ACCESS_KEY),
        ("SMTP_USER", settings.SMTP_USER, "SMTP_PASSWORD", settings.SMTP_PASSWORD),
        ("FIRST_SUPERUSER_EMAIL", settings.FIRST_SUPERUSER_EMAIL, "FIRST_SUPERUSER_PASSWORD", settings.FIRST_SUPERUSER_PASSWORD),
    ]
    for first, one, second, other in pairs:
        if (one is None) != (other is None):
            yield f"{first} and {second}: set both or neither."


def _malformed(settings: "Settings") -> Iterator[str]:
    for origin in settings.ALLOWED_ORIGINS:
        parts = urlsplit(origin)
        if origin != "*" and (parts.scheme not in {"http", "https"} or not parts.netloc or parts.path.strip("/") or parts.query):
            yield f"ALLOWED_ORIGINS: `{origin}` is no origin; write it as `https://app.example.com`, without a path."
    for host in settings.ALLOWED_HOSTS:
        if "/" in host:
            yield f"ALLOWED_HOSTS: `{host}` is no host name; write it without scheme and path."
    for network in settings.TRUSTED_PROXIES:
        if not _is_network(network):
            yield f"TRUSTED_PROXIES: `{network}` is neither an address nor a network such as `10.0.0.0/8`."
    for name, url in (("PUBLIC_URL", settings.PUBLIC_URL), ("S3_ENDPOINT_URL", settings.S3_ENDPOINT_URL)):
        if url is not None and (urlsplit(url).scheme not in {"http", "https"} or not urlsplit(url).netloc):
            yield f"{name}: is no URL; write it as `https://host.example.com`."


def _is_network(text: str) -> bool:
    try:
        ip_network(text, strict=False)
    except ValueError:
        return False
    return True


def _weak_secrets(settings: "Settings") -> Iterator[str]:
    keys = [("SECRET_KEY", settings.SECRET_KEY), *(("SECRET_KEY_FALLBACKS", key) for key in settings.SECRET_KEY_FALLBACKS)]
    for name, key in keys:
        size = len(key.get_secret_value().encode())
        if size < MIN_SECRET_BYTES:
            yield f"{name}: has {size} bytes; use {MIN_SECRET_BYTES} random ones or more, such as `openssl rand -hex 32` prints."


def _unencrypted(settings: "Settings") -> Iterator[str]:
    for name, url in (("DATABASE_URL", settings.DATABASE_URL), ("MIGRATION_DATABASE_URL", settings.MIGRATION_DATABASE_URL)):
        if url is not None:
            query = parse_qs(url.query or "")
            if not ENCRYPTED.intersection(query.get("ssl", []) + query.get("sslmode", [])):
                yield f"{name}: the connection is not encrypted; add `?ssl=verify-full`."
    for name, redis in (
        ("REDIS_URL", settings.REDIS_URL),
        ("CELERY_BROKER_URL", settings.CELERY_BROKER_URL),
        ("CACHE_URL", settings.CACHE_URL),
    ):
        if redis is not None and redis.scheme != "rediss":
            yield f"{name}: the connection is not encrypted; use `rediss://`."
    if settings.SMTP_HOST and settings.SMTP_TLS == "none":
        yield "SMTP_TLS: mails would travel in the clear; use `starttls` or `tls`."
    if urlsplit(settings.PUBLIC_URL).scheme == "http":
        yield "PUBLIC_URL: links in mails must be `https://`."
