"""Make ``.venv`` and install a locked requirements file into it, showing how far it is.

Runs before anything is installed, so it uses nothing but the standard library. ``bootstrap.sh`` calls it.
"""

import fcntl
import hashlib
import json
import os
import re
import subprocess
import sys
import time
import venv
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
ENVIRONMENT = REPOSITORY / ".venv"
STAMP = ENVIRONMENT / "installed.json"
LOG = ENVIRONMENT / "install.log"
# Installing one of these brings everything of those it names.
INCLUDES = {"dev.txt": ("dev.txt", "local.txt", "runtime.txt"), "local.txt": ("local.txt", "runtime.txt")}
REQUIREMENT = re.compile(r"^[A-Za-z0-9][\w.-]*==", re.MULTILINE)
# A log gets one line of progress for so many packages; a terminal gets them all, one over the other.
STEP = 25
# Where pip reads or puts packages is the user's business; that they go into this environment is ours.
MISPLACING = ("PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PIP_USER", "PIP_REQUIREMENT", "PYTHONHOME", "PYTHONPATH")


class InstallError(Exception):
    """Something that the user has to mend; the message says what and how."""


def say(text: str, *, end: str = "\n") -> None:
    """Show progress; on a terminal a line that ends in a carriage return is written over by the next."""
    if end == "\r" and not sys.stderr.isatty():
        return
    sys.stderr.write(f"\r\x1b[K{text}{end}" if sys.stderr.isatty() else f"{text}{end}")
    sys.stderr.flush()


@contextmanager
def alone() -> Generator[None]:
    """Wait until no other process installs into the environment."""
    lock = REPOSITORY / ".venv.lock"
    with lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("Another command is installing; waiting for it ...")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def digest(requirements: Path) -> str:
    """Name what is to be installed, and for which Python."""
    return hashlib.sha256(requirements.read_bytes()).hexdigest() + f"-{sys.version_info[0]}.{sys.version_info[1]}"


def installed() -> dict[str, str]:
    """Return the digest of each requirements file that was installed to its end."""
    try:
        stamps: dict[str, str] = json.loads(STAMP.read_text())
    except (OSError, ValueError):
        return {}
    return stamps


def interpreter() -> Path:
    """Return the environment's Python."""
    return ENVIRONMENT / "bin" / "python"


def usable() -> bool:
    """Tell whether the environment's Python runs and is the release we were started with."""
    check = f"import sys; sys.exit(sys.version_info[:2] != {sys.version_info[:2]})"
    try:
        return subprocess.run([interpreter(), "-I", "-c", check], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def make_environment() -> None:
    """Make the environment unless there is one with pip in it."""
    if not usable():
        say(f"Making the virtual environment .venv with Python {sys.version.split()[0]} ...")
        STAMP.unlink(missing_ok=True)
        try:
            venv.create(ENVIRONMENT, clear=ENVIRONMENT.exists(), symlinks=True, with_pip=True)
        except (OSError, subprocess.CalledProcessError) as error:
            raise InstallError(f"The virtual environment {ENVIRONMENT} cannot be made: {error}") from error
    elif subprocess.run([interpreter(), "-I", "-m", "pip", "--version"], capture_output=True, check=False).returncode != 0:
        subprocess.run([interpreter(), "-I", "-m", "ensurepip"], capture_output=True, check=False)


def install(requirements: Path) -> None:
    """Run pip, following what it says to show how far it is."""
    total = len(REQUIREMENT.findall(requirements.read_text()))
    command = [str(interpreter()), "-I", "-m", "pip", "install", "--require-hashes", "--progress-bar=off", "--disable-pip-version-check"]
    environment = {name: value for name, value in os.environ.items() if name not in MISPLACING}
    began = time.monotonic()
    with (
        LOG.open("w") as log,
        subprocess.Popen(
            [*command, "--requirement", str(requirements)],
            env=environment,
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        ) as pip,
    ):
        say(f"Installing {total} packages from {requirements.relative_to(REPOSITORY)} ...")
        follow(pip, log.write, total)
    if pip.returncode != 0:
        raise InstallError(explain(LOG.read_text()))
    say(f"Installed in {time.monotonic() - began:.0f} s.")


def follow(pip: "subprocess.Popen[str]", record: Callable[[str], object], total: int) -> None:
    """Record pip's output, and turn it into a line of progress."""
    count = 0
    for line in pip.stdout or ():
        record(line)
        if line.startswith(("Collecting ", "Requirement already satisfied: ")):
            count += 1
            name = re.split(r"[ =<>!~;\[]", line.removeprefix("Requirement already satisfied: ").removeprefix("Collecting "))[0]
            milestone = count % STEP == 0 and not sys.stderr.isatty()
            say(f"  {min(count, total):3d} of {total}  {name}", end="\n" if milestone else "\r")
        elif line.startswith("Installing collected packages"):
            say("  all fetched, unpacking ...")


def explain(log: str) -> str:
    """Say why pip failed and what helps."""
    errors = [line for line in log.splitlines() if re.match(r"(ERROR|error):?", line.strip())] or log.splitlines()[-5:]
    if "DO NOT MATCH THE HASHES" in log:
        remedy = (
            "A package differs from the one that was locked. Try again with PIP_NO_CACHE_DIR=1; if it stays, the index serves another file."
        )
    elif re.search(r"NewConnectionError|Name or service not known|Temporary failure|ConnectTimeout|ProxyError|Network is unreachable", log):
        remedy = "The package index cannot be reached. Check the network, and pip's settings for a proxy or mirror (pip config list)."
    elif "CERTIFICATE_VERIFY_FAILED" in log:
        remedy = "The package index's certificate is not trusted here. Give pip the certificate of your network: PIP_CERT=/path/to/ca.pem."
    elif "No space left on device" in log:
        remedy = "The disk is full; about 700 MB are needed."
    elif "No matching distribution" in log:
        remedy = "The index has no build of that package for this Python and machine. Try another with PYTHON=/path/to/python3.13."
    else:
        remedy = "The whole output is in the log."
    return "\n".join(["Installing failed:", *(f"  {line.strip()}" for line in errors[:5]), remedy, f"Log: {LOG}"])


def main() -> int:
    """Read the command line."""
    requirements = REPOSITORY / sys.argv[1]
    if not requirements.is_file():
        say(f"{requirements} does not exist; `make lock` writes it.")
        return 1
    if installed().get(requirements.name) == digest(requirements) and usable():
        return 0
    try:
        with alone():
            if installed().get(requirements.name) != digest(requirements) or not usable():
                make_environment()
                install(requirements)
                included = INCLUDES.get(requirements.name, (requirements.name,))
                stamps = {name: digest(requirements.with_name(name)) for name in included}
                STAMP.write_text(json.dumps(installed() | stamps))
    except InstallError as error:
        say(str(error))
        return 1
    except KeyboardInterrupt:
        say("Stopped; run the same command again to go on.")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
