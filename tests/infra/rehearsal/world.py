"""What exists: the memory of the stand-in, and the order in which everything was made, changed and unmade."""

import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final, Protocol

from tests.infra.rehearsal import requirements
from tests.infra.rehearsal.kinds import FACTS, kind
from tests.infra.rehearsal.values import UNKNOWN, Values, plain, strings

REFERENCES: Final[dict[str, list[str]]] = FACTS["references"]
#: What AWS has without anybody making it.
FOREIGN: Final = re.compile(r"^default\.|^alias/aws/|^arn:aws:iam::aws:|:role/aws-service-role/")
#: AWS refuses to delete these while something refers to them.
HELD: Final = (
    "aws:ec2/vpc:Vpc", "aws:ec2/subnet:Subnet", "aws:ec2/securityGroup:SecurityGroup", "aws:ec2/routeTable:RouteTable",
    "aws:iam/role:Role", "aws:rds/subnetGroup:SubnetGroup", "aws:rds/parameterGroup:ParameterGroup",
    "aws:elasticache/subnetGroup:SubnetGroup", "aws:elasticache/parameterGroup:ParameterGroup", "aws:elasticache/userGroup:UserGroup",
    "aws:elasticache/user:User", "aws:eks/cluster:Cluster", "aws:ec2/eip:Eip", "aws:route53/zone:Zone",
)  # fmt: skip


class Refused(Exception):  # noqa: N818  # an answer, not an accident
    """AWS would refuse this call."""


@dataclass
class Thing:
    """A resource that exists.

    Args:
        urn: Whose it is in the program.
        token: Its type.
        id: Its id.
        inputs: As the engine gave them, secrets marked.
        outputs: All its properties, secrets marked.
        references: Ids of what it refers to.
    """

    urn: str
    token: str
    id: str
    inputs: Values
    outputs: Values
    references: set[str] = field(default_factory=set[str])

    @cached_property
    def names(self) -> set[str]:
        """What others may call it: its id, its name, and whatever text AWS added, such as its ARN."""
        named = kind(self.token).name
        name: set[str] = {plain(self.outputs[named])} if named and named in self.outputs else set()
        return {text for _, text in strings(plain(self.outputs))} - {text for _, text in strings(plain(self.inputs))} | {self.id} | name


@dataclass(frozen=True, slots=True)
class Step:
    """Something that was done: ``create``, ``update`` or ``delete``, and to what."""

    action: str
    urn: str
    id: str


class Maker(Protocol):
    """Makes and deletes a resource somewhere else."""

    def make(self, urn: str, token: str, inputs: Values) -> tuple[str, Values]:
        """Make it, and return its id and what AWS adds to its inputs."""
        ...

    def delete(self, thing: Thing) -> None:
        """Delete it."""
        ...


class World:
    """Resources by type and id.

    Args:
        maker: Makes them.
    """

    def __init__(self, maker: Maker) -> None:
        self._maker = maker
        self._lock = threading.RLock()
        self._things: dict[tuple[str, str], Thing] = {}
        self.steps: list[Step] = []

    def all(self) -> list[Thing]:
        """Return what exists, in the order of making."""
        with self._lock:
            return list(self._things.values())

    def of(self, *tokens: str) -> list[Thing]:
        """Return what exists of some types."""
        return [thing for thing in self.all() if thing.token in tokens]

    def get(self, token: str, id_: str) -> Thing | None:
        """Return what has an id, if it is there."""
        with self._lock:
            return self._things.get((token, id_))

    def create(self, urn: str, token: str, inputs: Values) -> Thing:
        """Make something.

        Raises:
            Refused: if it refers to what is not there, or is there already, or AWS wants something else first.
        """
        bare: Values = plain(inputs)
        references = set(self._references(token, bare))
        requirements.check(self, token, bare)
        id_, added = self._maker.make(urn, token, bare)
        thing = Thing(urn, token, id_, inputs, {**inputs, **added}, references)
        with self._lock:
            if (token, id_) in self._things:
                raise Refused(f"{token} {id_} exists already")
            self._things[token, id_] = thing
            self.steps.append(Step("create", urn, id_))
        return thing

    def update(self, token: str, id_: str, inputs: Values) -> Thing:
        """Change something in place.

        Raises:
            Refused: if it is not there, or shall refer to what is not.
            Unready: if AWS wants something else first.
        """
        thing = self.get(token, id_)
        if thing is None:
            raise Refused(f"{token} {id_} does not exist")
        references = set(self._references(token, plain(inputs)))
        requirements.check_update(self, token, plain(inputs))
        with self._lock:
            added = {name: value for name, value in thing.outputs.items() if name not in thing.inputs}
            changed = Thing(thing.urn, token, id_, inputs, {**added, **inputs}, references)
            self._things[token, id_] = changed
            self.steps.append(Step("update", thing.urn, id_))
        return changed

    def delete(self, token: str, id_: str) -> None:
        """Delete something; what is gone already is no fault, as with the real provider.

        Raises:
            Refused: if it protects itself, or something refers to it.
        """
        thing = self.get(token, id_)
        if thing is None:
            return
        requirements.check_deletion(thing.token, plain(thing.inputs))
        holders = [other.urn.rsplit("::", 1)[1] for other in self.all() if id_ in other.references and other is not thing]
        if token in HELD and holders:
            raise Refused(f"{token} {id_} is in use by {', '.join(sorted(holders))}")
        self._maker.delete(thing)
        with self._lock:
            del self._things[token, id_]
            self.steps.append(Step("delete", thing.urn, id_))

    def lift_protection(self) -> None:
        """Do what a person does at AWS before the end: switch off deletion protection."""
        for thing in self.all():
            for name in ("deletionProtection", "deletionProtectionEnabled"):
                if name in thing.inputs:
                    thing.inputs[name] = False

    def _references(self, token: str, inputs: Values) -> Iterator[str]:
        """Return the ids of what the inputs refer to.

        Raises:
            Refused: if one of them is not there.
        """
        own = kind(token).name
        for name, text in strings(inputs):
            wanted = REFERENCES.get(name)
            if wanted is None or name == own or text == UNKNOWN or FOREIGN.search(text):
                continue
            found = next((thing for thing in self.of(*wanted) if text in thing.names), None)
            if found is None:
                raise Refused(f"{token}: {name} is {text}, and no such {' or '.join(wanted)} exists")
            yield found.id
