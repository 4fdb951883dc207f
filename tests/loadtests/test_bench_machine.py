"""What processes have spent, as the benchmark counts it."""

import os
import subprocess
import sys
from time import monotonic, process_time, sleep

import pytest

from loadtests.bench.machine import OtherWork, cpu_seconds, describe, pinned, places, resident_mib

BURN = "import time\nwhile time.process_time() < 0.3: pass"
#: A parent that lets a child burn, waits for it, says so and stays.
PARENT = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {BURN!r}])\nprint('over', flush=True)\nsys.stdin.read()"


@pytest.fixture
def parent() -> "subprocess.Popen[bytes]":
    return subprocess.Popen([sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def test_what_a_child_spent_still_counts_when_it_is_gone(parent: "subprocess.Popen[bytes]") -> None:
    assert parent.stdout is not None
    assert parent.stdout.readline() == b"over\n"
    spent = cpu_seconds(parent.pid)
    parent.communicate()
    assert spent >= 0.3


def test_what_a_child_spends_counts_while_it_runs(parent: "subprocess.Popen[bytes]") -> None:
    deadline = monotonic() + 60
    while (spent := cpu_seconds(parent.pid)) < 0.15 and monotonic() < deadline:
        sleep(0.02)
    parent.communicate()
    assert spent >= 0.15


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux pins processes; runs there")
def test_processes_started_in_the_block_stay_on_its_processors() -> None:
    before = os.sched_getaffinity(0)
    server, other = places()
    with pinned(server):
        shown = subprocess.run([sys.executable, "-c", "import os; print(os.sched_getaffinity(0))"], capture_output=True, check=True)
    assert shown.stdout.decode().strip() == str(server)
    assert os.sched_getaffinity(0) == before
    assert server | other == before


def test_what_this_process_and_its_children_do_is_no_other_work() -> None:
    other_work, before = OtherWork(), cpu_seconds(os.getpid())
    started, deadline = monotonic(), process_time() + 0.5
    while process_time() < deadline:
        pass
    subprocess.run([sys.executable, "-c", BURN], check=True)
    own = (cpu_seconds(os.getpid()) - before) / (monotonic() - started)
    assert own > 0
    # All processors together cannot have done more.
    assert 0 <= other_work.processors() <= (os.cpu_count() or 1) - own + 0.2


def test_the_machine_is_described() -> None:
    machine = describe()
    assert machine.cores == os.cpu_count()
    assert machine.memory_gib > 0
    assert resident_mib(os.getpid()) > 1
