"""`make compare` and `make gate`: a run that tells nothing is repeated once, and nothing but a pass passes."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.charts.helm import REPOSITORY

SCRIPT = """#!/bin/sh
echo "$*" >>'{folder}/calls'
status=$(head -n 1 '{folder}/statuses')
sed -i 1d '{folder}/statuses'
exit "$status"
"""


@pytest.fixture
def python(tmp_path: Path) -> Path:
    """A folder with a python that notes its words and ends as the file `statuses` says."""
    (tmp_path / "python").write_text(SCRIPT.format(folder=tmp_path))
    (tmp_path / "python").chmod(0o755)
    return tmp_path


def make(python: Path, target: str, *statuses: int, **environment: str) -> tuple[bool, list[str]]:
    """Make a target of which each run ends with the next status; return whether it passed, and the runs."""
    (python / "statuses").write_text("".join(f"{status}\n" for status in statuses))
    program = shutil.which("make")
    assert program is not None
    command = [program, "--old-file=environment", target, f"PYTHON_ENV={python}"]
    done = subprocess.run(command, cwd=REPOSITORY, env=os.environ | environment, capture_output=True, text=True, check=False)
    return done.returncode == 0, (python / "calls").read_text().splitlines()


@pytest.mark.parametrize(
    ("statuses", "runs"), [((0,), 1), ((1, 0), 1), ((3, 0), 1), ((4, 0), 1), ((2, 0), 2), ((2, 1, 0), 2), ((2, 2, 0), 2)]
)
def test_only_a_pass_passes_and_only_a_run_that_tells_nothing_is_repeated(python: Path, statuses: tuple[int, ...], runs: int) -> None:
    ended, calls = make(python, "compare", *statuses, BASE="main")
    assert ended == (statuses[runs - 1] == 0)
    assert calls == ["-m loadtests compare --base main"] * runs


def test_the_gate_sends_the_profile_of_staging_to_the_host(python: Path) -> None:
    ended, calls = make(python, "gate", 2, 0, HOST="https://api.staging.example.com", WORKERS="4")
    assert ended
    assert calls == ["-m loadtests run --profile staging --host https://api.staging.example.com --workers 4"] * 2


def test_a_base_is_a_word_and_no_command(python: Path, tmp_path: Path) -> None:
    ended, calls = make(python, "compare", 1, BASE=f'"; touch {tmp_path}/made; "')
    assert not ended
    assert not (tmp_path / "made").exists()
    assert calls == [f'-m loadtests compare --base "; touch {tmp_path}/made; "']
