"""Finding a Python: wherever one usually is, the best of them, or a message that says what to install."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from app.local.install import digest, explain
from app.local.place import REPOSITORY

TOOLS = ("awk", "cat", "dirname", "head", "sed", "sh", "uname")
SUPPORTED = ("3.14", "3.13", "3.12")
FAKE = """#!/bin/sh
case "$*" in
*install.py*) echo "$0" ;;
*ensurepip*) {check} ;;
*pip*) exit 1 ;;
*) exit 1 ;;
esac
"""


class Machine:
    """A machine with its own PATH and home, and a project that consists of the bootstrap."""

    def __init__(self, folder: Path) -> None:
        self.path, self.home, self.project = folder / "bin", folder / "home", folder / "project"
        for made in (self.path, self.home, self.project / "app" / "local"):
            made.mkdir(parents=True)
        shutil.copy(REPOSITORY / "app/local/bootstrap.sh", self.project / "app/local")
        for tool in TOOLS:
            (self.path / tool).symlink_to(str(shutil.which(tool)))
        self.python(self.path / "python3", "3.11")
        self.python(self.path / "python", "2.7")

    def python(self, place: Path, version: str, *, complete: bool = True) -> Path:
        """Put a Python somewhere; an incomplete one cannot make virtual environments."""
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(FAKE.format(check=f"echo {version}" if complete else "exit 1"))
        place.chmod(0o755)
        return place

    def bootstrap(self, **environment: str) -> "subprocess.CompletedProcess[str]":
        """Run the bootstrap."""
        return subprocess.run(
            [self.project / "app/local/bootstrap.sh", "requirements/local.txt"],
            env={"PATH": str(self.path), "HOME": str(self.home)} | environment,
            capture_output=True,
            text=True,
            check=False,
        )

    def chosen(self, **environment: str) -> str:
        """Return the Python that the bootstrap hands over to."""
        done = self.bootstrap(**environment)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    folders = ("/usr/bin", "/usr/local/bin", "/opt/homebrew/bin")
    if any(Path(folder, f"python{version}").exists() for folder in folders for version in SUPPORTED):
        pytest.skip("this machine has a Python of its own where the bootstrap looks")
    return Machine(tmp_path)


def test_the_newest_python_with_wheels_on_path_is_taken(machine: Machine) -> None:
    for version in ("3.12", "3.14", "3.13"):
        machine.python(machine.path / f"python{version}", version)
    assert machine.chosen() == str(machine.path / "python3.14")


def test_a_python3_without_a_version_in_its_name_is_found(machine: Machine) -> None:
    machine.python(machine.path / "python3", "3.13")
    assert machine.chosen() == str(machine.path / "python3")


@pytest.mark.parametrize(
    "place",
    [
        ".pyenv/versions/3.13.0/bin/python3",
        ".local/share/uv/python/cpython-3.13.1-linux-x86_64-gnu/bin/python3",
        ".local/share/mise/installs/python/3.13.1/bin/python3",
        ".asdf/installs/python/3.13.1/bin/python3",
        "miniconda3/bin/python3",
    ],
)
def test_a_python_that_is_not_on_path_is_found(machine: Machine, place: str) -> None:
    python = machine.python(machine.home / place, "3.13")
    assert machine.chosen() == str(python)


def test_a_python_that_cannot_make_environments_is_passed_over(machine: Machine) -> None:
    machine.python(machine.path / "python3.14", "3.14", complete=False)
    python = machine.python(machine.path / "python3.12", "3.12")
    assert machine.chosen() == str(python)


def test_the_environment_that_exists_is_kept(machine: Machine) -> None:
    machine.python(machine.path / "python3.14", "3.14")
    machine.python(machine.project / ".venv/bin/python", "3.12")
    assert machine.chosen() == ".venv/bin/python"


def test_an_environment_of_an_old_python_is_not_kept(machine: Machine) -> None:
    python = machine.python(machine.path / "python3.14", "3.14")
    machine.python(machine.project / ".venv/bin/python", "3.11")
    assert machine.chosen() == str(python)


def test_the_user_may_choose(machine: Machine) -> None:
    machine.python(machine.path / "python3.14", "3.14")
    python = machine.python(machine.home / "my python", "3.12")
    assert machine.chosen(PYTHON=str(python)) == str(python)
    refused = machine.bootstrap(PYTHON="/nowhere/python")
    assert refused.returncode == 1
    assert "PYTHON=/nowhere/python" in refused.stderr


def test_uv_gets_a_python_where_there_is_none(machine: Machine) -> None:
    python = machine.python(machine.home / "fetched", "3.13")
    uv = machine.path / "uv"
    uv.write_text(f'#!/bin/sh\n[ "$2" = find ] && echo "{python}"\nexit 0\n')
    uv.chmod(0o755)
    assert machine.chosen() == str(python)


def test_where_nothing_helps_the_message_says_what_to_install(machine: Machine) -> None:
    done = machine.bootstrap()
    assert done.returncode == 1
    assert "needs Python 3.12, 3.13 or 3.14" in done.stderr
    assert "apt-get install" in done.stderr or "brew install" in done.stderr
    assert "PYTHON=" in done.stderr


@pytest.mark.parametrize(
    ("log", "remedy"),
    [
        ("ERROR: NewConnectionError: Name or service not known", "cannot be reached"),
        ("ERROR: SSLError: CERTIFICATE_VERIFY_FAILED", "PIP_CERT"),
        ("ERROR: No matching distribution found for x==1", "PYTHON="),
        ("ERROR: [Errno 28] No space left on device", "disk is full"),
        ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE", "differs from the one that was locked"),
        ("ERROR: something new", "The whole output is in the log"),
    ],
)
def test_a_failed_installation_says_what_failed_and_what_to_do(log: str, remedy: str) -> None:
    explained = explain(f"Collecting x\n{log}\n")
    assert log in explained
    assert remedy in explained


def test_what_is_installed_is_known_by_the_content_of_the_lock_file(tmp_path: Path) -> None:
    lock = tmp_path / "local.txt"
    lock.write_text("a==1\n")
    before = digest(lock)
    lock.write_text("a==2\n")
    assert digest(lock) != before


def test_no_lock_file_names_an_index() -> None:
    for lock in (REPOSITORY / "requirements").glob("*.txt"):
        content = lock.read_text()
        assert "://" not in content
        assert "--index-url" not in content
        assert "--find-links" not in content


def test_the_bootstrap_can_be_executed() -> None:
    assert os.access(REPOSITORY / "app/local/bootstrap.sh", os.X_OK)
    assert os.access(REPOSITORY / ".ci/run", os.X_OK)
