"""Settings: every value the service takes from its environment, checked as a whole at start-up.

Any field may be given as ``NAME`` or, for secrets mounted as files, as ``NAME_FILE`` holding a path.
"""

import os
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal, Self, override
from urllib.parse import urlsplit

from pydantic import Field, PostgresDsn, RedisDsn, SecretStr, model_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

Environment = Literal["local", "test", "staging", "production"]
CommaSeparated = Annotated[list[str], NoDecode]

MIN_SECRET_BYTES = 32
SHARED_ENVIRONMENTS = frozenset({"staging", "production"})


class FileSecrets(PydanticBaseSettingsSource):
    """Reads ``NAME_FILE`` variables: the field's value is the file's content without its last newline."""

    @override
    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        path = os.environ.get(f"{field_name}_FILE")
        if path is None:
            return None, field_name, False
        try:
            return Path(path).read_text(encoding="utf-8").rstrip("\n"), field_name, False
        except OSError as error:
            raise ValueError(f"{field_name}_FILE points to {path}, which cannot be read: {error.strerror}") from error

    @override
    def __call__(self) -> dict[str, Any]:
        found = {name: self.get_field_value(field, name)[0] for name, field in self.settings_cls.model_fields.items()}
        return {name: value for name, value in found.items() if value is not None}


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

    DATABASE_URL: PostgresDsn = Field(description="PostgreSQL as the application's role, which has no right to change the schema.")
    MIGRATION_DATABASE_URL: PostgresDsn | None = Field(
        default=None, description="PostgreSQL as the owner of the schema; needed by migrations alone."
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
    SECRET_KEY_FALLBACKS: CommaSeparated = Field(default=[], description="Former keys that still verify, comma separated.")
    ALGORITHM: Literal["HS256", "HS384", "HS512"] = Field(default="HS256", description="Signature of access tokens; nothing else verifies.")
    ACCESS_TOKEN_EXPIRE_MINUTES: int = Field(default=15, ge=1, le=1440, description="Life of an access token.")
    REFRESH_TOKEN_EXPIRE_DAYS: int = Field(default=30, ge=1, le=365, description="Life of a session without a refresh.")
    PASSWORD_HASH_THREADS: int = Field(default=2, ge=1, le=32, description="Passwords hashed at the same time by one process.")

    ALLOWED_ORIGINS: CommaSeparated = Field(default=["http://localhost:3000"], description="CORS origins, comma separated.")
    ALLOWED_HOSTS: CommaSeparated = Field(
        default=["127.0.0.1", "localhost", "[::1]"], description="Host names answered to, comma separated."
    )
    TRUSTED_PROXIES: CommaSeparated = Field(default=[], description="Addresses or networks whose forwarded headers are believed.")

    REDIS_URL: RedisDsn = Field(default=RedisDsn("redis://127.0.0.1:6379/0"), description="Redis or Valkey: limits, tickets, live events.")
    CELERY_BROKER_URL: RedisDsn | None = Field(default=None, description="Redis that carries the queues; REDIS_URL unless set.")
    CACHE_URL: RedisDsn | None = Field(default=None, description="Redis for what may be evicted; REDIS_URL unless set.")

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
    WORKER_HEARTBEAT_FILE: Path | None = Field(
        default=None, description="File a Celery worker touches while its loop turns; a liveness probe looks at its age."
    )

    SENTRY_DSN: SecretStr | None = Field(default=None, description="Sentry project; empty switches it off.")
    SENTRY_TRACES_SAMPLE_RATE: float = Field(default=0, ge=0, le=1, description="Share of requests traced in Sentry.")
    LOG_LEVEL: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(default="INFO", description="Least level that is logged.")

    FIRST_SUPERUSER_EMAIL: str | None = Field(default=None, description="Superuser made by the local stack.")
    FIRST_SUPERUSER_PASSWORD: SecretStr | None = Field(default=None, description="Password of FIRST_SUPERUSER_EMAIL.")

    @model_validator(mode="before")
    @classmethod
    def _split_lists(cls, values: dict[str, Any]) -> dict[str, Any]:
        def split(value: object) -> object:
            return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value

        lists = {"SECRET_KEY_FALLBACKS", "ALLOWED_ORIGINS", "ALLOWED_HOSTS", "TRUSTED_PROXIES"}
        return {name: split(value) if name in lists else value for name, value in values.items()}

    @model_validator(mode="after")
    def _refuse_unsafe(self) -> Self:
        problems = [*self._contradictions(), *(self._unsafe_when_shared() if self.ENVIRONMENT in SHARED_ENVIRONMENTS else [])]
        if problems:
            raise ValueError("\n".join(problems))
        return self

    def _contradictions(self) -> list[str]:
        problems: list[str] = []
        if "*" in self.ALLOWED_ORIGINS:
            problems.append("ALLOWED_ORIGINS: `*` cannot go with credentials; list the origins.")
        per_process = self.DATABASE_POOL_SIZE + self.DATABASE_AUTOCOMMIT_POOL_SIZE
        if per_process * self.WEB_CONCURRENCY > self.DATABASE_MAX_CONNECTIONS:
            problems.append(
                f"DATABASE_POOL_SIZE + DATABASE_AUTOCOMMIT_POOL_SIZE ({per_process}) x WEB_CONCURRENCY ({self.WEB_CONCURRENCY}) is above "
                f"DATABASE_MAX_CONNECTIONS ({self.DATABASE_MAX_CONNECTIONS}); lower a pool or raise the budget."
            )
        if (self.S3_ACCESS_KEY_ID is None) != (self.S3_SECRET_ACCESS_KEY is None):
            problems.append("S3_ACCESS_KEY_ID and S3_SECRET_ACCESS_KEY: set both or neither.")
        if (self.SMTP_USER is None) != (self.SMTP_PASSWORD is None):
            problems.append("SMTP_USER and SMTP_PASSWORD: set both or neither.")
        return problems

    def _unsafe_when_shared(self) -> list[str]:
        problems = [
            f"{name}: {len(key.encode())} bytes; use {MIN_SECRET_BYTES} random bytes or more, such as `openssl rand -hex 32` prints."
            for name, key in [
                ("SECRET_KEY", self.SECRET_KEY.get_secret_value()),
                *(("SECRET_KEY_FALLBACKS", k) for k in self.SECRET_KEY_FALLBACKS),
            ]
            if len(key.encode()) < MIN_SECRET_BYTES
        ]
        for name, url in (("DATABASE_URL", self.DATABASE_URL), ("MIGRATION_DATABASE_URL", self.MIGRATION_DATABASE_URL)):
            if url is not None and not any(
                f"{key}={mode}" in str(url.query) for key in ("ssl", "sslmode") for mode in ("require", "verify-ca", "verify-full")
            ):
                problems.append(f"{name}: the connection is not encrypted; add `?ssl=verify-full`.")
        for name, redis_url in (
            ("REDIS_URL", self.REDIS_URL),
            ("CELERY_BROKER_URL", self.CELERY_BROKER_URL),
            ("CACHE_URL", self.CACHE_URL),
        ):
            if redis_url is not None and redis_url.scheme != "rediss":
                problems.append(f"{name}: the connection is not encrypted; use `rediss://`.")
        if self.SMTP_HOST and self.SMTP_TLS == "none":
            problems.append("SMTP_TLS: mails would travel in the clear; use `starttls` or `tls`.")
        if urlsplit(self.PUBLIC_URL).scheme != "https":
            problems.append("PUBLIC_URL: links in mails must be https.")
        return problems

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
        return (self.SECRET_KEY.get_secret_value(), *self.SECRET_KEY_FALLBACKS)

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


@lru_cache(maxsize=1)
def get_settings() -> Settings:
    """Return the process's settings, read once.

    Raises:
        pydantic.ValidationError: with every problem at once, when a value is missing, malformed or unsafe.
    """
    return Settings()  # pyright: ignore[reportCallIssue]  # required fields come from the environment
