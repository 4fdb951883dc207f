"""PostgreSQL for root: under another account, wherever that account can get to."""

import asyncio
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.local.servers import postgres, postgres_files, start, wait_until_ready
from app.local.servers.account import unprivileged_account
from app.local.servers.ports import free_port

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root needs another account")
PASSWORDS = postgres.Passwords(superuser="a1", owner="b2", app="c3")


@pytest.fixture
def shared_home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A stand-in for /var/lib/fastapi-platform that everybody can enter."""
    folder = Path(tempfile.mkdtemp(prefix="platform-shared-"))
    folder.chmod(0o755)
    monkeypatch.setattr(postgres_files, "SHARED_HOME", folder)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def private_folder(tmp_path: Path) -> Path:
    """A folder that root alone can enter, as a clone below /root is."""
    folder = tmp_path / "private"
    folder.mkdir(mode=0o700)
    return folder


def test_a_server_whose_folder_its_account_cannot_enter_lives_elsewhere_and_keeps_its_data(
    shared_home: Path, private_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.prefix", str(private_folder))
    (private_folder / "lib").mkdir()
    server = postgres.prepare(private_folder, free_port(), PASSWORDS, durable=False)
    assert server.files.data.parent == shared_home
    assert server.files.programs.is_relative_to(shared_home)
    running = start(server.program, private_folder / "postgres.log")
    try:
        asyncio.run(wait_until_ready(server, running))
        asyncio.run(postgres.provision(server))
    finally:
        running.stop()
    assert postgres.prepare(private_folder, free_port(), PASSWORDS).files == server.files


def test_deleting_the_data_deletes_what_lives_elsewhere(shared_home: Path, private_folder: Path) -> None:
    files = postgres_files.prepare_files(private_folder, unprivileged_account())
    assert files.moved
    postgres_files.remove_data(private_folder)
    assert not files.data.exists()
    assert not (private_folder / "postgres").is_symlink()


def test_deleting_the_data_follows_no_link_to_anywhere_else(shared_home: Path, private_folder: Path, tmp_path: Path) -> None:
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (private_folder / "postgres").symlink_to(foreign)
    postgres_files.remove_data(private_folder)
    assert foreign.exists()
