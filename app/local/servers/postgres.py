"""PostgreSQL 16: a cluster with two roles, one that owns the schema and one for the service, which cannot change it."""

import locale
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from app.core.roles import Role, grant, save_database, save_roles
from app.local.servers.account import Account, identity, unprivileged_account
from app.local.servers.ports import LOOPBACK
from app.local.servers.postgres_files import Files, prepare_files
from app.local.servers.program import Program, ServerError

SUPERUSER = "postgres"
OWNER = "platform_owner"
APP = "platform_app"
DATABASE = "platform"
MAX_CONNECTIONS = 200

# For a laptop that imports hundreds of thousands of rows: checkpoints far apart, a cache that holds the indexes.
SETTINGS = {
    "autovacuum_naptime": "15s",
    "checkpoint_completion_target": "0.9",
    "checkpoint_timeout": "15min",
    "jit": "off",
    "listen_addresses": LOOPBACK,
    "log_line_prefix": "%m [%p] %q%u@%d %a ",
    "log_timezone": "GMT",
    "maintenance_work_mem": "128MB",
    "max_connections": str(MAX_CONNECTIONS),
    "max_wal_size": "4GB",
    "password_encryption": "scram-sha-256",
    "random_page_cost": "1.1",
    "shared_buffers": "256MB",
    "timezone": "GMT",  # the one zone that needs no zone files, which slim images lack
    "unix_socket_directories": "",
    "wal_compression": "lz4",
    "work_mem": "16MB",
}
# A test's data lives as long as the test.
THROWAWAY_SETTINGS = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Passwords:
    """The passwords of the three roles."""

    superuser: str
    owner: str
    app: str

    def of(self, role: str) -> str:
        """Return the password of ``role``."""
        return {SUPERUSER: self.superuser, OWNER: self.owner, APP: self.app}[role]


@dataclass(frozen=True, slots=True, kw_only=True)
class Postgres:
    """A PostgreSQL server."""

    program: Program
    files: Files
    port: int
    passwords: Passwords

    def url(self, role: str = APP, database: str = DATABASE) -> str:
        """Return the URL of ``database`` for ``role``."""
        return f"postgresql://{role}:{self.passwords.of(role)}@{LOOPBACK}:{self.port}/{database}"

    async def answers(self) -> bool:
        """Tell whether it accepts connections."""
        try:
            connection = await asyncpg.connect(self.url(SUPERUSER, "postgres"), timeout=5)
        except asyncpg.InvalidPasswordError as error:
            raise ServerError(
                f"The data in {self.files.data} was made with other passwords than those the stack remembers.\n"
                "Start over with `make run RESET=1`."
            ) from error
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
            return False
        await connection.close()
        return True


def prepare(folder: Path, port: int, passwords: Passwords, *, durable: bool = True) -> Postgres:
    """Make the cluster in ``folder`` unless it exists, and say how to start it.

    Args:
        folder: the stack's folder; the cluster is its entry ``postgres``.
        port: the TCP port to listen on.
        passwords: of the roles.
        durable: False trades the data's safety for speed, for tests.

    Raises:
        ServerError: when it cannot run on this machine, with the remedy.
    """
    account = _account()
    files = prepare_files(folder, account)
    if not (files.data / "PG_VERSION").exists():
        _initialise(files, account, passwords.superuser)
    options = SETTINGS | {"port": str(port)} | ({} if durable else THROWAWAY_SETTINGS)
    flags = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
    program = Program(
        name="postgres",
        argv=(str(files.programs / "postgres"), "-D", str(files.data), *flags),
        cwd=files.data,
        env=_environment(),
        account=account,
        stop_signal=signal.SIGINT,  # "fast": clients are disconnected, data is flushed
        stop_seconds=20,
    )
    return Postgres(program=program, files=files, port=port, passwords=passwords)


async def provision(server: Postgres, databases: Sequence[str] = (DATABASE,)) -> None:
    """Create the roles and the databases that are missing, and give the service's role its rights."""
    connection = await asyncpg.connect(server.url(SUPERUSER, "postgres"), timeout=10)
    try:
        await save_roles(connection, *(Role(role, server.passwords.of(role)) for role in (OWNER, APP)))
        made = [name for name in databases if await save_database(connection, name, OWNER)]
    finally:
        await connection.close()
    for name in made:
        owner = await asyncpg.connect(server.url(OWNER, name), timeout=10)
        try:
            await grant(owner, APP)
        finally:
            await owner.close()


async def copy_database(server: Postgres, template: str, name: str) -> None:
    """Create the database ``name`` as a copy of ``template``, which nobody may be connected to."""
    connection = await asyncpg.connect(server.url(SUPERUSER, "postgres"), timeout=10)
    try:
        await connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
        await connection.execute(f'CREATE DATABASE "{name}" OWNER {OWNER} TEMPLATE "{template}" STRATEGY file_copy')
    finally:
        await connection.close()


def _account() -> Account | None:
    try:
        return unprivileged_account()
    except LookupError as error:
        raise ServerError(f"PostgreSQL cannot run as root, and {error}.\nRun as a plain user, or set DATABASE_URL.") from error


def _environment() -> dict[str, str]:
    """Return this environment without what would change PostgreSQL's mind (PGPORT, PGDATA and their like)."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_", "LANG"))}


def _initialise(files: Files, account: Account | None, password: str) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        secret = Path(scratch) / "password"
        secret.touch(mode=0o600)
        secret.write_text(password)
        if account is not None:
            for path in (Path(scratch), secret):
                os.chown(path, account.uid, account.gid)
        command = [
            str(files.programs / "initdb"),
            f"--pgdata={files.data}",
            f"--username={SUPERUSER}",
            f"--pwfile={secret}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--locale=C",
            f"--lc-ctype={_character_type()}",
            "--no-instructions",
            "--no-sync",  # the first checkpoint syncs
        ]
        made = subprocess.run(command, cwd=files.data, env=_environment(), capture_output=True, text=True, check=False, **identity(account))
    if made.returncode != 0:
        shutil.rmtree(files.data, ignore_errors=True)
        raise ServerError(f"initdb failed:\n{made.stdout}{made.stderr}")


def _character_type() -> str:
    """Return a locale that knows upper and lower case beyond ASCII, under the name this system has for it."""
    before = locale.setlocale(locale.LC_CTYPE)
    try:
        for name in ("C.UTF-8", "en_US.UTF-8", "UTF-8"):
            try:
                return locale.setlocale(locale.LC_CTYPE, name)
            except locale.Error:
                continue
    finally:
        locale.setlocale(locale.LC_CTYPE, before)
    return "C"
