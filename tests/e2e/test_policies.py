"""Who reaches whom: a stranger reaches nothing of the release, and the release nothing it was not given."""

from collections.abc import AsyncGenerator
from typing import Any

import pytest

from tests.e2e import manifests
from tests.e2e.cluster import Cluster, component
from tests.e2e.environment import Environment
from tests.e2e.release import Release

#: Takes `HOST:PORT` words, and prints which of them answer; connections that nobody takes or refuses end after a while.
REACH = """
import json, socket, sys
from concurrent.futures import ThreadPoolExecutor
def reach(target):
    host, _, port = target.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=4).close()
    except OSError as error:
        return target, f"{type(error).__name__}"
    return target, "reached"
with ThreadPoolExecutor(32) as pool: print(json.dumps(dict(pool.map(reach, sys.argv[1:]))))
"""
RESOLVE = "import json, socket, sys; print(json.dumps([socket.gethostbyname(name) for name in sys.argv[1:]]))"
PORTS = {"api": (8000, 9090), "worker-main": (9090,), "worker-bulk": (9090,), "postgresql": (5432,), "valkey": (6379,)}
UNREACHED = {"TimeoutError", "ConnectionRefusedError", "OSError"}


async def reach(cluster: Cluster, pod: str, targets: list[str]) -> dict[str, str]:
    """Return what became of a connection from a pod to each target."""
    found: dict[str, str] = await cluster.python(pod, REACH, *targets)
    return found


async def _address(cluster: Cluster, pod: str) -> str:
    return (await cluster.kubectl("get", f"pod/{pod}", "--output=jsonpath={.status.podIP}")).strip()


@pytest.fixture
async def stranger(environment: Environment, release: Release) -> AsyncGenerator[str]:
    """A pod of somebody else in the namespace; the test is skipped where the cluster enforces no policy."""
    cluster = release.cluster
    await cluster.apply(manifests.stranger(environment.image), *manifests.hermit(environment.image))
    pods = ("pod/stranger", "pod/hermit")
    try:
        await cluster.kubectl("wait", *pods, "--for=condition=Ready", "--timeout=60s")
        addresses = [f"{await _address(cluster, pod)}:{manifests.ECHO_PORT}" for pod in ("stranger", "hermit")]
        itself, hermit = (await reach(cluster, "stranger", addresses)).values()
        assert itself == "reached"
        if hermit == "reached":
            pytest.skip("this cluster enforces no NetworkPolicy: one whose network does, such as Calico or Cilium, would run this")
        yield "stranger"
    finally:
        await cluster.kubectl("delete", *pods, "networkpolicy/hermit", "--wait=true")


async def test_a_stranger_in_the_namespace_reaches_no_pod_of_the_release(stranger: str, release: Release, figures: dict[str, Any]) -> None:
    pods = await release.pods(*PORTS)
    targets = [f"{pod['status']['podIP']}:{port}" for pod in pods for port in PORTS[component(pod)]]
    targets += [f"{release.object_name('api')}:80", f"{release.object_name('postgresql')}:5432", f"{release.object_name('valkey')}:6379"]
    found = await reach(release.cluster, stranger, targets)
    figures["ports tried"] = len(found)
    assert {component(pod) for pod in pods} == PORTS.keys()
    assert {target: answer for target, answer in found.items() if answer not in UNREACHED} == {}


async def test_the_api_reaches_its_databases_and_no_other_pod(stranger: str, release: Release, figures: dict[str, Any]) -> None:
    cluster = release.cluster
    api = (await release.ready("api"))["api"][0]
    worker = (await release.ready("worker-main"))["worker-main"][0]
    databases = [f"{release.object_name('postgresql')}:5432", f"{release.object_name('valkey')}:6379"]
    elsewhere = [
        f"{await _address(cluster, stranger)}:{manifests.ECHO_PORT}",
        f"{await _address(cluster, worker)}:9090",
        "kubernetes.default.svc:443",
    ]
    found = await reach(cluster, api, databases + elsewhere)
    figures["from the API"] = found
    assert [found[target] for target in databases] == ["reached", "reached"]
    assert {found[target] for target in elsewhere} <= UNREACHED
    resolved = await cluster.python(api, RESOLVE, release.object_name("postgresql"), "kubernetes.default.svc")
    assert len(resolved) == 2
