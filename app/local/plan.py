"""What a stack consists of: which servers are embedded, on which ports, and the environment the service gets."""

import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from dotenv import dotenv_values

from app.local.place import REPOSITORY, Place, require_free
from app.local.servers import Program, Server, mail, postgres, s3, valkey
from app.local.servers.ports import LOOPBACK

API_PORT = 8000
MAIL_OFFSET = 25  # 8025, where mailboxes of development usually are
METRICS_OFFSET = 90
MEASURED = ("api", "worker-main", "worker-bulk")
API_PROCESSES = 2
GRACEFUL_SECONDS = 5
STOP_SECONDS = GRACEFUL_SECONDS + 5
BUCKET = "platform"
SUPERUSER = "admin@example.com"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Everything the supervisor needs to know before it starts anything."""

    place: Place
    api_host: str
    api_port: int
    metrics_ports: Mapping[str, int]
    settings: Mapping[str, str]
    postgres: postgres.Postgres | None
    valkey: valkey.Valkey | None
    s3: s3.S3 | None
    mail: mail.MailCatcher | None

    @property
    def servers(self) -> list[Server]:
        """The embedded servers, in the order in which they start."""
        return [server for server in (self.postgres, self.valkey, self.s3, self.mail) if server is not None]

    @property
    def api_url(self) -> str:
        """Where the API answers."""
        return f"http://{self.api_host}:{self.api_port}"


def given_values(environ: Mapping[str, str]) -> dict[str, str]:
    """Return what the user set, in ``.env`` or, with precedence, in the environment; empty is unset."""
    values = {name: value for name, value in dotenv_values(REPOSITORY / ".env").items() if value}
    values |= {name: value for name, value in environ.items() if value}
    return values | {name.removesuffix("_FILE"): value for name, value in values.items() if name.endswith("_FILE")}


def make_plan(place: Place, environ: Mapping[str, str]) -> Plan:
    """Choose servers and ports, and prepare the servers' files.

    Raises:
        StackError: when a port asked for is taken.
        ServerError: when a server cannot run on this machine.
    """
    given = given_values(environ)
    api_port = require_free("API_PORT", given.get("API_PORT", str(API_PORT)))
    metrics_ports = {
        name: _port(place, given, f"metrics-{name}", "METRICS_PORT" if name == "api" else "", api_port + METRICS_OFFSET + index)
        for index, name in enumerate(MEASURED)
    }
    plan = Plan(
        place=place,
        api_host=_reachable(given.get("HOST", LOOPBACK)),
        api_port=api_port,
        metrics_ports=metrics_ports,
        settings=_defaults(place, given, api_port) | {"PORT": str(api_port), "METRICS_PORT": str(metrics_ports["api"])},
        postgres=None if "DATABASE_URL" in given else _postgres(place, given),
        valkey=None if "REDIS_URL" in given else _valkey(place, given),
        s3=None if "S3_ENDPOINT_URL" in given else _s3(place, given),
        mail=None if "SMTP_HOST" in given else _mail(place, given, api_port),
    )
    embedded = {name: value for server in plan.servers for name, value in _settings_of(server, given).items()}
    return replace(plan, settings=dict(plan.settings) | embedded)


def _reachable(host: str) -> str:
    """Return an address to reach a server at that listens on ``host``."""
    return LOOPBACK if host in {"0.0.0.0", "::"} else host  # noqa: S104  # compared, not bound


def _port(place: Place, given: Mapping[str, str], name: str, variable: str, preferred: int | None = None) -> int:
    """Return the port the user asked for in ``variable``, else one the stack chooses and remembers."""
    return require_free(variable, given[variable]) if variable in given else place.port(name, preferred)


def _postgres(place: Place, given: Mapping[str, str]) -> postgres.Postgres:
    passwords = postgres.Passwords(**{role: place.secret(f"postgres-{role}") for role in ("superuser", "owner", "app")})
    return postgres.prepare(place.folder, _port(place, given, "postgres", "POSTGRES_PORT"), passwords)


def _valkey(place: Place, given: Mapping[str, str]) -> valkey.Valkey:
    return valkey.prepare(place.folder, _port(place, given, "valkey", "VALKEY_PORT"), place.secret("valkey"))


def _s3(place: Place, given: Mapping[str, str]) -> s3.S3:
    ports = [_port(place, given, name, "S3_PORT" if name == "s3.port" else "") for name in s3.LISTENERS]
    return s3.prepare(place.folder, ports, place.secret("s3"))


def _mail(place: Place, given: Mapping[str, str], api_port: int) -> mail.MailCatcher:
    smtp_port = _port(place, given, "smtp", "SMTP_PORT")
    return mail.prepare(place.folder, smtp_port, _port(place, given, "mail", "MAIL_PORT", api_port + MAIL_OFFSET))


def _settings_of(server: Server, given: Mapping[str, str]) -> dict[str, str]:
    """Return the settings that lead the service to an embedded server."""
    match server:
        case postgres.Postgres():
            return {"DATABASE_URL": server.url(), "MIGRATION_DATABASE_URL": server.url(postgres.OWNER)}
        case valkey.Valkey():
            return {"REDIS_URL": server.url()}
        case s3.S3():
            return {
                "S3_ENDPOINT_URL": server.endpoint_url,
                "S3_REGION": server.region,
                "S3_BUCKET": given.get("S3_BUCKET", BUCKET),
                "S3_ACCESS_KEY_ID": server.access_key,
                "S3_SECRET_ACCESS_KEY": server.secret_key,
            }
        case mail.MailCatcher():
            return {"SMTP_HOST": server.host, "SMTP_PORT": str(server.smtp_port), "SMTP_TLS": "none"}
        case _:
            raise AssertionError(server)


def _defaults(place: Place, given: Mapping[str, str], api_port: int) -> dict[str, str]:
    """Return settings for a laptop, as far as the user has no other wish."""
    defaults = {
        "ENVIRONMENT": "local",
        "SECRET_KEY": place.secret("secret-key"),
        "PUBLIC_URL": f"http://{LOOPBACK}:{api_port}",
        "WEB_CONCURRENCY": str(API_PROCESSES),
        "GRACEFUL_TIMEOUT": str(GRACEFUL_SECONDS),
        "FIRST_SUPERUSER_EMAIL": SUPERUSER,
        "FIRST_SUPERUSER_PASSWORD": place.secret("superuser"),
        "PYTHONWARNINGS": "ignore:You're running the worker with superuser",  # whoever works as root knows
        "REMAP_SIGTERM": "SIGQUIT",  # Celery: give tasks back soon instead of waiting for their end
        "TMPDIR": str(_scratch(place)),
        "PYTHONUNBUFFERED": "1",
    }
    # A proxy for the outside world must not get what goes to our own servers.
    proxied = {name: _without_proxy(given.get(name, "")) for name in ("NO_PROXY", "no_proxy")}
    return {name: given.get(name, value) for name, value in defaults.items() if f"{name}_FILE" not in given} | proxied


def _scratch(place: Place) -> Path:
    """Return a folder for temporary files, rid of those that killed processes left."""
    folder = place.subfolder("tmp")
    shutil.rmtree(folder)
    return place.subfolder("tmp")


def _without_proxy(names: str) -> str:
    return ",".join(filter(None, (names, LOOPBACK, "localhost")))


def python_program(plan: Plan, name: str, *arguments: str, **more: str) -> Program:
    """Return a program of the service that runs in the plan's environment, with ``more`` variables."""
    return Program(
        name=name,
        argv=(sys.executable, "-m", *arguments),
        cwd=REPOSITORY,
        env=os.environ | dict(plan.settings) | more,
        stop_seconds=STOP_SECONDS,
    )


def heartbeat(plan: Plan, name: str) -> Path:
    """Return the file a worker touches as long as it turns."""
    return plan.place.subfolder("run") / f"{name}.heartbeat"


def service_programs(plan: Plan) -> list[Program]:
    """Return the processes of the service, in the order in which they stop."""
    celery = ("celery", "--quiet", "--app", "app.core.celery_app")
    beat_file = plan.place.subfolder("run") / "beat-schedule"
    return [
        python_program(plan, "api", "gunicorn", "--config", "python:app.core.gunicorn", "app.main:create_app()"),
        *(
            python_program(
                plan,
                f"worker-{queue}",
                *celery,
                "worker",
                "--queues",
                f"{queue}-queue",
                "--hostname",
                f"{queue}@%h",
                WORKER_HEARTBEAT_FILE=str(heartbeat(plan, f"worker-{queue}")),
                METRICS_PORT=str(plan.metrics_ports[f"worker-{queue}"]),
            )
            for queue in ("main", "bulk")
        ),
        python_program(plan, "beat", *celery, "beat", "--schedule", str(beat_file)),
    ]
