import fcntl
import os
import re
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from importlib import import_module
from pathlib import Path

import pytest
from prometheus_client import REGISTRY
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.parser import text_string_to_metric_families

from app.core import metrics, metrics_directory, metrics_server
from app.core.config import Settings, get_settings
from app.core.metrics_directory import shared_environment
from app.core.metrics_server import MetricsServer, serve_metrics
from app.local.servers.ports import free_port

MASTER = """
import os, signal, sys, time
from app.core import metrics
from app.core.metrics_server import MetricsServer, serve_metrics
from app.local.servers.ports import free_port

def child():
    server.close()
    metrics.IN_FLIGHT.set(5)
    metrics.WEBSOCKETS.inc(3)
    with metrics.collecting("1.2.3", "test"):
        for _ in range(10):
            metrics.observe_request("/api/v1/items/{id}", "GET", 200, 0.004)
        metrics.observe_request("none", "BREW", 404, 20.0)
    metrics.TASKS.labels("send", "succeeded").inc()
    print(os.getpid(), flush=True)
    signal.pause()

server = MetricsServer("127.0.0.1", 0)
print(server.port, metrics.DIRECTORY, flush=True)
for line in sys.stdin:
    match line.split():
        case ["fork"]:
            if os.fork() == 0:
                child()
        case ["reap", pid]:
            os.waitpid(int(pid), 0)
            print("reaped", flush=True)
"""


class Master:
    """A process with a metrics server and children that count."""

    def __init__(self) -> None:
        environment = {**os.environ, "PYTHONPATH": str(Path.cwd()), "PYTHONWARNINGS": "ignore::DeprecationWarning"}
        self.process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(MASTER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
            start_new_session=True,
        )
        port, directory = self.answer().split()
        self.url = f"http://127.0.0.1:{port}/metrics"
        self.directory = Path(directory)

    def answer(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, "the master ended"
        return line.strip()

    def say(self, text: str) -> str:
        assert self.process.stdin is not None
        self.process.stdin.write(text + "\n")
        self.process.stdin.flush()
        return self.answer()

    def kill(self, pid: str) -> None:
        os.kill(int(pid), signal.SIGKILL)
        self.say(f"reap {pid}")

    def scrape(self) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
        with urllib.request.urlopen(self.url, timeout=10) as response:
            families = list(text_string_to_metric_families(response.read().decode()))
        return {(s.name, frozenset(s.labels.items())): s.value for family in families for s in family.samples}

    def value(self, name: str, **labels: str) -> float | None:
        return self.scrape().get((name, frozenset(labels.items())))

    def close(self) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait(10)
        self.process.stdout.close()
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)


@pytest.fixture
def master() -> Iterator[Master]:
    process = Master()
    yield process
    process.close()


def test_counts_of_two_processes_are_added_up(master: Master) -> None:
    pids = [master.say("fork"), master.say("fork")]
    assert master.value("http_requests_total", handler="/api/v1/items/{id}", method="GET", status="200") == 20
    assert master.value("http_request_duration_seconds_bucket", handler="/api/v1/items/{id}", method="GET", le="0.0025") == 0
    assert master.value("http_request_duration_seconds_bucket", handler="/api/v1/items/{id}", method="GET", le="0.005") == 20
    assert master.value("http_request_duration_seconds_sum", handler="/api/v1/items/{id}", method="GET") == pytest.approx(0.08)
    assert master.value("tasks_total", task="send", outcome="succeeded") == 2
    assert master.value("websocket_connections") == 6
    for pid in pids:
        master.kill(pid)


def test_a_killed_process_leaves_its_counts_and_takes_its_gauges_along(master: Master) -> None:
    first, second = master.say("fork"), master.say("fork")
    master.kill(first)
    assert master.value("websocket_connections") == 3
    assert master.value("tasks_total", task="send", outcome="succeeded") == 2
    assert master.value("http_request_duration_seconds_count", handler="/api/v1/items/{id}", method="GET") == 20
    master.kill(second)
    assert master.value("tasks_total", task="send", outcome="succeeded") == 2
    assert master.value("websocket_connections") in {None, 0}


def test_files_of_ended_processes_are_merged_into_one_per_kind(master: Master) -> None:
    for _ in range(3):
        master.kill(master.say("fork"))
        master.scrape()
    assert master.value("http_requests_total", handler="/api/v1/items/{id}", method="GET", status="200") == 30
    owners = {file.stem.rsplit("_", 1)[-1] for file in master.directory.glob("*.db")}
    assert owners == {"0", str(master.process.pid)}


def test_a_method_nobody_knows_is_counted_as_other(master: Master) -> None:
    pid = master.say("fork")
    assert master.value("http_requests_total", handler="none", method="OTHER", status="404") == 1
    assert master.value("http_request_duration_seconds_bucket", handler="none", method="OTHER", le="10.0") == 0
    assert master.value("http_request_duration_seconds_bucket", handler="none", method="OTHER", le="+Inf") == 1
    master.kill(pid)


def test_the_folder_goes_with_its_master() -> None:
    master = Master()
    assert master.directory.is_dir()
    master.close()
    assert not master.directory.exists()


def test_an_inherited_folder_of_another_service_is_not_used() -> None:
    code = "from app.core import metrics; print(metrics.DIRECTORY)"
    environment = {**os.environ, "PYTHONPATH": str(Path.cwd()), "PROMETHEUS_MULTIPROC_DIR": str(metrics.DIRECTORY)}
    own = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True).stdout.strip()
    assert own != str(metrics.DIRECTORY)


def test_a_child_that_is_told_counts_together_with_its_parent() -> None:
    code = "from app.core import metrics; print(metrics.DIRECTORY)"
    environment = {**os.environ, "PYTHONPATH": str(Path.cwd()), **shared_environment()}
    shared = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True).stdout.strip()
    assert shared == str(metrics.DIRECTORY)
    assert metrics.DIRECTORY.is_dir()


def test_the_folder_of_a_killed_master_is_swept_by_the_next(tmp_path: Path) -> None:
    code = "from app.core import metrics; import os, signal; print(metrics.DIRECTORY, flush=True); os.kill(os.getpid(), {signal})"
    environment = {**os.environ, "PYTHONPATH": str(Path.cwd()), "TMPDIR": str(tmp_path)}
    command = [sys.executable, "-c", code.format(signal="signal.SIGKILL")]
    left = Path(subprocess.run(command, env=environment, capture_output=True, text=True, check=False).stdout.strip())
    assert left.is_dir()
    subprocess.run([sys.executable, "-c", "import app.core.metrics"], env=environment, check=True)
    assert list(tmp_path.iterdir()) == []


def test_a_tally_carries_over_what_was_added_since() -> None:
    counter = metrics.EVENTS_DELIVERED.labels("test.tally")
    tally = metrics.tally(counter)
    tally.count += 2
    metrics.flush()
    tally.count += 1
    metrics.flush()
    metrics.flush()
    assert REGISTRY.get_sample_value("events_delivered_total", {"type": "test.tally"}) == 3


def test_a_sampled_gauge_follows_its_value() -> None:
    size = 4.0
    metrics.sample(metrics.POOL_SIZE.labels("test"), lambda: size)
    metrics.flush()
    assert REGISTRY.get_sample_value("database_pool_size", {"pool": "test"}) == 4
    size = 2.0
    metrics.flush()
    assert REGISTRY.get_sample_value("database_pool_size", {"pool": "test"}) == 2


def test_build_info_names_the_release() -> None:
    with metrics.collecting("9.9.9", "test"):
        version = f"{sys.version_info.major}.{sys.version_info.minor}.{sys.version_info.micro}"
        assert REGISTRY.get_sample_value("build_info", {"version": "9.9.9", "environment": "test", "python": version}) == 1


def test_the_server_adds_children_that_counted_and_ended() -> None:
    code = "from app.core import metrics; metrics.EMAIL_REPEATS.inc(2); metrics.QUEUE_DEPTH.labels('gone').set(4)"
    environment = {**os.environ, "PYTHONPATH": str(Path.cwd()), **shared_environment()}
    before = REGISTRY.get_sample_value("email_repeats_total") or 0.0
    server = MetricsServer("127.0.0.1", 0)
    try:
        for run in (1, 2):
            subprocess.run([sys.executable, "-c", code], env=environment, check=True)
            with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/metrics", timeout=10) as response:
                page = response.read().decode()
            assert response.headers["Content-Type"].startswith("text/plain")
            assert f"\nemail_repeats_total {before + 2 * run}\n" in page
            assert 'queue="gone"' not in page
    finally:
        server.close()


def test_a_taken_port_is_an_error_at_once() -> None:
    server = MetricsServer("127.0.0.1", 0)
    try:
        with pytest.raises(OSError, match="in use"):
            MetricsServer("127.0.0.1", server.port)
    finally:
        server.close()


def test_a_service_whose_metrics_port_is_taken_says_so_and_goes_on(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics_server, "BIND_SECONDS", 0)
    server = MetricsServer("127.0.0.1", 0)
    try:
        settings = Settings.model_validate({"DATABASE_URL": "postgresql://a@127.0.0.1/x", "METRICS_PORT": server.port})
        assert serve_metrics(settings) is None
    finally:
        server.close()
    assert f"metrics are not served: 127.0.0.1:{settings.METRICS_PORT}" in caplog.text


def test_port_0_switches_the_metrics_off() -> None:
    assert serve_metrics(Settings.model_validate({"DATABASE_URL": "postgresql://a@127.0.0.1/x", "METRICS_PORT": 0})) is None


def test_every_metric_is_counted_somewhere() -> None:
    root = Path(__file__).parents[2] / "app"
    text = "\n".join(path.read_text() for path in root.rglob("*.py"))
    names = [name for name, value in vars(metrics).items() if isinstance(value, MetricWrapperBase)]
    assert [name for name in names if len(re.findall(rf"\b{name}\b", text)) < 2] == []


def test_requests_are_sorted_into_buckets_and_added_up() -> None:
    labels = {"handler": "/test", "method": "GET"}
    for seconds in (0.001, 0.004, 99.0):
        metrics.observe_request("/test", "GET", 204, seconds)
    metrics.flush()
    metrics.observe_request("/test", "GET", 204, 0.0025)
    metrics.flush()
    value = REGISTRY.get_sample_value
    assert value("http_requests_total", labels | {"status": "204"}) == 4
    assert value("http_request_duration_seconds_bucket", labels | {"le": "0.0025"}) == 2
    assert value("http_request_duration_seconds_bucket", labels | {"le": "10.0"}) == 3
    assert value("http_request_duration_seconds_count", labels) == 4
    assert value("http_request_duration_seconds_sum", labels) == pytest.approx(99.0075)


def test_methods_that_nobody_defined_do_not_multiply_the_series() -> None:
    for method in ("BREW", "PROPFIND"):
        metrics.observe_request("/test-other", method, 405, 0.001)
    metrics.flush()
    assert REGISTRY.get_sample_value("http_requests_total", {"handler": "/test-other", "method": "OTHER", "status": "405"}) == 2


def test_folders_of_masters_that_are_gone_are_swept_and_others_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(metrics.DIRECTORY))
    for name in ("platform-metrics-gone", "platform-metrics-held", "platform-metrics-strange"):
        (tmp_path / name).mkdir()
    (tmp_path / "platform-metrics-gone" / "lock").touch()
    with (tmp_path / "platform-metrics-held" / "lock").open("wb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        made = metrics_directory.open_directory()
    assert {path.name for path in tmp_path.iterdir()} == {made.name, "platform-metrics-held", "platform-metrics-strange"}
    assert metrics_directory.shared_environment() == {"SHARED_METRICS_DIR": str(made)}
    monkeypatch.setenv("SHARED_METRICS_DIR", str(tmp_path / "platform-metrics-held"))
    assert metrics_directory.open_directory() == tmp_path / "platform-metrics-held"


def _answer(url: str) -> int:
    """Return the status once somebody answers."""
    deadline = time.monotonic() + 30
    while True:
        try:
            with urllib.request.urlopen(url, timeout=10) as response:
                status: int = response.status
                return status
        except urllib.error.URLError:
            assert time.monotonic() < deadline
            time.sleep(0.1)


def test_gunicorns_master_has_a_process_that_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://a@127.0.0.1/x")
    monkeypatch.setenv("METRICS_PORT", str(free_port()))
    monkeypatch.delitem(sys.modules, "app.core.gunicorn", raising=False)
    get_settings.cache_clear()
    config = import_module("app.core.gunicorn")
    del sys.modules["app.core.gunicorn"]  # it read the settings of this test
    config.when_ready(None)
    url = f"http://127.0.0.1:{get_settings().METRICS_PORT}/metrics"
    assert _answer(url) == 200
    config.on_exit(None)
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(url, timeout=10)
    get_settings.cache_clear()
