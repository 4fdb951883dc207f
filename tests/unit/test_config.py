import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from app.core.config import Settings, get_settings
from app.core.settings_checks import InvalidSettings

LOCAL = {"DATABASE_URL": "postgresql://app:s3cr3t@127.0.0.1/platform"}
PRODUCTION = {
    "ENVIRONMENT": "production",
    "DATABASE_URL": "postgresql://app:s3cr3t@db.internal/platform?ssl=verify-full",
    "MIGRATION_DATABASE_URL": "postgresql://owner:s3cr3t@db.internal/platform?sslmode=require",
    "REDIS_URL": "rediss://:s3cr3t@cache.internal:6379/0",
    "SECRET_KEY": "k" * 32,
    "PUBLIC_URL": "https://api.example.com",
    "ALLOWED_ORIGINS": "https://app.example.com, https://admin.example.com",
    "SMTP_HOST": "smtp.internal",
}


@pytest.fixture(autouse=True)
def no_dotenv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> Any:
    def set_variables(**variables: str) -> None:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    return set_variables


def settings(**values: str) -> Settings:
    return Settings.model_validate(values)


def problems(**values: str) -> list[str]:
    with pytest.raises(InvalidSettings) as error:
        settings(**values)
    return error.value.problems


def load() -> Settings:
    return Settings()  # pyright: ignore[reportCallIssue]  # required fields come from the environment


def test_a_laptop_needs_the_database_alone() -> None:
    assert settings(**LOCAL).ENVIRONMENT == "local"


def test_production_takes_what_is_safe() -> None:
    made = settings(**PRODUCTION)
    assert made.ALLOWED_ORIGINS == ["https://app.example.com", "https://admin.example.com"]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"SECRET_KEY": "k" * 31}, "SECRET_KEY: has 31 bytes"),
        ({"SECRET_KEY": "change-me"}, "SECRET_KEY: has 9 bytes"),
        ({"SECRET_KEY_FALLBACKS": "k" * 32 + ",short"}, "SECRET_KEY_FALLBACKS: has 5 bytes"),
        ({"DATABASE_URL": "postgresql://app@db/x"}, "DATABASE_URL: the connection is not encrypted"),
        ({"DATABASE_URL": "postgresql://app@db/x?ssl=prefer"}, "DATABASE_URL: the connection is not encrypted"),
        ({"DATABASE_URL": "postgresql://app@db/x?notssl=require"}, "DATABASE_URL: the connection is not encrypted"),
        ({"MIGRATION_DATABASE_URL": "postgresql://app@db/x"}, "MIGRATION_DATABASE_URL: the connection is not encrypted"),
        ({"REDIS_URL": "redis://cache/0"}, "REDIS_URL: the connection is not encrypted"),
        ({"CELERY_BROKER_URL": "redis://cache/0"}, "CELERY_BROKER_URL: the connection is not encrypted"),
        ({"CACHE_URL": "redis://cache/0"}, "CACHE_URL: the connection is not encrypted"),
        ({"SMTP_TLS": "none"}, "SMTP_TLS: mails would travel in the clear"),
        ({"PUBLIC_URL": "http://api.example.com"}, "PUBLIC_URL: links in mails must be"),
    ],
)
@pytest.mark.parametrize("environment_name", ["staging", "production"])
def test_shared_environments_refuse_what_is_unsafe(change: dict[str, str], named: str, environment_name: str) -> None:
    found = problems(**PRODUCTION | {"ENVIRONMENT": environment_name} | change)
    assert len(found) == 1
    assert found[0].startswith(named)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"ALLOWED_ORIGINS": "*"}, "ALLOWED_ORIGINS: `*` cannot go with credentials"),
        ({"ALLOWED_ORIGINS": "https://app.example.com/path"}, "ALLOWED_ORIGINS: `https://app.example.com/path` is no origin"),
        ({"ALLOWED_ORIGINS": "app.example.com"}, "ALLOWED_ORIGINS: `app.example.com` is no origin"),
        ({"ALLOWED_HOSTS": "https://api.example.com"}, "ALLOWED_HOSTS: `https://api.example.com` is no host name"),
        ({"TRUSTED_PROXIES": "10.0.0.0/8,proxy"}, "TRUSTED_PROXIES: `proxy` is neither"),
        ({"PUBLIC_URL": "api.example.com"}, "PUBLIC_URL: is no URL"),
        ({"S3_ENDPOINT_URL": "minio:9000"}, "S3_ENDPOINT_URL: is no URL"),
        ({"S3_ACCESS_KEY_ID": "a"}, "S3_ACCESS_KEY_ID and S3_SECRET_ACCESS_KEY: set both or neither"),
        ({"SMTP_PASSWORD": "p"}, "SMTP_USER and SMTP_PASSWORD: set both or neither"),
        ({"FIRST_SUPERUSER_EMAIL": "a@example.com"}, "FIRST_SUPERUSER_EMAIL and FIRST_SUPERUSER_PASSWORD: set both"),
        (
            {"BROKER_VISIBILITY_TIMEOUT": "3635"},
            "BROKER_VISIBILITY_TIMEOUT (3635) must be above 3635, the longest task (3630) + WORKER_SOFT",
        ),
        ({"WORKER_SOFT_SHUTDOWN_SECONDS": "3570"}, "BROKER_VISIBILITY_TIMEOUT (7200) must be above 7200"),
        ({"WEB_CONCURRENCY": "11"}, "DATABASE_POOL_SIZE + DATABASE_AUTOCOMMIT_POOL_SIZE (10) x WEB_CONCURRENCY (11) is above"),
        ({"ENVIRONMENT": "test"}, "SECRET_KEY: has 9 bytes"),
        ({"PORT": "eighty"}, "PORT: input should be a valid integer"),
        ({"ENVIRONMENT": "prod"}, "ENVIRONMENT: input should be 'local', 'test', 'staging' or 'production'"),
        ({"DATABASE_URL": "mysql://x/y"}, "DATABASE_URL: URL scheme should be"),
    ],
)
def test_every_environment_refuses_what_cannot_work(change: dict[str, str], named: str) -> None:
    found = problems(**LOCAL | change)
    assert len(found) == 1
    assert found[0].lower().startswith(named.lower())


@pytest.mark.parametrize(
    "change",
    [
        {"ALLOWED_ORIGINS": "https://app.example.com:8443, http://localhost:3000/"},
        {"ALLOWED_ORIGINS": ""},
        {"TRUSTED_PROXIES": "10.0.0.0/8, 192.0.2.1, 2001:db8::/32"},
        {"S3_ACCESS_KEY_ID": "a", "S3_SECRET_ACCESS_KEY": "b", "S3_ENDPOINT_URL": "http://127.0.0.1:9000"},
        {"WEB_CONCURRENCY": "10"},
        {"BROKER_VISIBILITY_TIMEOUT": "3676", "WORKER_SOFT_SHUTDOWN_SECONDS": "45"},
        {"SECRET_KEY": "short"},
        {"REDIS_URL": "redis://127.0.0.1/0", "SMTP_HOST": "127.0.0.1", "SMTP_TLS": "none"},
    ],
)
def test_a_laptop_may_be_plain(change: dict[str, str]) -> None:
    assert settings(**LOCAL | change)


def test_every_problem_is_told_at_once() -> None:
    found = problems(ENVIRONMENT="production", PORT="x", REDIS_URL="redis://a/0", SMTP_USER="u", PUBLIC_URL="https://x.example.com")
    assert [problem.split(":")[0] for problem in found] == [
        "PORT",
        "DATABASE_URL",
        "SMTP_USER and SMTP_PASSWORD",
        "SECRET_KEY",
        "REDIS_URL",
    ]


def test_a_problem_never_shows_the_value() -> None:
    text = "\n".join(problems(**PRODUCTION | {"SECRET_KEY": "hunter2", "DATABASE_URL": "mysql://app:hunter2@db/x", "PORT": "hunter2"}))
    assert "hunter2" not in text


def test_a_printed_setting_shows_no_secret() -> None:
    made = settings(**PRODUCTION, SECRET_KEY_FALLBACKS="f" * 32, SMTP_USER="u", SMTP_PASSWORD="hunter2")
    for secret in ("s3cr3t", "hunter2", "k" * 32, "f" * 32):
        assert secret not in repr(made)


def test_a_secret_is_read_from_its_file_without_the_last_line_end(tmp_path: Path, environment: Any) -> None:
    (tmp_path / "key").write_text("x" * 40 + "\r\n")
    environment(DATABASE_URL=LOCAL["DATABASE_URL"], SECRET_KEY_FILE=str(tmp_path / "key"))
    assert load().SECRET_KEY.get_secret_value() == "x" * 40


def test_every_field_may_come_from_a_file(tmp_path: Path, environment: Any) -> None:
    for name, value in (PRODUCTION | {"PORT": "8080", "SECRET_KEY_FALLBACKS": "a" * 32 + "," + "b" * 32}).items():
        (tmp_path / name).write_text(value + "\n")
        environment(**{f"{name}_FILE": str(tmp_path / name)})
    made = load()
    assert made.PORT == 8080
    assert made.ENVIRONMENT == "production"
    assert made.verification_keys == ("k" * 32, "a" * 32, "b" * 32)


def test_files_that_cannot_be_read_are_told_with_everything_else(tmp_path: Path, environment: Any) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe\xff")
    (tmp_path / "url").write_text(LOCAL["DATABASE_URL"])
    environment(
        SECRET_KEY_FILE=str(tmp_path / "missing"),
        SMTP_HOST_FILE=str(tmp_path / "binary"),
        DATABASE_URL=LOCAL["DATABASE_URL"],
        DATABASE_URL_FILE=str(tmp_path / "url"),
        PORT="x",
    )
    with pytest.raises(InvalidSettings) as error:
        load()
    assert [problem.split(":")[0] for problem in error.value.problems] == ["DATABASE_URL_FILE", "SECRET_KEY_FILE", "SMTP_HOST_FILE", "PORT"]


def test_an_empty_variable_is_no_value_but_an_empty_list_is_one(environment: Any) -> None:
    environment(DATABASE_URL=LOCAL["DATABASE_URL"], S3_ENDPOINT_URL="", SENTRY_DSN="", PORT="", ALLOWED_ORIGINS="", SECRET_KEY_FILE="")
    made = load()
    assert (made.S3_ENDPOINT_URL, made.SENTRY_DSN, made.PORT, made.ALLOWED_ORIGINS) == (None, None, 8000, [])


def test_the_queues_and_the_cache_use_redis_unless_told_otherwise() -> None:
    made = settings(**LOCAL, REDIS_URL="redis://a:6379/0", CACHE_URL="redis://b:6379/1")
    assert (made.broker_url, made.cache_url) == ("redis://a:6379/0", "redis://b:6379/1")


def test_settings_are_read_once(environment: Any) -> None:
    get_settings.cache_clear()
    environment(**LOCAL, PROJECT_NAME="Once")
    assert get_settings().PROJECT_NAME == "Once"
    environment(PROJECT_NAME="Twice")
    assert get_settings().PROJECT_NAME == "Once"
    get_settings.cache_clear()


@pytest.mark.parametrize(
    "command",
    [
        ["-m", "gunicorn", "--config", "python:app.core.gunicorn", "app.main:create_app()"],
        ["-m", "celery", "--app", "app.core.celery_app", "worker"],
        ["-m", "app", "settings", "--check"],
    ],
)
def test_a_process_that_cannot_start_says_why_without_a_traceback(command: list[str]) -> None:
    root = Path(__file__).parents[2]
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(root), "ENVIRONMENT": "production", "PORT": "eighty"}
    done = subprocess.run([sys.executable, *command], env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode != 0
    assert "Traceback" not in done.stdout + done.stderr
    for name in ("DATABASE_URL", "PORT", "SECRET_KEY", "REDIS_URL"):
        assert f"- {name}: " in done.stderr


def test_every_setting_is_used_somewhere() -> None:
    root = Path(__file__).parents[2]
    config = root / "app/core/config.py"
    text = "\n".join(
        path.read_text()
        for folder in ("app", "migrations")
        for path in (root / folder).rglob("*.py")
        if path.parent != config.parent or ("settings" not in path.name and path != config)
    )
    fields = config.read_text().split("def _find_every_problem")[1]
    unused = [name for name in Settings.model_fields if f".{name}" not in text and f'"{name}"' not in text and f"self.{name}" not in fields]
    assert unused == []


def test_every_setting_is_described() -> None:
    assert all(field.description and field.description.endswith(".") for field in Settings.model_fields.values())
    assert isinstance(Settings.model_fields["SECRET_KEY"].default, SecretStr)
