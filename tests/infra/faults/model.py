"""A mistake that somebody could make, and the stage as it would be with it."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import Any, Final
from unittest import mock

import pulumi

from infra.config import load
from infra.program import deploy
from infra.registrations import Graph, Resource
from tests.infra import stages

type Made = Mapping[tuple[str, str], Any]
"""Resources that were registered so far, by type and name."""
type Change = Callable[[Any, Made], Any]
"""Returns the new value of an argument, given the former one and what was made."""
type Value = Change | pulumi.Output[str] | Sequence[Any] | Mapping[str, Any] | str | float | None
type Edit = Callable[[dict[str, Any], pulumi.ResourceOptions, Made], None]
"""Changes the arguments of a resource, in snake case, and its options."""


class Stale(Exception):  # noqa: N818  # read as a statement about the fault
    """The program has nothing any more that this mistake could be made in."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One mistake.

    Args:
        says: What somebody did, as a sentence's end: "The database is ...".
        stage: Where.
        given: Changes to the stage's configuration that are no mistake: without them there is nothing to make it in.
        config: Those that are the mistake, by path such as `database.multiAz`; an ellipsis removes.
        edits: Changes to resources, by type such as `rds.Instance` and name.
        without: Resources that somebody forgot.
        renames: New logical names.
        patches: Constants and functions of the program, by their full names.
        exports: Further outputs of the stack.
        would_be_caught_by: What would catch it, where nothing here does.
    """

    says: str
    stage: str = "prod"
    given: Mapping[str, Any] = field(default_factory=dict[str, Any])
    config: Mapping[str, Any] = field(default_factory=dict[str, Any])
    edits: Mapping[tuple[str, str], Edit] = field(default_factory=dict[tuple[str, str], Edit])
    without: Sequence[tuple[str, str]] = ()
    renames: Mapping[tuple[str, str], str] = field(default_factory=dict[tuple[str, str], str])
    patches: Mapping[str, Any] = field(default_factory=dict[str, Any])
    exports: Callable[[Made], dict[str, Any]] | None = None
    would_be_caught_by: str = ""


def token(short: str) -> str:
    """Return the type's token of a short name: `rds.Instance` is `aws:rds/instance:Instance`."""
    module, name = short.split(".")
    package, place = ("random", "index") if module == "random" else ("aws", module)
    return f"{package}:{place}/{name[0].lower()}{name[1:]}:{name}"


def put(**values: Value) -> Edit:
    """Return an edit that sets arguments; a function gets the former value and what was made, and None removes."""

    def edit(props: dict[str, Any], _: pulumi.ResourceOptions, made: Made) -> None:
        for name, value in values.items():
            props[name] = value(props.get(name), made) if callable(value) else value

    return edit


def inside(path: str, value: Any) -> Edit:
    """Return an edit that sets something within an argument, such as `vpc_config.endpoint_private_access` or `parameters.0.value`."""

    def edit(props: dict[str, Any], _: pulumi.ResourceOptions, __: Made) -> None:
        *parents, last = path.split(".")
        place: Any = props
        for parent in parents:
            place = _part(place, parent)
        if hasattr(place, "keys"):
            place[last] = value
        else:
            setattr(place, last, value)

    return edit


def _part(place: Any, name: str) -> Any:
    """Return a part of an argument, which may be a list, a dictionary, or an object of the SDK."""
    if name.isdigit():
        return place[int(name)]
    return place[name] if hasattr(place, "keys") else getattr(place, name)


def option(**values: Callable[[Made], Any] | Sequence[Any] | bool | None) -> Edit:
    """Return an edit that sets options of a resource, such as `protect` or `depends_on`."""

    def edit(_: dict[str, Any], opts: pulumi.ResourceOptions, made: Made) -> None:
        for name, value in values.items():
            setattr(opts, name, value(made) if callable(value) else value)

    return edit


def register(fault: Fault) -> Graph:
    """Return what the stage registers with a mistake.

    Raises:
        InvalidConfig: if its configuration is refused.
        Stale: if there is nothing to make the mistake in.
    """
    config = load(configured(fault), stages.TODAY)
    made: dict[tuple[str, str], Any] = {}
    left = {(token(kind), name) for kind, name in (*fault.edits, *fault.renames)}

    def program() -> None:
        deploy(config)
        for name, value in (fault.exports(made) if fault.exports else {}).items():
            pulumi.export(name, value)

    with ExitStack() as patches:
        for name, value in fault.patches.items():
            patches.enter_context(mock.patch(name, value))
        patches.enter_context(_mistaken(fault, made, left))
        graph = stages.run(fault.stage, program)
    if left:
        raise Stale(f"{fault.says}: the program has no {left}.")
    return _without(graph, {(token(kind), name) for kind, name in fault.without}) if fault.without else graph


def sound(fault: Fault) -> Graph:
    """Return what the stage registers without the mistake."""
    return register(Fault("", fault.stage, given=fault.given)) if fault.given else stages.graph(fault.stage)


def configured(fault: Fault) -> dict[str, Any]:
    """Return the stage's configuration with the mistake, as its file would have it."""
    raw = deepcopy(stages.raw(fault.stage))
    for path, value in (*fault.given.items(), *fault.config.items()):
        *parents, last = path.split(".")
        place = raw
        for parent in parents:
            place = place.setdefault(parent, {})
        if value is ...:
            del place[last]
        else:
            place[last] = value
    return raw


def _mistaken(fault: Fault, made: dict[tuple[str, str], Any], left: set[tuple[str, str]]) -> AbstractContextManager[Any]:
    """Put the mistake in where every resource begins, before anything has looked at its arguments."""
    original: Final = pulumi.Resource.__init__
    edits = {(token(kind), name): edit for (kind, name), edit in fault.edits.items()}
    renames = {(token(kind), name): new for (kind, name), new in fault.renames.items()}

    def init(self: pulumi.Resource, t: str, name: str, *arguments: Any, **named: Any) -> None:
        key = (t, name)
        made[key] = self
        left.discard(key)
        if key in edits:
            props: Any = arguments[1]  # as the SDK's own classes call it
            edits[key](props.__dict__, arguments[2], made)
        original(self, t, renames.get(key, name), *arguments, **named)

    return mock.patch.object(pulumi.Resource, "__init__", init)


def _without(graph: Graph, forgotten: set[tuple[str, str]]) -> Graph:
    """Return a graph without some resources, and without what waits for them: as if they had never been written."""
    gone = {resource.urn for resource in graph.resources if (resource.type, resource.name) in forgotten}
    if len(gone) != len(forgotten):
        raise Stale(f"Of {sorted(forgotten)} the program has only {sorted(gone)}.")

    def rest(resource: Resource) -> Resource:
        by_input = {name: urns - gone for name, urns in resource.property_dependencies.items()}
        return replace(resource, dependencies=resource.dependencies - gone, property_dependencies=by_input)

    kept = tuple(rest(resource) for resource in graph.resources if resource.urn not in gone)
    return Graph(graph.stack, kept, graph.exports, graph.secret_exports, graph.warnings, graph.gaps)
