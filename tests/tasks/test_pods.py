"""Every process as Kubernetes runs it: first in its namespace, without a name, nothing to write but the temporary folder."""

import os
import signal
from collections.abc import Callable, Generator
from itertools import product
from pathlib import Path

import httpx
import psutil
import pytest

from app.local.servers.ports import free_port
from tests.tasks.conftest import Broker, Outbox, until
from tests.tasks.pod import Pod, is_possible, start_pod

pytestmark = pytest.mark.skipif(not is_possible(), reason="needs `unshare --user`: a Linux that lets us make namespaces")

CELERY = ("--quiet", "--app", "app.core.celery_app")
GUNICORN = ("gunicorn", "--config", "python:app.core.gunicorn", "app.main:create_app()")
WORKER = ("celery", *CELERY, "worker", "--queues", "main-queue", "--concurrency", "1", "--include", "tests.tasks.probe_tasks")
type StartPod = Callable[..., Pod]


@pytest.fixture
def start(environment: dict[str, str], broker: Broker, tmp_path: Path) -> Generator[StartPod]:
    """Start pods on a Valkey of their own; whatever is left of them is killed after the test."""
    started: list[Pod] = []

    def start_one(*arguments: str, **variables: str) -> Pod:
        own = {"REDIS_URL": broker.server.url(), "WORKER_HEARTBEAT_FILE": str(tmp_path / "pod-0" / "tmp" / "heartbeat")}
        folder = tmp_path / f"pod-{len(started)}"
        started.append(start_pod(folder, environment | own | variables, arguments))
        return started[-1]

    yield start_one
    for pod in started:
        pod.kill()


async def until_it_says(pod: Pod, words: str) -> None:
    await until(lambda: words in pod.output or pod.outside.poll() is not None)
    assert pod.outside.poll() is None, pod.output


async def until_it_ends(pod: Pod, seconds: float) -> int:
    await until(lambda: pod.outside.poll() is not None, seconds)
    assert "Traceback" not in pod.output
    return pod.outside.returncode


def relays(pod: Pod) -> list[psutil.Process]:
    """Processes of its relay, those that ended and were not waited for included."""
    return [
        process for process in pod.first.children() if process.status() == psutil.STATUS_ZOMBIE or "app.tasks.relay" in process.cmdline()
    ]


async def test_a_worker_gives_back_what_is_long_and_ends_in_time_with_its_relay(start: StartPod, promised: Outbox, tmp_path: Path) -> None:
    pod = start(*WORKER, REMAP_SIGTERM="SIGQUIT", WORKER_SOFT_SHUTDOWN_SECONDS="2", PROBE_FOLDER=str(tmp_path / "pod-0" / "tmp"))
    await until_it_says(pod, " ready.")
    (relay,) = relays(pod)
    assert pod.file("heartbeat").exists()
    await promised.promise("sleep", seconds=60)

    async def taken() -> bool:
        return any(row["heartbeat_at"] for row in await promised.rows())

    await until(taken)
    pod.stop()
    assert await until_it_ends(pod, 20) == 0
    assert not relay.is_running()
    (row,) = await promised.rows()
    assert (row["heartbeat_at"], row["attempts"]) == (None, 0)


async def test_a_relay_that_dies_leaves_no_zombie(start: StartPod) -> None:
    pod = start(*WORKER, REMAP_SIGTERM="SIGQUIT")
    await until_it_says(pod, " ready.")
    (relay,) = relays(pod)
    relay.kill()
    await until_it_says(pod, "starting another")
    (another,) = relays(pod)
    assert another != relay


async def test_a_scheduler_ends_in_time(start: StartPod, tmp_path: Path) -> None:
    pod = start("celery", *CELERY, "beat", "--schedule", str(tmp_path / "pod-0" / "tmp" / "schedule"), "--pidfile", "")
    await until_it_says(pod, "beat: Starting")
    await until(lambda: pod.file("heartbeat").exists())
    pod.stop()
    assert await until_it_ends(pod, 10) == 0


async def test_the_api_answers_probes_and_ends_in_time_with_all_its_processes(start: StartPod) -> None:
    port, metrics = free_port(), free_port()
    pod = start(*GUNICORN, PORT=str(port), METRICS_PORT=str(metrics))
    await until_it_says(pod, "Application startup complete")
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        for method, path, agent in product(("GET", "HEAD"), ("live", "ready", "startup"), ("kube-probe/1.33", "ELB-HealthChecker/2.0")):
            probe = {"Host": "10.1.2.3:8000", "User-Agent": agent, "Connection": "close"}
            answer = await client.request(method, f"/health/{path}", headers=probe, timeout=3)
            assert (answer.status_code, answer.content == b"") == (200, method == "HEAD")
    processes = pod.first.children()
    assert len(processes) == 2
    pod.stop()
    assert await until_it_ends(pod, 20) == 0
    assert not any(process.is_running() for process in processes)


async def test_a_metrics_listener_that_dies_leaves_no_zombie(start: StartPod) -> None:
    pod = start(*GUNICORN, PORT=str(free_port()), METRICS_PORT=str(free_port()))
    await until_it_says(pod, "Application startup complete")
    (listener,) = [process for process in pod.first.children() if "app.core.metrics_server" in process.cmdline()]
    os.kill(listener.pid, signal.SIGKILL)
    await until(lambda: not listener.is_running())


async def test_one_that_waits_for_its_database_ends_when_told_to(start: StartPod) -> None:
    pod = start("app", "wait", DATABASE_URL=f"postgresql://app:x@127.0.0.1:{free_port()}/x")
    await until_it_says(pod, "waiting for PostgreSQL")
    pod.stop()
    assert await until_it_ends(pod, 10) == 128 + signal.SIGTERM


@pytest.mark.parametrize("command", [("alembic", "upgrade", "head"), ("app", "doctor"), ("app", "wait")])
async def test_what_runs_once_needs_no_more_than_a_pod_has(start: StartPod, command: tuple[str, ...]) -> None:
    pod = start(*command)
    assert await until_it_ends(pod, 60) == 0, pod.output
