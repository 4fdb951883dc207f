"""A process as a pod runs it: the first one, as a user that has no name, with nothing to write but a folder for temporary files."""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import psutil

from tests.servers import REPOSITORY

USER = "10001"
#: Each step of its own, because none of them may fail unnoticed.
ENTER = 'mount -o remount,bind,ro / && mount -t tmpfs -o mode=1777 none "$TMPDIR" && exec setpriv {drop} "$@"'
DROP = "--bounding-set=-all --inh-caps=-all --ambient-caps=-all --no-new-privs"
NAMESPACES = ("--user", f"--map-user={USER}", f"--map-group={USER}", "--keep-caps", "--mount", "--pid", "--mount-proc")
UNSHARE = ("unshare", *NAMESPACES, "--fork", "--kill-child", "sh", "-c", ENTER.format(drop=DROP), "sh")


@lru_cache(maxsize=1)
def is_possible() -> bool:
    """Say whether this machine lets us make namespaces."""
    folder = {"TMPDIR": "/mnt"}
    try:
        return subprocess.run([*UNSHARE, "true"], env=os.environ | folder, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


@dataclass
class Pod:
    """A container that runs."""

    outside: subprocess.Popen[bytes]
    log: Path

    @property
    def output(self) -> str:
        return self.log.read_text()

    @property
    def first(self) -> psutil.Process:
        """Its first process."""
        (first,) = psutil.Process(self.outside.pid).children()
        return first

    def file(self, name: str) -> Path:
        """Return where a file of its temporary folder is, seen from outside."""
        return Path(f"/proc/{self.first.pid}/root{self.log.parent / 'tmp' / name}")

    def stop(self) -> None:
        """Send the signal that Kubernetes sends."""
        self.first.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once, with everything in it."""
        self.outside.kill()
        self.outside.wait()


def start_pod(folder: Path, environment: dict[str, str], arguments: Sequence[str]) -> Pod:
    """Start a module of Python, with its arguments, as the first process of a container."""
    temporary = folder / "tmp"
    temporary.mkdir(parents=True)
    variables = {name: value for name, value in environment.items() if not name.startswith("COVERAGE_")}  # it would want to write
    variables |= {"HOME": str(temporary), "TMPDIR": str(temporary)}
    log = folder / "log"
    with log.open("wb") as output:
        command = [*UNSHARE, sys.executable, "-m", *arguments]
        outside = subprocess.Popen(command, cwd=REPOSITORY, env=variables, stdout=output, stderr=subprocess.STDOUT)
    return Pod(outside, log)
