"""The suite's ground: real servers, one database, bucket, Valkey and mailbox per worker, everything empty before each test.

``servers`` run once per run (see ``tests/servers.py``); a run of tests that need none of them starts none.
"""

import os
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import asyncpg
import httpx
import pytest

from app.core.config import Settings
from app.core.database import Database
from app.core.redis import connect
from app.local.servers import Running, Server, mail, start, wait_until_ready
from app.local.servers import postgres as postgres_server
from app.local.servers import s3 as s3_server
from app.local.servers import valkey as valkey_server
from app.local.servers.ports import free_port, free_ports
from tests.scheduling import Scheduling, put_slow_first
from tests.servers import Host, SuiteServers, host_servers, wait_for_servers
from tests.worker import Mailbox, WorkerBucket, WorkerDatabase

if TYPE_CHECKING:
    from redis.asyncio import Redis

HOST = pytest.StashKey[Host]()
SECRET = "a-secret-of-the-tests-that-is-long-enough"

# What a developer has in the shell must not decide what a test sees.
for name in Settings.model_fields:
    os.environ.pop(name, None)


# --- servers: started once, by the process that controls the run ---------------------------------------------------------------


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Start the servers while xdist starts its workers, and tell each worker where they are."""
    node.workerinput["servers"] = str(_host(node.config).folder)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Scheduling:
    """Let the tests of a file, which may share something costly, run on one worker."""
    return Scheduling(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest."""
    put_slow_first(items)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Stop the servers after the last test."""
    if (host := config.stash.get(HOST, None)) is not None:
        host.stop()


def _host(config: pytest.Config) -> Host:
    if HOST not in config.stash:
        config.stash[HOST] = host_servers()
    return config.stash[HOST]


@pytest.fixture(scope="session")
def servers(request: pytest.FixtureRequest) -> SuiteServers:
    """PostgreSQL and the S3 store of this run."""
    worker = getattr(request.config, "workerinput", None)
    return wait_for_servers(Path(worker["servers"]) if worker else _host(request.config).folder)


@pytest.fixture(scope="session")
def worker_name(request: pytest.FixtureRequest) -> str:
    """Name of this test worker: ``gw0``, or ``main`` without xdist."""
    worker = getattr(request.config, "workerinput", None)
    return worker["workerid"] if worker else "main"


async def _start(server: Server, folder: Path) -> Running:
    running = start(server.program, folder / f"{server.program.name}.log")
    try:
        await wait_until_ready(server, running)
    except BaseException:
        running.kill()
        raise
    return running


# --- PostgreSQL ----------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
async def postgres(servers: SuiteServers, worker_name: str) -> WorkerDatabase:
    """A migrated database of this worker. Tests that write take ``database`` or ``empty_tables`` as well."""
    name = f"test_{worker_name}"
    await postgres_server.copy_database(servers.postgres, postgres_server.DATABASE, name)
    return WorkerDatabase(servers.postgres, name)


@pytest.fixture(scope="session")
async def superuser_connection(postgres: WorkerDatabase) -> AsyncGenerator["asyncpg.Connection[asyncpg.Record]"]:
    """A connection that may do everything: to arrange what the service cannot, and to look at what it did."""
    connection = await asyncpg.connect(postgres.superuser_url)
    yield connection
    await connection.close()


@pytest.fixture(scope="session")
async def delete_everything(superuser_connection: "asyncpg.Connection[asyncpg.Record]") -> str:
    """The statements that empty every table. Deleting few rows is ten times as fast as truncating, and waits for no reader."""
    query = "SELECT quote_ident(tablename) FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'alembic_version'"
    tables = [row[0] for row in await superuser_connection.fetch(query)]
    # As a replica no foreign key is checked, so the order does not matter.
    return ";".join(["SET LOCAL session_replication_role = replica", *(f"DELETE FROM {table}" for table in tables)])


@pytest.fixture
async def empty_tables(superuser_connection: "asyncpg.Connection[asyncpg.Record]", delete_everything: str) -> None:
    """Make every table empty."""
    async with superuser_connection.transaction():
        await superuser_connection.execute(delete_everything)


@pytest.fixture
async def database(settings: Settings, empty_tables: None) -> AsyncGenerator[Database]:
    """The service's own way into its empty database."""
    database = Database(settings, "tests")
    yield database
    await database.close()


# --- Valkey --------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
async def valkey_instance(servers: SuiteServers, worker_name: str) -> AsyncGenerator[valkey_server.Valkey]:
    """A Valkey server of this worker: publish/subscribe knows no database numbers, so sharing one would mix the workers."""
    folder = servers.folder / worker_name
    folder.mkdir(exist_ok=True)
    server = valkey_server.prepare(folder, free_port(), os.urandom(16).hex(), durable=False)
    running = await _start(server, folder)
    yield server
    running.kill()


@pytest.fixture
async def valkey(valkey_instance: valkey_server.Valkey) -> AsyncGenerator["Redis"]:
    """A client of this worker's Valkey, which is empty."""
    client = connect(valkey_instance.url())
    await cast("Any", client).flushall()
    yield client
    await client.aclose()


# --- S3 ------------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
async def s3(servers: SuiteServers, worker_name: str) -> WorkerBucket:
    """A bucket of this worker."""
    bucket = WorkerBucket(servers.s3, f"test-{worker_name}")
    await s3_server.create_bucket(bucket.store, bucket.name, ["http://localhost:3000"])
    return bucket


# --- mail ----------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
async def mail_catcher(servers: SuiteServers, worker_name: str) -> AsyncGenerator[mail.MailCatcher]:
    """A mail catcher of this worker."""
    folder = servers.folder / worker_name
    folder.mkdir(exist_ok=True)
    smtp_port, http_port = free_ports(2)
    server = mail.prepare(folder, smtp_port, http_port)
    running = await _start(server, folder)
    yield server
    running.kill()


@pytest.fixture
async def smtp(mail_catcher: mail.MailCatcher) -> Mailbox:
    """This worker's mailbox, which is empty."""
    async with httpx.AsyncClient() as client:
        (await client.delete(f"{mail_catcher.url}/api/messages")).raise_for_status()
    return Mailbox(mail_catcher)


# --- settings ------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def setting_values(
    postgres: WorkerDatabase, valkey_instance: valkey_server.Valkey, s3: WorkerBucket, mail_catcher: mail.MailCatcher
) -> dict[str, str]:
    """Every setting of the tests under its environment variable."""
    return {
        "ENVIRONMENT": "test",
        "SECRET_KEY": SECRET,
        "DATABASE_URL": postgres.url,
        "MIGRATION_DATABASE_URL": postgres.owner_url,
        "REDIS_URL": valkey_instance.url(),
        "S3_ENDPOINT_URL": s3.store.endpoint_url,
        "S3_REGION": s3.store.region,
        "S3_BUCKET": s3.name,
        "S3_ACCESS_KEY_ID": s3.store.access_key,
        "S3_SECRET_ACCESS_KEY": s3.store.secret_key,
        "SMTP_HOST": mail_catcher.host,
        "SMTP_PORT": str(mail_catcher.smtp_port),
        "SMTP_TLS": "none",
        "METRICS_PORT": "0",
    }


@pytest.fixture(scope="session")
def settings(setting_values: dict[str, str]) -> Settings:
    """Settings that point to this worker's servers; `.env` is not read."""
    return Settings(_env_file=None, **setting_values)  # pyright: ignore[reportCallIssue, reportArgumentType]  # strings, as the environment has them


@pytest.fixture(scope="session")
def environment(setting_values: dict[str, str]) -> dict[str, str]:
    """The environment of a process of the service that a test starts."""
    return os.environ | setting_values
