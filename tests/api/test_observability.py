"""What an operator sees of the service as it ships: its log and its metrics, over several processes."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from app.local.servers.ports import free_ports
from tests.worker import WorkerDatabase

PASSWORD = "correct horse battery staple"
EMAIL = "grace.hopper@example.com"
START_SECONDS = 30
#: Requests of `walk`.
STEPS = 14

pytestmark = pytest.mark.usefixtures("empty_tables", "valkey")


@dataclass
class Service:
    """The API under gunicorn with two workers."""

    process: subprocess.Popen[bytes]
    log: Path
    url: str
    metrics_url: str

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def workers(self) -> set[int]:
        """Process ids of the workers; the child that serves the metrics is none."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return {int(pid) for pid in children.split() if b"gunicorn" in Path(f"/proc/{pid}/cmdline").read_bytes()}

    async def metric(self, name: str, **labels: str) -> float:
        async with httpx.AsyncClient() as client:
            try:
                page = (await client.get(self.metrics_url)).text
            except httpx.TransportError:
                return 0  # its process has not begun to answer
        samples = [s for family in text_string_to_metric_families(page) for s in family.samples if s.name == name]
        return sum(s.value for s in samples if labels.items() <= s.labels.items())

    async def until(self, condition: Any) -> None:
        async with asyncio.timeout(START_SECONDS):
            while not await condition():
                assert self.process.poll() is None, self.log.read_text()
                await asyncio.sleep(0.05)


async def answers(url: str) -> bool:
    async with httpx.AsyncClient() as client:
        try:
            return (await client.get(url)).status_code == 200
        except httpx.TransportError:
            return False


def start(environment: dict[str, str], folder: Path, **variables: str) -> Service:
    port, metrics_port = free_ports(2)
    ports = {"PORT": str(port), "METRICS_PORT": str(metrics_port)} | variables
    log = folder / f"log-{port}"
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", "--config", "python:app.core.gunicorn", "app.main:create_app()"],
            env=environment | ports,
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    return Service(process, log, f"http://127.0.0.1:{port}", f"http://127.0.0.1:{ports['METRICS_PORT']}/metrics")


@pytest.fixture(scope="module")
async def service(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Service]:
    running = start(environment, tmp_path_factory.mktemp("service"), WEB_CONCURRENCY="2", VERSION="7.7.7")
    try:
        await running.until(lambda: answers(f"{running.url}/health/ready"))
        yield running
    finally:
        running.process.terminate()
        running.process.wait(START_SECONDS)


async def walk(url: str) -> list[str]:
    """Do what users do, rightly and wrongly; return everything that must not be in the log."""
    async with httpx.AsyncClient(base_url=f"{url}/api/v1", headers={"User-Agent": "secret-agent/1"}) as client:
        account = {"email": EMAIL, "password": PASSWORD}
        assert (await client.post("/users/", json=account)).status_code == 201
        assert (await client.post("/users/", json=account)).status_code == 409
        await client.post("/users/", json={"email": EMAIL, "password": "short"})
        await client.post("/users/", content=b'{"email": "' + EMAIL.encode())
        await client.post("/auth/login", data={"username": EMAIL, "password": "wrong " + PASSWORD})
        pair = (await client.post("/auth/login", data={"username": EMAIL, "password": PASSWORD})).json()
        bearer = {"Authorization": f"Bearer {pair['access_token']}", "X-Request-ID": "walk-0001"}
        assert (await client.get("/users/me", headers=bearer)).status_code == 200
        await client.get(f"/users/me?email={EMAIL}&password={PASSWORD}", headers=bearer)
        await client.get(f"/nobody/{EMAIL}", headers=bearer)
        renewed = (await client.post("/auth/refresh", json={"refresh_token": pair["refresh_token"]})).json()
        await client.post("/auth/refresh", json={"refresh_token": "forged-refresh-token"})
        await client.get("/users/me", headers={"Authorization": "Bearer forged.access.token", "Cookie": "session=cookie-value"})
        ticket = (await client.post("/ws/tickets", headers=bearer)).json()["ticket"]
        await client.get(f"/ws?ticket={ticket}")
    return [
        EMAIL,
        "grace.hopper",
        PASSWORD,
        pair["access_token"],
        pair["refresh_token"],
        renewed["access_token"],
        renewed["refresh_token"],
        "forged-refresh-token",
        "forged.access.token",
        "cookie-value",
        ticket,
        "secret-agent",
        "$argon2",
    ]


async def test_the_log_of_a_walk_has_every_request_and_no_secret(service: Service, environment: dict[str, str]) -> None:
    secrets = await walk(service.url)

    def walked() -> list[dict[str, Any]]:
        return [line for line in service.lines() if line["logger"] == "app.access" and not line["route"].startswith("/health")]

    await service.until(lambda: asyncio.to_thread(lambda: len(walked()) >= STEPS))
    requests, text = walked(), service.log.read_text()
    passwords = re.findall(r"://[^:/]*:([^@]+)@", " ".join((environment["DATABASE_URL"], environment["REDIS_URL"])))
    for secret in (*secrets, *passwords, environment["SECRET_KEY"], environment["S3_SECRET_ACCESS_KEY"]):
        assert secret not in text
    assert len(requests) == STEPS
    assert all(line["request_id"] for line in requests)
    [me, *_] = [line for line in requests if line["request_id"] == "walk-0001"]
    assert (me["method"], me["route"], me["status"]) == ("GET", "/api/v1/users/me", 200)
    assert isinstance(me["user_id"], int)


async def test_an_error_nobody_foresaw_is_logged_with_the_request_it_belongs_to(
    service: Service, superuser_connection: Any, postgres: WorkerDatabase
) -> None:
    await superuser_connection.execute("ALTER TABLE users RENAME TO users_away")
    try:
        async with httpx.AsyncClient(base_url=service.url) as client:
            form = {"username": EMAIL, "password": PASSWORD}
            answer = await client.post("/api/v1/auth/login", data=form, headers={"X-Request-ID": "broken-0001"})
    finally:
        await superuser_connection.execute("ALTER TABLE users_away RENAME TO users")
    assert answer.status_code == 500

    async def logged() -> bool:
        return any(line.get("request_id") == "broken-0001" and "exception" in line for line in service.lines())

    await service.until(logged)
    assert EMAIL not in service.log.read_text()


async def test_metrics_add_up_the_workers_and_outlive_them(service: Service) -> None:
    async with httpx.AsyncClient(limits=httpx.Limits(max_keepalive_connections=0)) as client:
        for _ in range(40):
            assert (await client.get(f"{service.url}/")).status_code == 200

    async def counted() -> bool:
        return await service.metric("http_requests_total", handler="/", method="GET", status="200") == 40

    await service.until(counted)
    assert await service.metric("http_request_duration_seconds_count", handler="/", method="GET") == 40
    assert await service.metric("build_info", version="7.7.7", environment="test") == 1
    assert await service.metric("database_pool_size", pool="autocommit") == 10
    before = service.workers()
    victim = min(before)
    os.kill(victim, signal.SIGKILL)

    async def replaced() -> bool:
        return len(after := service.workers()) == 2 and victim not in after and await service.metric("database_pool_size") == 20

    await service.until(replaced)
    assert await service.metric("http_requests_total", handler="/", method="GET", status="200") == 40


async def test_metrics_are_not_served_on_the_port_of_the_api(service: Service) -> None:
    async with httpx.AsyncClient() as client:
        assert (await client.get(f"{service.url}/metrics")).status_code == 404


def test_every_line_of_the_service_is_json_from_the_first_to_the_last(service: Service) -> None:
    service.process.terminate()
    assert service.process.wait(START_SECONDS) == 0
    lines = service.lines()
    assert all({"timestamp", "level", "logger", "event"} <= line.keys() for line in lines)
    assert lines[0]["event"].startswith("Starting gunicorn")
    assert lines[-1]["event"].startswith("Shutting down")
