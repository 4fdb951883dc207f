"""Starts the processes that send, and follows them."""

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final

from app.local.servers.ports import free_port
from loadtests.gate.outcome import GateError
from loadtests.gate.plan import Plan
from loadtests.gate.recorder import Recorder

REPOSITORY: Final = Path(__file__).parents[2]
LAST_CHARACTERS: Final = 2000

type Progress = Callable[[dict[str, Any]], None]


def parts_of(plan: Plan, superusers: Sequence[Any]) -> list[Plan]:
    """Cut a plan into one for each superuser's session: people and users shared out, arrivals of all adding up to the plan's."""
    share = len(superusers)
    return [
        replace(plan, share=share, number=number, people=plan.people[number::share], users=-(-plan.users // share), superuser=superuser)
        for number, superuser in enumerate(superusers)
    ]


def send(plans: Sequence[Plan], folder: Path, progress: Progress, *, bind: str | None = None, spawn: bool = True) -> Recorder:
    """Send the load and return what it saw.

    Args:
        plans: One for each process that sends.
        folder: For plan, result and logs.
        progress: Told how far it is.
        bind: Address and port (``0.0.0.0:5557``) at which workers join, ``None`` for loopback and any port.
        spawn: Start the workers here; else they come from elsewhere.

    Raises:
        GateError: if a process fails, with the end of its log.
    """
    plan_file, result_file, log_file = (folder / name for name in ("plan.json", "result.raw.json", "drive.log"))
    plan_file.write_text(json.dumps([asdict(plan) for plan in plans]))
    result_file.unlink(missing_ok=True)
    command = [sys.executable, "-m", "loadtests.gate.drive", str(plan_file), str(result_file)]
    workers: list[subprocess.Popen[bytes]] = []
    if len(plans) > 1 or not spawn:
        host, _, port = (bind or f"127.0.0.1:{free_port()}").rpartition(":")
        command += [host, port]
        if spawn:
            workers = [_worker(folder, host, port, number) for number in range(len(plans))]
    try:
        with log_file.open("w") as log, subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=log, text=True) as driver:
            try:
                assert driver.stdout is not None  # noqa: S101  # it is a pipe
                for line in driver.stdout:
                    progress(json.loads(line))
            except BaseException:
                driver.terminate()
                raise
    finally:
        for worker in workers:
            worker.terminate()
            worker.wait()
        plan_file.unlink()  # it holds tokens
    if driver.returncode != 0 or not result_file.exists():
        raise GateError(f"The process that sends ended with {driver.returncode}:\n{log_file.read_text()[-LAST_CHARACTERS:]}")
    return Recorder().absorb(json.loads(result_file.read_text()))


def _worker(folder: Path, host: str, port: str, number: int) -> subprocess.Popen[bytes]:
    joined = "127.0.0.1" if host in {"0.0.0.0", "*", ""} else host  # noqa: S104  # compared, not bound
    address = ("--master-host", joined, "--master-port", port)
    command = (sys.executable, "-m", "locust", "-f", "loadtests/locustfile.py", "--worker", *address)
    with (folder / f"worker-{number}.log").open("wb") as log:
        return subprocess.Popen(command, cwd=REPOSITORY, stdout=log, stderr=log)
