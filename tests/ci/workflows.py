"""The workflows and the Makefile, read as data."""

import re
import shlex
from collections.abc import Iterator
from typing import Any, NamedTuple, cast

import yaml

from tests.charts.helm import REPOSITORY

FOLDER = REPOSITORY / ".github" / "workflows"
MAKEFILE = REPOSITORY / "Makefile"
NAMES = ("ci", "staging")

type Job = dict[str, Any]


class Step(NamedTuple):
    """A step of a job."""

    workflow: str
    job: str
    body: dict[str, Any]

    @property
    def targets(self) -> list[str]:
        """The targets of the Makefile that it calls."""
        return [words[1] for words in commands(self.body.get("run", "")) if words[0] == "make"]


def text(name: str) -> str:
    """Return a workflow as it is written."""
    return (FOLDER / f"{name}.yml").read_text(encoding="utf-8")


def workflow(name: str) -> dict[str, Any]:
    """Return a workflow; its triggers under ``on``, which YAML 1.1 takes for a truth value."""
    read: dict[Any, Any] = yaml.safe_load(text(name))
    return {"on" if key is True else key: value for key, value in read.items()}


def jobs(name: str) -> dict[str, Job]:
    """Return the jobs of a workflow, in their order."""
    return cast("dict[str, Job]", workflow(name)["jobs"])


def steps(*names: str) -> Iterator[Step]:
    """Yield the steps of workflows; of all unless some are named."""
    for name in names or NAMES:
        for job, body in jobs(name).items():
            for step in body.get("steps", ()):
                yield Step(name, job, step)


def commands(script: str) -> list[list[str]]:
    """Return the commands of a script as words, without where their output goes."""
    found: list[list[str]] = []
    for line in filter(None, map(str.strip, script.splitlines())):
        lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        words: list[str] = []
        for word in lexer:
            if word in {"&&", "||", ";", "|"}:
                found.append(words)
                words = []
            else:
                words.append(word)
        found.append(words)
    return found


def targets() -> dict[str, str]:
    """Return the targets of the Makefile that have a description, with their recipes."""
    found: dict[str, str] = {}
    for match in re.finditer(
        r"^(?P<name>[a-z0-9-]+):[^=\n]*## .*\n(?P<recipe>(?:\t.*\n)*)", MAKEFILE.read_text(encoding="utf-8"), re.MULTILINE
    ):
        found[match["name"]] = match["recipe"]
    return found


def expressions(name: str, context: str) -> set[str]:
    """Return what a workflow takes from a context: ``vars`` or ``secrets``."""
    return set(re.findall(rf"\b{context}\.([A-Za-z_][A-Za-z0-9_]*)", text(name)))
