"""Every way to PostgreSQL is encrypted where the URL asks for it, as staging and production do."""

import os
import shutil
from collections.abc import AsyncGenerator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import mkdtemp

import asyncpg
import pytest
import sqlalchemy
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from app.cli.checks.postgres import check_postgres
from app.core.autocommit import asyncpg_dsn
from app.core.config import Settings
from app.core.database import Database, asyncpg_url
from app.local.servers import postgres, start, wait_until_ready
from app.local.servers.account import unprivileged_account
from app.local.servers.ports import free_port

ENCRYPTED = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"


def write_certificate(folder: Path) -> None:
    """Make the server a certificate that it signed itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, now + timedelta(days=1))
    encoding = serialization.Encoding.PEM
    private = key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    files = {"server.key": private, "server.crt": builder.sign(key, hashes.SHA256()).public_bytes(encoding)}
    account = unprivileged_account() if os.geteuid() == 0 else None
    for file, content in files.items():
        (folder / file).write_bytes(content)
        (folder / file).chmod(0o600)
        if account:
            os.chown(folder / file, account.uid, account.gid)


@pytest.fixture(scope="module")
async def server() -> AsyncGenerator[postgres.Postgres]:
    """A PostgreSQL with a certificate and the service's roles."""
    folder = Path(mkdtemp(prefix="tls-"))
    folder.chmod(0o711)  # noqa: ASYNC240  # PostgreSQL's account must be able to enter
    passwords = postgres.Passwords(superuser="a" * 20, owner="b" * 20, app="c" * 20)
    made = postgres.prepare(folder, free_port(), passwords, durable=False)
    write_certificate(made.files.data)
    running = start(replace(made.program, argv=(*made.program.argv, "-c", "ssl=on")), folder / "log")
    try:
        await wait_until_ready(made, running)
        await postgres.provision(made)
        yield made
    finally:
        running.kill()
        shutil.rmtree(folder)


@pytest.fixture(params=["ssl", "sslmode"])
def settings(server: postgres.Postgres, request: pytest.FixtureRequest) -> Settings:
    url = f"{server.url(postgres.APP, postgres.DATABASE)}?{request.param}=require"
    return Settings.model_validate({"DATABASE_URL": url, "SECRET_KEY": "x" * 40})


async def test_sessions_and_single_statements_are_encrypted(settings: Settings) -> None:
    database = Database(settings, "tests")
    try:
        async with database.read() as session:
            assert (await session.execute(sqlalchemy.text(ENCRYPTED))).scalar()
    finally:
        await database.close()
    connection = await asyncpg.connect(asyncpg_dsn(asyncpg_url(str(settings.DATABASE_URL))))
    try:
        assert await connection.fetchval(ENCRYPTED)
    finally:
        await connection.close()


async def test_doctor_finds_the_server(settings: Settings) -> None:
    found = {result.check: result.state for result in await check_postgres(settings)}
    assert found["version"] == "ok"
