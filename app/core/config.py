"""Settings: every value the service takes from its environment, checked as a whole at start-up.

Any field may be given as ``NAME`` or, for secrets mounted as files, as ``NAME_FILE`` holding a path.
"""

from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal, Self, override

from pydantic import Field, ModelWrapValidatorHandler, PostgresDsn, RedisDsn, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from app.core.settings_checks import InvalidSettings, field_problems, settings_problems
from app.core.settings_sources import FILE_PROBLEMS, FileSecrets, split_list

type Environment = Literal["local", "test", "staging", "production"]
CommaSeparated = Annotated[list[str], NoDecode]

#: Stands in for what is missing while the rest is checked.
_PLACEHOLDER = {"DATABASE_URL": "postgresql://missing/missing?ssl=verify-full"}


@lru_cache(maxsize=8)
def _texts(*keys: SecretStr) -> tuple[str, ...]:
    return tuple(key.get_secret_value() for key in keys)


class Settings(BaseSettings):
    """The service's configuration. Field descriptions are the reference table of the docs."""

    model_config = SettingsConfigDict(env_file=".env", extra="ignore", case_sensitive=True, hide_input_in_errors=True)

    PROJECT_NAME: str = Field(default="FastAPI Platform", description="Name shown in the API document and in mails.")
    VERSION: str = Field(default="0.1.0", description="Release running, shown in the API document, metrics and Sentry.")
    ENVIRONMENT: Environment = Field(default="local", description="Where this runs; `staging` and `production` refuse unsafe values.")
    API_V1_STR: str = Field(default="/api/v1", pattern=r"^(/[a-z0-9_-]+)+$", description="Base path of the API.")
    PUBLIC_URL: str = Field(default="http://127.0.0.1:8000", description="Where clients reach the service; links in mails start with it.")

    HOST: str = Field(default="127.0.0.1", description="Address the API listens on.")
    PORT: int = Field(default=8000, ge=0, le=65535, description="Port the API listens on.")
    METRICS_PORT: int = Field(default=9090, ge=0, le=65535, description="Port of `GET /metrics`; 0 switches the listener off.")
    WEB_CONCURRENCY: int = Field(default=1, ge=1, le=64, description="API processes; one per pod on Kubernetes.")
    GRACEFUL_TIMEOUT: int = Field(default=30, ge=1, le=600, description="Seconds a stopping process has to finish its requests.")
    DRAIN_SECONDS: float = Field(
        default=0, ge=0, le=300, description="Seconds between the stop signal (readiness turns 503) and the end of accepting requests."
    )
    KEEP_ALIVE: int = Field(default=75, ge=1, le=4000, description="Seconds an idle connection is kept; above the load balancer's own.")

    WEBSOCKET_MAX_CONNECTIONS: int = Field(default=10_000, ge=1, le=1_000_000, description="Live-event sockets of one process.")
    WEBSOCKET_MAX_PER_USER: int = Field(default=1_000, ge=1, le=1_000_000, description="Live-event sockets of one user in one process.")

    DATABASE_URL: PostgresDsn = Field(
        repr=False, description="PostgreSQL as the application's role, which has no right to change the schema."
    )
    MIGRATION_DATABASE_URL: PostgresDsn | None = Field(
        repr=False, default=None, description="PostgreSQL as the owner of the schema; needed by migrations alone."
    )
    DATABASE_POOL_SIZE: int = Field(default=5, ge=1, le=100, description="Connections per process for transactions.")
    DATABASE_AUTOCOMMIT_POOL_SIZE: int = Field(default=5, ge=1, le=100, description="Connections per process for single statements.")
    DATABASE_POOL_TIMEOUT: float = Field(default=5, gt=0, le=60, description="Seconds a request waits for a connection.")
    DATABASE_STATEMENT_TIMEOUT_MS: int = Field(default=10_000, ge=100, description="Milliseconds until PostgreSQL cancels a statement.")
    DATABASE_MAX_CONNECTIONS: int = Field(default=100, ge=5, description="Connections this process and its siblings may take together.")
    DATABASE_TRANSACTION_POOLING: bool = Field(
        default=False, description="True behind pgbouncer or RDS Proxy in transaction mode: no prepared statements are kept."
    )

    SECRET_KEY: SecretStr = Field(default=SecretStr("change-me"), description="Signs access tokens and cursors; 32 bytes or more.")
    SECRET_KEY_FALLBACKS: Annotated[list[SecretStr], NoDecode] = Field(
        default=[], description="Former keys that still verify, comma separated."
    )
    ALGORITHM: Literal["HS256", "HS384", "HS512"] = Field(default="HS256", description="Signature of access tokens; nothing else verifies.")
    ACCESS_TOKEN_EXPIRE_MINUTES: int = Field(default=15, ge=1, le=1440, description="Life of an access token.")
    REFRESH_TOKEN_EXPIRE_DAYS: int = Field(default=30, ge=1, le=365, description="Life of a session without a refresh.")
    PASSWORD_HASH_THREADS: int = Field(default=2, ge=1, le=32, description="Passwords hashed at the same time by one process.")

    ALLOWED_ORIGINS: CommaSeparated = Field(default=["http://localhost:3000"], description="CORS origins, comma separated.")
    ALLOWED_HOSTS: CommaSeparated = Field(
        default=["127.0.0.1", "localhost", "[::1]"], description="Host names answered to, comma separated."
    )
    TRUSTED_PROXIES: CommaSeparated = Field(default=[], description="Addresses or networks whose forwarded headers are believed.")

    REDIS_URL: RedisDsn = Field(
        repr=False, default=RedisDsn("redis://127.0.0.1:6379/0"), description="Redis or Valkey: live events, tickets, revocations."
    )
    CELERY_BROKER_URL: RedisDsn | None = Field(repr=False, default=None, description="Redis that carries the queues; REDIS_URL unless set.")
    CACHE_URL: RedisDsn | None = Field(
        repr=False, default=None, description="Redis for what may be evicted, the rate limits; REDIS_URL unless set."
    )

    S3_ENDPOINT_URL: str | None = Field(default=None, description="S3-compatible endpoint; empty for AWS.")
    S3_PUBLIC_ENDPOINT_URL: str | None = Field(default=None, description="The endpoint as clients reach it; S3_ENDPOINT_URL unless set.")
    S3_REGION: str = Field(default="us-east-1", description="Region of the bucket.")
    S3_BUCKET: str = Field(default="platform", description="Bucket of uploads.")
    S3_ACCESS_KEY_ID: str | None = Field(default=None, description="Access key; empty to use the pod's own identity.")
    S3_SECRET_ACCESS_KEY: SecretStr | None = Field(default=None, description="Secret of S3_ACCESS_KEY_ID.")
    IMPORT_MAX_BODY_BYTES: int = Field(default=16 * 2**20, ge=1024, description="Largest multipart import, in bytes.")

    SMTP_HOST: str | None = Field(default=None, description="Mail server; without one, mails stay in the outbox.")
    SMTP_PORT: int = Field(default=587, ge=1, le=65535, description="Port of the mail server.")
    SMTP_USER: str | None = Field(default=None, description="User at the mail server.")
    SMTP_PASSWORD: SecretStr | None = Field(default=None, description="Password of SMTP_USER.")
    SMTP_TLS: Literal["none", "starttls", "tls"] = Field(default="starttls", description="How the connection is encrypted.")
    EMAIL_FROM: str = Field(default="FastAPI Platform <no-reply@localhost>", description="Sender of the platform's mails.")

    TASK_MAX_ATTEMPTS: int = Field(default=10, ge=1, le=100, description="Failures in a row after which a task is parked.")
    TASK_HEARTBEAT_TIMEOUT: float = Field(
        default=12, ge=1, le=300, description="Seconds without a word from a worker after which another takes over its task."
    )
    WORKER_HEARTBEAT_FILE: Path | None = Field(
        default=None, description="File a worker or the scheduler touches while its loop turns; a liveness probe looks at its age."
    )
    WORKER_SOFT_SHUTDOWN_SECONDS: int = Field(
        default=5,
        ge=1,
        le=86_400,
        description="Seconds a stopping worker lets its tasks run on; then they are given back and go on elsewhere.",
    )
    BROKER_VISIBILITY_TIMEOUT: int = Field(
        default=7200,
        ge=60,
        le=604_800,
        description="Seconds after which Redis hands a message that nobody acknowledged to another worker; above the longest task.",
    )

    SENTRY_DSN: SecretStr | None = Field(default=None, description="Sentry project; empty switches it off.")
    LOG_LEVEL: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(default="INFO", description="Least level that is logged.")

    FIRST_SUPERUSER_EMAIL: str | None = Field(default=None, description="Superuser made by the local stack.")
    FIRST_SUPERUSER_PASSWORD: SecretStr | None = Field(default=None, description="Password of FIRST_SUPERUSER_EMAIL.")

    @model_validator(mode="wrap")
    @classmethod
    def _find_every_problem(cls, values: dict[str, Any], handler: ModelWrapValidatorHandler[Self]) -> Self:
        """Check single fields and their combinations in one go, so that nobody has to start again for each problem."""
        problems: list[str] = list(values.get(FILE_PROBLEMS, []))
        given = {
            name: _read(cls, name, value) for name, value in values.items() if name in cls.model_fields and not _is_empty(cls, name, value)
        }
        try:
            settings = handler(given)
        except ValidationError as error:
            faulty = field_problems(error, cls.model_fields)
            problems += faulty.values()
            settings = handler(_PLACEHOLDER | {name: value for name, value in given.items() if name not in faulty})
        problems += settings_problems(settings)
        if problems:
            raise InvalidSettings(problems)
        return settings

    @property
    def broker_url(self) -> str:
        """The queues' Redis, as a URL."""
        return str(self.CELERY_BROKER_URL or self.REDIS_URL)

    @property
    def cache_url(self) -> str:
        """The cache's Redis, as a URL."""
        return str(self.CACHE_URL or self.REDIS_URL)

    @property
    def verification_keys(self) -> tuple[str, ...]:
        """Every key that verifies a signature, the signing one first."""
        return _texts(self.SECRET_KEY, *self.SECRET_KEY_FALLBACKS)

    @override
    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, FileSecrets(settings_cls), dotenv_settings


def _is_list(settings: type[BaseSettings], name: str) -> bool:
    return NoDecode in settings.model_fields[name].metadata


def _is_empty(settings: type[BaseSettings], name: str, value: object) -> bool:
    """Say whether a value is as good as none: charts and compose files set variables to nothing. An empty list is a value."""
    return value == "" and not _is_list(settings, name)


def _read(settings: type[BaseSettings], name: str, value: object) -> object:
    return split_list(value) if isinstance(value, str) and _is_list(settings, name) else value


@lru_cache(maxsize=1)
def get_settings() -> Settings:
    """Return the process's settings, read once.

    Raises:
        SystemExit: with every problem and its remedy as its message, so that no process shows a traceback for it.
    """
    try:
        return Settings()  # pyright: ignore[reportCallIssue]  # required fields come from the environment
    except InvalidSettings as error:
        raise SystemExit(str(error)) from None
