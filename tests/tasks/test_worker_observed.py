"""What an operator sees of a worker: metrics of all its processes, reports of what failed."""

import os
import signal
from collections.abc import AsyncGenerator
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from app.core import context
from app.local.servers.ports import free_port
from tests.ingest import Ingest
from tests.tasks.conftest import Outbox, Worker, kill_worker_process, start_worker_process, until

PROBES = "tests.tasks.probe_tasks"


class Observed:
    """A worker, its metrics, and the reports it sends."""

    def __init__(self, worker: Worker, port: int, ingest: Ingest) -> None:
        self.worker = worker
        self.url = f"http://127.0.0.1:{port}/metrics"
        self.ingest = ingest

    async def metric(self, name: str, **labels: str) -> float | None:
        async with httpx.AsyncClient() as client:
            try:
                page = (await client.get(self.url)).text
            except httpx.TransportError:
                return None  # its relay has not begun to answer
        samples = [s for family in text_string_to_metric_families(page) for s in family.samples if s.name == name]
        found = [s.value for s in samples if labels.items() <= s.labels.items()]
        return sum(found) if found else None


@pytest.fixture
async def observed(
    environment: dict[str, str], probe_folder: Path, tmp_path: Path, valkey: object, promised: Outbox
) -> AsyncGenerator[Observed]:
    ingest, port = Ingest(), free_port()
    variables = {"PROBE_FOLDER": str(probe_folder), "METRICS_PORT": str(port), "SENTRY_DSN": ingest.dsn, "VERSION": "7.7.7"}
    worker = start_worker_process(tmp_path / "observed", environment | variables)
    yield Observed(await worker.ready(), port, ingest)
    kill_worker_process(worker)
    ingest.close()


async def test_a_worker_counts_with_its_children_and_its_relay_and_reports_failures(observed: Observed, promised: Outbox) -> None:
    first = await promised.promise("succeed")
    await promised.until_done()
    child = int(promised.traces(first, "done")[0].split()[0])
    os.kill(child, signal.SIGKILL)
    await promised.promise("succeed")
    await promised.until_done()

    async def counted() -> bool:
        return await observed.metric("tasks_total", task=f"{PROBES}.succeed", outcome="succeeded") == 2

    await until(counted)
    assert await observed.metric("task_duration_seconds_count", task=f"{PROBES}.succeed") == 2
    assert await observed.metric("outbox_published_total", kind="task") == 2
    assert await observed.metric("build_info", version="7.7.7") == 1

    async def measured() -> bool:
        return await observed.metric("queue_depth", queue="main-queue") == 0 and await observed.metric("outbox_backlog_age_seconds") == 0

    await until(measured)

    await promised.promise("fail")
    await until(promised.parked)
    await until(lambda: len(observed.ingest.events) >= 2)
    report = observed.ingest.events[0]
    assert report["exception"]["values"][-1]["type"] == "ValueError"
    assert report["tags"]["task"] == f"{PROBES}.fail"
    assert report["tags"]["service"] == "worker"
    assert report["tags"]["request_id"] == "r-1"
    token = context.request_id.set("r-1")
    assert report["contexts"]["trace"]["trace_id"] == context.trace_id()
    context.request_id.reset(token)
