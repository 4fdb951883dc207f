"""Whose life is rehearsed: a program, what is planned to be changed in it later, and what the engine must make of each change."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any, Final
from unittest import mock

import pulumi

from infra import program
from infra.components.registry import Registry, RegistryArgs
from infra.config import load
from tests.infra import stages
from tests.infra.rehearsal.engine import Program
from tests.infra.rehearsal.sample import Sample

#: What may happen to which resource, by type and name; `*` stands for any part of a name. Anything else is a fault.
type Expected = dict[str, set[str]]

#: One resource in the place of another, the new one first.
REPLACED: Final = {"replace", "create-replacement", "delete-replaced"}
SAMPLE: Final = "sample"


@dataclass(frozen=True, slots=True)
class Change:
    """A planned change.

    Args:
        name: What people call it.
        program: The program after it, and after those before it.
        expected: What the engine may do, and nothing else.
        first: What has to be changed before the rest, by type and name, with `pulumi up --target`.
    """

    name: str
    program: Program
    expected: Expected
    first: str | None = None


@dataclass(frozen=True, slots=True)
class Subject:
    """A program and its planned changes, one after the other.

    Args:
        name: Of its stack.
        program: Makes it.
        changes: What comes later.
        mistakes: Programs that would replace what is protected, by what people would call them.
    """

    name: str
    program: Program
    changes: tuple[Change, ...]
    mistakes: dict[str, Program]

    @property
    def last(self) -> Program:
        """The program after every change."""
        return self.changes[-1].program


def subject(name: str) -> Subject:
    """Return the subject of a name: a stage, or the small program that the stand-in is tried with."""
    return _sample() if name == SAMPLE else _stage(name)


def _stage(name: str) -> Subject:
    raw = stages.raw(name)
    first, changes = _program(raw), list[Change]()
    for what, edit, expected, before in EDITS:
        edit(raw)
        changes.append(Change(what, _program(raw), expected, before))
    changes.append(Change("a component with another name and its alias", _program(raw, renamed=True), {}))
    mistaken = deepcopy(raw)
    mistaken["cluster"]["serviceCidr"] = "172.21.0.0/16"
    return Subject(name, first, tuple(changes), {"other addresses of Kubernetes Services": _program(mistaken, renamed=True)})


def _program(raw: dict[str, Any], *, renamed: bool = False) -> Program:
    """Return the program of a stage. Its configuration passes the rules as any other."""
    config = load(deepcopy(raw), stages.TODAY)

    def run() -> None:
        if renamed:
            with _renamed():
                program.deploy(config)
        else:
            program.deploy(config)

    return run


@contextmanager
def _renamed() -> Generator[None]:
    """Call a component otherwise, as a change of the program would, and say what it was called."""

    def registry(name: str, args: RegistryArgs, opts: pulumi.ResourceOptions | None = None) -> Registry:
        alias = pulumi.ResourceOptions(aliases=[pulumi.Alias(name=name)])
        return Registry("images", args, pulumi.ResourceOptions.merge(opts, alias))

    with mock.patch.object(program, "Registry", registry):
        yield


def _minor(raw: dict[str, Any]) -> None:
    major, minor = raw["database"]["engineVersion"].split(".")
    raw["database"]["engineVersion"] = f"{major}.{int(minor) + 1}"


def _node_class(raw: dict[str, Any]) -> None:
    raw["cluster"]["nodeType"] = "m7i.2xlarge"


def _replica(raw: dict[str, Any]) -> None:
    raw["database"]["replicas"] = raw["database"].get("replicas", 0) + 1


#: What a read replica brings along, and what the first one needs: RDS makes none while it manages the administrator's password.
REPLICA: Final[Expected] = {
    "aws:rds/instance:Instance replica-*": {"create"},
    "aws:cloudwatch/logGroup:LogGroup replica-*": {"create"},
    "aws:cloudwatch/metricAlarm:MetricAlarm *replica-*": {"create"},
}

FIRST_REPLICA: Final[Expected] = {
    **REPLICA,
    "aws:rds/instance:Instance database": {"update"},
    "aws:secretsmanager/secret:Secret administrator": {"create"},
    "aws:secretsmanager/secretVersion:SecretVersion administrator": {"create"},
    "random:index/randomPassword:RandomPassword administrator-password-1": {"create"},
}

EDITS: Final[tuple[tuple[str, Callable[[dict[str, Any]], None], Expected, str | None], ...]] = (
    ("a read replica of the database", _replica, FIRST_REPLICA, None),
    (
        "the database's next minor version",
        _minor,
        {"aws:rds/instance:Instance database": {"update"}, "aws:rds/instance:Instance replica-*": {"update"}},
        "aws:rds/instance:Instance replica-*",  # RDS refuses to upgrade a database before its replicas
    ),
    ("another class of nodes", _node_class, {"aws:eks/nodeGroup:NodeGroup system": REPLACED}, None),
    ("a second read replica", _replica, REPLICA, None),
)


def _sample() -> Subject:
    first = Sample()
    newer = replace(first, engine_version="16.10")
    renamed = replace(newer, component="store", alias="data")
    changes = (
        Change("the database's next minor version", newer, {"aws:rds/instance:Instance database": {"update"}}),
        Change("a component with another name and its alias", renamed, {}),
    )
    return Subject(SAMPLE, first, changes, {"another administrator of the database": replace(renamed, username="admin")})
