"""What a Pulumi program asks the engine for: its registrations, raw, recorded in this process without an engine or an account.

The mocks of the SDK show a test the outputs that it made up itself. Here the requests are kept as they would go to the engine, with what
outputs cannot tell: on which resources a property depends, what is protected, what is secret.
"""

import asyncio
import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import Context
from dataclasses import dataclass, field
from typing import Any, Final, Never, cast

import pulumi
from google.protobuf import empty_pb2, struct_pb2
from pulumi.runtime import mocks, set_all_config
from pulumi.runtime.proto import alias_pb2, engine_pb2, resource_pb2
from pulumi.runtime.settings import configure
from pulumi.runtime.stack import register_stack_transformation, run_in_stack

from infra import plausible

PROJECT: Final = "fastapi-platform"
STACK_TYPE: Final = "pulumi:pulumi:Stack"
PROVIDER_PREFIX: Final = "pulumi:providers:"
#: Where resources are made whose provider does not say so.
NOWHERE: Final = plausible.World(region="us-east-1", account="123456789012")
#: What marks a value in a request as a secret: the SDK's protocol.
SIGNATURE: Final = "4dabf18193072939515e22adb298388d"
SECRET: Final = "1b47061264138c4ac30d75fd1eb44270"  # noqa: S105  # a constant of the protocol


class Refused(Exception):  # noqa: N818  # read as a statement about the program
    """The engine would not do what the program asks for."""


@dataclass(frozen=True, slots=True)
class Resource:
    """One registration, as the program asked for it."""

    urn: str
    type: str
    name: str
    parent: str
    """URN; of the stack for what has no other."""
    custom: bool
    """Whether a provider makes it; a component is only a name for others."""
    inputs: Mapping[str, Any]
    """In camel case, as the provider gets them; secrets in plain."""
    secrets: frozenset[str]
    """Paths of inputs that are secret, such as ``environment.PASSWORD``."""
    id: str
    outputs: Mapping[str, Any]
    """Made up: inputs, and what AWS would add."""
    dependencies: frozenset[str]
    """URNs of everything that must exist before, named by an input or by ``depends_on``."""
    property_dependencies: Mapping[str, frozenset[str]]
    """URNs by the input that names them."""
    provider: str
    """URN; empty for the default provider."""
    protect: bool
    retain_on_delete: bool
    delete_before_replace: bool
    aliases: tuple[str, ...]
    """URNs under which it was known."""
    ignore_changes: tuple[str, ...]

    @property
    def explicit_dependencies(self) -> frozenset[str]:
        """What no input shows: ``depends_on`` alone."""
        return self.dependencies.difference(*self.property_dependencies.values())


@dataclass(frozen=True, slots=True)
class Graph:
    """Everything a program registered, each resource after those it depends on."""

    stack: str
    resources: tuple[Resource, ...]
    exports: Mapping[str, Any]
    """Outputs of the stack; secrets in plain."""
    secret_exports: frozenset[str]
    """Paths within the exports that are secret."""
    warnings: tuple[str, ...] = ()
    """What the SDK warned of, such as an input that is going away."""
    gaps: frozenset[tuple[str, str, str]] = frozenset()
    """Type, name and input, where an Output was given that turned out to be None: the SDK leaves the input out without a word."""
    _by_urn: dict[str, Resource] = field(default_factory=dict[str, Resource], repr=False, compare=False)

    def __post_init__(self) -> None:
        self._by_urn.update({resource.urn: resource for resource in self.resources})

    def __getitem__(self, urn: str) -> Resource:
        return self._by_urn[urn]

    def __contains__(self, urn: object) -> bool:
        return urn in self._by_urn

    @property
    def custom(self) -> Iterator[Resource]:
        """What a provider makes: no components, no providers."""
        return (resource for resource in self.resources if resource.custom and not resource.type.startswith(PROVIDER_PREFIX))

    def of(self, *types: str) -> list[Resource]:
        """Return the resources of these types, such as ``aws:ec2/subnet:Subnet``."""
        return [resource for resource in self.resources if resource.type in types]

    def one(self, kind: str, name: str) -> Resource:
        """Return the one resource of a type with a name.

        Raises:
            LookupError: if there is none, or more than one.
        """
        found = [resource for resource in self.of(kind) if resource.name == name]
        if len(found) != 1:
            raise LookupError(f"{len(found)} resources {kind} are named {name}; there are {[other.name for other in self.of(kind)]}.")
        return found[0]

    def ancestors(self, urn: str) -> frozenset[str]:
        """Return the URNs of everything that exists before this resource does."""
        found: set[str] = set()
        waiting = [urn]
        while waiting:
            resource = self._by_urn.get(waiting.pop())
            new = (resource.dependencies | {resource.parent} if resource else set[str]()) - found
            found |= new
            waiting += new
        return frozenset(found)


def record(
    program: Callable[[], None],
    *,
    stack: str,
    project: str = PROJECT,
    config: Mapping[str, str] | None = None,
    secrets: Sequence[str] = (),
    world: plausible.World = NOWHERE,
) -> Graph:
    """Run a program and return what it registered. May be called again and again, and from within a running event loop.

    Args:
        program: What ``__main__`` would do.
        stack: Its name; the stage.
        project: Its name.
        config: Values of the stack's configuration, with their full keys such as ``fastapi-platform:smtpPassword``.
        secrets: Which of these keys are secret.
        world: Where resources are made whose provider does not say so.

    Raises:
        Refused: where the engine would stop.
        Exception: what the program, or a function given to ``apply``, raised.
    """
    monitor, engine, gaps = _Monitor(stack, project, world), _Engine(), _Gaps()

    def watched() -> None:
        register_stack_transformation(gaps.look)
        program()

    async def run() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(_ignore)
        # Requests come one after the other: the order of a run is the order of the next.
        loop.set_default_executor(ThreadPoolExecutor(1))
        configure(_settings(monitor, engine, stack, project))
        set_all_config(dict(config or {}), list(secrets))
        await run_in_stack(watched)

    # The SDK keeps its state in context variables: a thread with an empty context is a process of its own.
    with ThreadPoolExecutor(1) as executor:
        executor.submit(Context().run, asyncio.run, run()).result()
    resources = tuple(_sorted(monitor.registered))
    return Graph(stack, resources, monitor.exports, monitor.secret_exports, tuple(engine.warnings), frozenset(gaps.found))


def _ignore(_loop: asyncio.AbstractEventLoop, _context: dict[str, Any]) -> None:
    """Say nothing of what the first failure takes with it; the failure itself is raised."""


def _settings(monitor: "_Monitor", engine: "_Engine", stack: str, project: str) -> mocks.MockSettings:
    return mocks.MockSettings(
        monitor=monitor,
        monitor_features=set[int](),  # asked of the monitor when the run begins
        engine=engine,
        project=project,
        stack=stack,
        dry_run=False,  # a preview would leave out what waits for an output
        organization=None,
        callbacks=None,
        package_refs={},
        base_providers_by_ref={},
        outputs=set(),
        lock=threading.Lock(),
        root_directory=None,
        parallel=None,
        legacy_apply_enabled=False,
    )


def _sorted(resources: Mapping[str, Resource]) -> Iterator[Resource]:
    """Yield resources after those they depend on, otherwise by URN: the order does not depend on chance."""
    done: set[str] = set()

    def visit(urn: str) -> Iterator[Resource]:
        if urn in done or urn not in resources:
            return
        done.add(urn)
        resource = resources[urn]
        for needed in sorted({resource.parent, resource.provider, *resource.dependencies}):
            yield from visit(needed)
        yield resource

    for urn in sorted(resources):
        yield from visit(urn)


class _Engine(mocks.MockEngine):
    """Takes the log."""

    def __init__(self) -> None:
        super().__init__(None)
        self.warnings: list[str] = []

    def Log(self, request: engine_pb2.LogRequest) -> None:  # noqa: N802
        if request.severity >= engine_pb2.WARNING:
            self.warnings.append(request.message)


class _Gaps:
    """Looks at the arguments of resources for Outputs that give nothing."""

    def __init__(self) -> None:
        self.found: set[tuple[str, str, str]] = set()

    def look(self, args: pulumi.ResourceTransformationArgs) -> None:
        for name, value in args.props.items():
            self._follow(value, (args.type_, args.name, name))

    def _follow(self, value: Any, place: tuple[str, str, str]) -> None:
        if isinstance(value, pulumi.Output):
            cast("pulumi.Output[Any]", value).apply(lambda found: self.found.add(place) if found is None else None)
        elif isinstance(value, dict):
            for item in cast("dict[str, Any]", value).values():
                self._follow(item, place)
        elif isinstance(value, list):
            for item in cast("list[Any]", value):
                self._follow(item, place)


class _Monitor(mocks.MockMonitor):
    """Takes the place of the engine."""

    def __init__(self, stack: str, project: str, world: plausible.World) -> None:
        super().__init__(cast("mocks.Mocks", None))  # what would ask it is answered here
        self.registered: dict[str, Resource] = {}
        self.exports: dict[str, Any] = {}
        self.secret_exports: frozenset[str] = frozenset()
        self._world = world
        self._stack = stack
        self._project = project
        self._root = self._urn("", STACK_TYPE, f"{project}-{stack}")

    def _urn(self, parent: str, kind: str, name: str) -> str:
        within = parent.split("::")[2] if parent and parent != self._root else ""
        return f"urn:pulumi:{self._stack}::{self._project}::{within}{'$' if within else ''}{kind}::{name}"

    def RegisterResource(self, request: resource_pb2.RegisterResourceRequest) -> resource_pb2.RegisterResourceResponse:  # noqa: N802
        urn = self._urn(request.parent, request.type, request.name)
        if request.type == STACK_TYPE:
            return resource_pb2.RegisterResourceResponse(urn=urn)
        if urn in self.registered:
            raise Refused(f"Two resources have the URN {urn}; name one of them otherwise.")
        inputs, secrets = _plain(request.object)
        made = _made(request, inputs, urn, self._place(request.provider))
        self.registered[urn] = Resource(
            urn=urn,
            type=request.type,
            name=request.name,
            parent=request.parent,
            custom=request.custom,
            inputs=inputs,
            secrets=secrets,
            id=made.id,
            outputs=made.outputs,
            dependencies=frozenset(request.dependencies),
            property_dependencies={name: frozenset(found.urns) for name, found in request.propertyDependencies.items()},
            provider=request.provider.rpartition("::")[0],
            protect=request.protect,
            retain_on_delete=request.retainOnDelete,
            delete_before_replace=request.deleteBeforeReplace,
            aliases=self._former(request),
            ignore_changes=tuple(request.ignoreChanges),
        )
        hidden = {path.partition(".")[0].partition("[")[0] for path in secrets} | set(request.additionalSecretOutputs)
        answer = struct_pb2.Struct()
        answer.update({name: _secret(value) if name in hidden else value for name, value in made.outputs.items()})
        return resource_pb2.RegisterResourceResponse(urn=urn, id=made.id, object=answer)

    def Invoke(self, request: resource_pb2.ResourceInvokeRequest) -> Never:  # noqa: N802
        raise Refused(f"The program calls {request.tok}, which reads the account: what it registers must follow from its configuration.")

    def ReadResource(self, request: resource_pb2.ReadResourceRequest) -> Never:  # noqa: N802
        raise Refused(f"The program reads {request.type} {request.name}, which it has not made.")

    def RegisterResourceOutputs(self, request: resource_pb2.RegisterResourceOutputsRequest) -> empty_pb2.Empty:  # noqa: N802
        if request.urn == self._root:
            self.exports, self.secret_exports = _plain(request.outputs)
        return empty_pb2.Empty()

    def _former(self, request: resource_pb2.RegisterResourceRequest) -> tuple[str, ...]:
        """Return the URNs of a request's aliases, which name what is different alone."""
        aliases = cast("Sequence[alias_pb2.Alias]", cast("Any", request).aliases)  # the stub leaves its type open
        found: dict[str, None] = {}
        for alias in aliases:
            spec = alias.spec
            parent = "" if spec.noParent else spec.parentUrn or request.parent
            found[alias.urn or self._urn(parent, spec.type or request.type, spec.name or request.name)] = None
        return tuple(found)

    def _place(self, provider: str) -> plausible.World:
        """Return the account and region that the provider of a resource works in."""
        resource = self.registered.get(provider.rpartition("::")[0])
        inputs: Mapping[str, Any] = resource.inputs if resource else {}
        accounts = json.loads(inputs.get("allowedAccountIds", "[]"))
        return plausible.World(inputs.get("region", self._world.region), accounts[0] if accounts else self._world.account)


def _made(request: resource_pb2.RegisterResourceRequest, inputs: dict[str, Any], urn: str, world: plausible.World) -> plausible.Made:
    if not request.custom:
        return plausible.Made("", inputs)
    if request.type.startswith(PROVIDER_PREFIX):
        return plausible.Made(request.name, inputs)
    return plausible.make(request.type, request.name, inputs, urn=urn, world=world)


def _secret(value: Any) -> dict[str, Any]:
    return {SIGNATURE: SECRET, "value": value}


def _plain(struct: struct_pb2.Struct) -> tuple[dict[str, Any], frozenset[str]]:
    """Return the values of a request without their marks, and the paths of those that were marked as secret."""
    secrets: set[str] = set()
    values = {name: _value(value, name, secrets) for name, value in struct.fields.items()}
    return values, frozenset(secrets)


def _value(value: struct_pb2.Value, path: str, secrets: set[str]) -> Any:
    match value.WhichOneof("kind"):
        case "struct_value":
            return _object(value.struct_value.fields, path, secrets)
        case "list_value":
            return [_value(item, f"{path}[{number}]", secrets) for number, item in enumerate(value.list_value.values)]
        case "number_value":
            return int(value.number_value) if value.number_value.is_integer() else value.number_value
        case "null_value" | None:
            return None
        case kind:
            return getattr(value, kind)


def _object(fields: Mapping[str, struct_pb2.Value], path: str, secrets: set[str]) -> Any:
    if SIGNATURE in fields and fields[SIGNATURE].string_value == SECRET:
        secrets.add(path)
        return _value(fields["value"], path, secrets)
    found = {name: _value(item, f"{path}.{name}", secrets) for name, item in fields.items()}
    return {name: item for name, item in found.items() if item is not None}  # a provider takes null for what is not there
