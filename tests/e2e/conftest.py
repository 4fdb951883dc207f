"""One namespace and one release for the run; each test gets the release as it was installed."""

import json
import socket
import time
from collections.abc import AsyncGenerator, Generator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import pytest

from tests.charts.helm import need
from tests.e2e import environment as environments
from tests.e2e import manifests
from tests.e2e.cluster import Cluster
from tests.e2e.environment import Environment
from tests.e2e.release import Release, Support, base, image, merge
from tests.reliability.actors import Record

FIGURES = pytest.StashKey[dict[str, Any]]()
RELEASE = "fastapi-platform"
TEST_SECONDS = 1800
FIRST = ("test_install.py", "test_rollout.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give these tests, and no others, the time that a cluster needs; upgrade while the database is where the installation left it."""
    places = [place for place, item in enumerate(items) if item.path.parent == Path(__file__).parent]
    own = [items[place] for place in places]
    own.sort(key=lambda item: FIRST.index(item.path.name) if item.path.name in FIRST else len(FIRST))
    for place, item in zip(places, own, strict=True):
        item.add_marker(pytest.mark.timeout(TEST_SECONDS))
        items[place] = item


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Print the figures of the run."""
    for test, found in config.stash.get(FIGURES, dict[str, Any]()).items():
        terminalreporter.section(test)
        for name, value in found.items():
            terminalreporter.write_line(f"{name}: {value}")


@pytest.fixture(scope="session")
def environment() -> Environment:
    """What the run is told; without a cluster the test is skipped."""
    if (reason := environments.missing()) is not None:
        pytest.skip(reason)
    return environments.read()


@pytest.fixture(scope="session")
def all_figures(request: pytest.FixtureRequest) -> dict[str, Any]:
    """The figures of every test so far."""
    return request.config.stash.setdefault(FIGURES, {})


@pytest.fixture
def figures(request: pytest.FixtureRequest, environment: Environment, all_figures: dict[str, Any]) -> Generator[dict[str, Any]]:
    """The figures of this test: printed at the end of the run and, whatever comes, written to ``E2E_REPORT`` at its own end."""
    mine: dict[str, Any] = all_figures.setdefault(request.node.name.removeprefix("test_").replace("_", " "), {})
    began = time.monotonic()
    yield mine
    mine["seconds of the test"] = round(time.monotonic() - began)
    if environment.report:
        Path(environment.report).write_text(json.dumps(all_figures, indent=2) + "\n")


@pytest.fixture(scope="session")
async def cluster(environment: Environment) -> AsyncGenerator[Cluster]:
    """A namespace of its own, which goes with the run."""
    found = Cluster(need("kubectl"), need(environment.helm), environment.kubeconfig, f"e2e-{uuid4().hex[:8]}")
    await found.apply(manifests.namespace(found.namespace))
    yield found
    if not environment.keep:
        await found.kubectl("delete", "namespace", found.namespace, "--timeout=180s")


@pytest.fixture(scope="session")
def host(environment: Environment, cluster: Cluster) -> Generator[str]:
    """The release's host name. It and what ends in it lead to the ingress in this process, as entries in DNS would."""
    name, address = f"{cluster.namespace}.test", environments.address(environment.ingress_url)
    look_up = socket.getaddrinfo

    def getaddrinfo(asked: Any, *arguments: Any, **options: Any) -> Any:
        plain = asked.decode() if isinstance(asked, bytes) else asked
        return look_up(address if isinstance(plain, str) and plain.endswith(name) else asked, *arguments, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", getaddrinfo)
        yield name


@pytest.fixture(scope="session")
def url(environment: Environment, host: str) -> str:
    """Where clients reach the release: through the ingress."""
    parts = urlsplit(environment.ingress_url)
    return f"{parts.scheme}://{host}" + (f":{parts.port}" if parts.port else "")


@pytest.fixture(scope="session")
async def support(environment: Environment, cluster: Cluster) -> Support:
    """S3 and SMTP for the service, where there is an image of them."""
    if not environment.image_support:
        return Support.NONE
    await cluster.apply(*manifests.support(environment.image_support))
    await cluster.kubectl("wait", "pod/support", "--for=condition=Ready", "--timeout=120s")
    return Support.RUNNING


@pytest.fixture(scope="session")
async def installed(environment: Environment, cluster: Cluster, host: str, url: str, support: Support) -> tuple[Release, float]:
    """The release, and the seconds that its installation took."""
    found = Release(cluster, RELEASE, merge(base(environment, host), image(environment.image)), url)
    began = time.monotonic()
    await found.install()
    return found, time.monotonic() - began


@pytest.fixture
async def release(installed: tuple[Release, float]) -> Release:
    """The release as it was installed, whatever other tests did to it."""
    found, _ = installed
    await found.reset()
    return found


@pytest.fixture
def record() -> Record:
    """What the service acknowledges to this test."""
    return Record()
