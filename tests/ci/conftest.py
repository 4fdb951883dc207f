"""Programs that a release calls, played by a script that notes what it was asked and answers what a test says."""

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPT = """#!{python}
import json, pathlib, sys
folder = pathlib.Path({folder!r})
words = [{name!r}, *sys.argv[1:]]
given = sys.stdin.read() if "--password-stdin" in words else ""
with (folder / "calls").open("a") as calls:
    calls.write(json.dumps([words, given]) + "\\n")
answers = json.loads((folder / "answers").read_text())
asked = " ".join(words)
at = max((start for start in answers if asked.startswith(start) or start in asked), key=len, default=None)
status, out, err = answers[at].pop(0) if len(answers.get(at, [])) > 1 else answers.get(at, [[0, "", ""]])[0]
(folder / "answers").write_text(json.dumps(answers))
sys.stdout.write(out)
sys.stderr.write(err)
sys.exit(status)
"""


class Programs:
    """The programs on the PATH of a test."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._answers: dict[str, list[tuple[int, str, str]]] = {}
        (folder / "calls").touch()
        self._write()

    def _write(self) -> None:
        (self._folder / "answers").write_text(json.dumps(self._answers))

    def answer(self, asked: str, out: str = "", err: str = "", status: int = 0) -> None:
        """Let calls that contain some words be answered so; several answers to the same words are given one after the other."""
        self._answers.setdefault(asked, []).append((status, out, err))
        self._write()

    @property
    def calls(self) -> list[str]:
        """What was called, in order."""
        return [" ".join(words) for words, _ in self._noted()]

    @property
    def given(self) -> list[str]:
        """What was handed to standard input."""
        return [given for _, given in self._noted() if given]

    def _noted(self) -> list[tuple[list[str], str]]:
        noted: list[Any] = [json.loads(line) for line in (self._folder / "calls").read_text().splitlines()]
        return [(words, given) for words, given in noted]


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Programs:
    """helm, aws and docker, which only note what they were asked."""
    folder = tmp_path / "programs"
    folder.mkdir()
    for name in ("helm", "aws", "docker"):
        (folder / name).write_text(SCRIPT.format(python=sys.executable, folder=str(folder), name=name))
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return Programs(folder)
