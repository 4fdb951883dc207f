"""The peers give the API's answers. Each test starts what it compares; a peer without its runtime here is skipped."""

import json
import re
import shutil
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from app.core.config import Settings
from app.local.servers import Program, Running, start
from app.local.servers.ports import free_port
from loadtests.bench import peers
from loadtests.bench.errors import BenchError
from loadtests.bench.figures import OURS
from loadtests.bench.people import Person, register
from loadtests.bench.scenarios import Contender
from loadtests.bench.stack import answers
from loadtests.bench.verify import verify
from tests.tasks.conftest import until

if TYPE_CHECKING:
    import asyncpg
    from redis.asyncio import Redis

REPOSITORY = Path(__file__).parents[2]
API = (sys.executable, "-m", "gunicorn", "--config", "python:app.core.gunicorn", "app.main:create_app()")

pytestmark = pytest.mark.timeout(300)  # a peer is built once per environment

type Begin = Callable[[Program, int], Awaitable[Running]]


@pytest.fixture
async def begin(tmp_path: Path) -> AsyncGenerator[Begin]:
    """Start servers; what runs at the end is ended."""
    started: list[Running] = []

    async def begin(program: Program, port: int) -> Running:
        running = start(program, tmp_path / f"{program.name}.log")
        started.append(running)
        await until(lambda: answers(port, "/health/live"))
        return running

    yield begin
    for running in started:
        running.kill()


@pytest.fixture
async def people(superuser_connection: "asyncpg.Connection[asyncpg.Record]", empty_tables: None, settings: Settings) -> list[Person]:
    """Two users, signed in, with enough items for a page."""
    return await register(superuser_connection, settings, count=2, items=60)


@pytest.fixture
async def ours(begin: Begin, environment: dict[str, str], valkey: "Redis") -> Contender:
    """The API as it ships."""
    port = free_port()
    running = await begin(Program(name="api", argv=API, cwd=REPOSITORY, env=environment | {"PORT": str(port)}), port)
    return Contender(OURS, OURS, port, running.pid)


async def contender(name: str, begin: Begin, values: dict[str, str], settings: Settings) -> Contender:
    try:
        peer = peers.PEERS[name]()
    except peers.MissingError as missing:
        pytest.skip(f"{name} cannot run here, its runtime would make this run: {missing}")
    port = free_port()
    running = await begin(peer.program(values | {"PUBLIC_URL": settings.PUBLIC_URL}, port), port)
    return Contender(peer.name, peer.title, port, running.pid, peer.exact)


@pytest.mark.parametrize("name", peers.PEERS)
async def test_a_peer_answers_and_refuses_as_the_api_does(
    name: str, begin: Begin, ours: Contender, people: list[Person], setting_values: dict[str, str], settings: Settings
) -> None:
    peer = await contender(name, begin, setting_values, settings)
    verify(ours, [peer], people, settings)


async def test_a_peer_whose_bytes_differ_is_found(
    begin: Begin, ours: Contender, people: list[Person], setting_values: dict[str, str], settings: Settings
) -> None:
    peer = await contender("textbook", begin, setting_values, settings)
    with pytest.raises(BenchError, match="Textbook FastAPI answers item otherwise than the API"):
        verify(ours, [replace(peer, exact=True)], people, settings)


async def test_a_peer_that_lets_others_in_is_found(ours: Contender, people: list[Person], settings: Settings) -> None:
    # Two of one user: the "other" one's item is then answered.
    with pytest.raises(BenchError, match="ours answers somebody else's item with 200 instead of 404"):
        verify(ours, [], [people[0], people[0]], settings)


def nothing(*_: object, **__: object) -> None:
    """Find nothing, whatever is looked for."""


def test_a_machine_without_go_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", nothing)
    with pytest.raises(peers.MissingError, match="no Go on this machine"):
        peers.go()


def test_a_machine_without_node_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", nothing)
    monkeypatch.setattr(peers, "find_spec", nothing)
    with pytest.raises(peers.MissingError, match=r"no Node\.js with npm"):
        peers.node()


def test_a_build_that_fails_leaves_the_peer_out_and_nothing_behind(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(peers, "CACHE", tmp_path)
    monkeypatch.setattr(peers, "_node", lambda: (sys.executable, [sys.executable, "-c", "import sys; sys.exit('no registry')"]))
    with pytest.raises(peers.MissingError, match="no registry"):
        peers.node()
    assert list(tmp_path.iterdir()) == []


def test_no_lock_file_names_a_registry() -> None:
    lock = (peers.SOURCES / "node" / "package-lock.json").read_text()
    assert json.loads(lock)["packages"]["node_modules/fastify"]["integrity"].startswith("sha512-")
    for path in peers.SOURCES.rglob("*"):
        if path.is_file():
            assert not re.search(rb'"resolved"|registry\.npmjs|proxy\.golang|:_auth', path.read_bytes()), path
