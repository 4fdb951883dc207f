"""The stand-in: answers the engine as the providers `aws` and `random` would, over gRPC on loopback."""

import json
import secrets
import threading
from collections.abc import Callable, Generator
from concurrent import futures
from contextlib import contextmanager
from typing import Any, NoReturn

import grpc
from botocore.exceptions import BotoCoreError, ClientError
from google.protobuf import empty_pb2
from pulumi.runtime.proto import plugin_pb2, provider_pb2, provider_pb2_grpc

from tests.infra.rehearsal.kinds import kind
from tests.infra.rehearsal.outputs import computed
from tests.infra.rehearsal.requirements import Unready
from tests.infra.rehearsal.values import DEFAULTS, UNKNOWN, Values, decode, differences, encode, plain, secrets_of
from tests.infra.rehearsal.world import Refused, World

PACKAGES = ("aws", "random")

type Watch = Callable[[str], None]
"""Told of each moment of a change: ``asked``, ``done``, ``answered``."""


def nobody(_: str) -> None:
    """Watch nothing."""


class Provider(provider_pb2_grpc.ResourceProviderServicer):
    """Both packages in one, over one world.

    Args:
        world: What exists.
        configured: Told of the provider's own configuration.
        pause: Takes the time that a change takes.
    """

    def __init__(self, world: World, configured: Callable[[Values], None], pause: Callable[[], None] = lambda: None) -> None:
        self.world = world
        self.watch: Watch = nobody
        self.secrets: set[str] = set()
        self._configured = configured
        self._pause = pause
        self._busy = threading.Condition()
        self._under_way = 0

    def wait_until_quiet(self) -> None:
        """Wait for what was asked for by an engine that is gone: AWS would finish it as well."""
        with self._busy:
            self._busy.wait_for(lambda: self._under_way == 0)

    # The protocol: its names are what they are.

    def Attach(self, request: Any, context: Any) -> empty_pb2.Empty:  # noqa: N802
        return empty_pb2.Empty()

    def Cancel(self, request: Any, context: Any) -> empty_pb2.Empty:  # noqa: N802
        return empty_pb2.Empty()

    def GetPluginInfo(self, request: Any, context: Any) -> plugin_pb2.PluginInfo:  # noqa: N802
        # It answers for two packages, of which the engine expects the versions of their SDKs: one above both will do.
        return plugin_pb2.PluginInfo(version="999.0.0")

    def CheckConfig(self, request: Any, context: Any) -> provider_pb2.CheckResponse:  # noqa: N802
        return provider_pb2.CheckResponse(inputs=request.news)

    def DiffConfig(self, request: Any, context: Any) -> provider_pb2.DiffResponse:  # noqa: N802
        changed = sorted(set(differences(decode(request.olds), decode(request.news))))
        return _difference(changed, replaces=[path for path in changed if path == "region"])

    def Configure(self, request: Any, context: Any) -> provider_pb2.ConfigureResponse:  # noqa: N802
        self._configured({name: _parsed(value) for name, value in plain(decode(request.args)).items()})
        return provider_pb2.ConfigureResponse(acceptSecrets=True, supportsPreview=True)

    def Check(self, request: Any, context: Any) -> provider_pb2.CheckResponse:  # noqa: N802
        """Refuse properties that the type does not have; make up a name where the program gives none."""
        token, name = _type_and_name(request.urn)
        news, olds = decode(request.news), decode(request.olds)
        try:
            this = kind(token)
        except LookupError as error:
            return provider_pb2.CheckResponse(inputs=request.news, failures=[provider_pb2.CheckFailure(reason=str(error))])
        unknown = sorted(news.keys() - this.inputs)
        failures = [provider_pb2.CheckFailure(property=one, reason=f"{token} has no property {one}") for one in unknown]
        if this.name and this.name not in news and f"{this.name}Prefix" not in news:
            made_before = this.name in olds.get(DEFAULTS, [])
            news[this.name] = olds[this.name] if made_before else _made_up(token, name, request.randomSeed, news)
            news[DEFAULTS] = [this.name]
        return provider_pb2.CheckResponse(inputs=encode(news), failures=failures)

    def Diff(self, request: Any, context: Any) -> provider_pb2.DiffResponse:  # noqa: N802
        """Compare the inputs, and say which changes need another resource, and whether the old one has to go first."""
        this = kind(_type_and_name(request.urn)[0])
        olds, news = decode(request.old_inputs), decode(request.news)
        ignored = tuple(request.ignoreChanges)
        changed = sorted(
            {path for path in differences(olds, news) if not path.startswith(ignored)} if ignored else set(differences(olds, news))
        )
        # Two cannot have the same name at the same time, unless the provider made it up and makes up another.
        named = this.name is not None and this.name in news and this.name not in news.get(DEFAULTS, [])
        keeps_its_name = named and this.name not in changed
        return _difference(changed, [path for path in changed if this.replaces(path)], before=keeps_its_name)

    def Create(self, request: Any, context: Any) -> provider_pb2.CreateResponse:  # noqa: N802
        token, _ = _type_and_name(request.urn)
        inputs = self._inputs(request.properties)
        if request.preview:
            return provider_pb2.CreateResponse(properties=encode({**inputs, **computed(token, inputs)}))
        with self._change(context):
            thing = self.world.create(request.urn, token, inputs)
            self.secrets.update(secrets_of(thing.outputs))
            return provider_pb2.CreateResponse(id=thing.id, properties=encode(thing.outputs))

    def Read(self, request: Any, context: Any) -> provider_pb2.ReadResponse:  # noqa: N802
        thing = self.world.get(_type_and_name(request.urn)[0], request.id)
        if thing is None:
            return provider_pb2.ReadResponse()
        return provider_pb2.ReadResponse(id=thing.id, properties=encode(thing.outputs), inputs=encode(thing.inputs))

    def Update(self, request: Any, context: Any) -> provider_pb2.UpdateResponse:  # noqa: N802
        token, _ = _type_and_name(request.urn)
        inputs = self._inputs(request.news)
        if request.preview:
            return provider_pb2.UpdateResponse(properties=encode({**decode(request.olds), **inputs}))
        with self._change(context):
            return provider_pb2.UpdateResponse(properties=encode(self.world.update(token, request.id, inputs).outputs))

    def Delete(self, request: Any, context: Any) -> empty_pb2.Empty:  # noqa: N802
        with self._change(context):
            self.world.delete(_type_and_name(request.urn)[0], request.id)
            return empty_pb2.Empty()

    def _inputs(self, struct: Any) -> Values:
        inputs = decode(struct)
        self.secrets.update(text for text in secrets_of(inputs) if text != UNKNOWN)
        return inputs

    @contextmanager
    def _change(self, context: Any) -> Generator[None]:
        """Tell the watch of each moment, and the engine of what was refused."""
        with self._busy:
            self._under_way += 1
        try:
            self.watch("asked")
            self._pause()
            try:
                yield
            except (Refused, Unready, ClientError, BotoCoreError) as error:
                _abort(context, grpc.StatusCode.FAILED_PRECONDITION, str(error))
            self.watch("done")
            # gRPC calls this once the answer is on its way.
            context.add_callback(lambda: self.watch("answered"))
        finally:
            with self._busy:
                self._under_way -= 1
                self._busy.notify_all()


@contextmanager
def serving(provider: Provider) -> Generator[str]:
    """Serve, and give what `PULUMI_DEBUG_PROVIDERS` has to be."""
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=32))
    provider_pb2_grpc.add_ResourceProviderServicer_to_server(provider, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield ",".join(f"{package}:{port}" for package in PACKAGES)
    finally:
        server.stop(grace=None).wait()


def _difference(changed: list[str], replaces: list[str], *, before: bool = False) -> provider_pb2.DiffResponse:
    changes = provider_pb2.DiffResponse.DIFF_SOME if changed else provider_pb2.DiffResponse.DIFF_NONE
    return provider_pb2.DiffResponse(changes=changes, diffs=_tops(changed), replaces=_tops(replaces), deleteBeforeReplace=before)


def _tops(paths: list[str]) -> list[str]:
    """Return the properties that paths begin with."""
    return sorted({path.split(".")[0] for path in paths})


def _type_and_name(urn: str) -> tuple[str, str]:
    *_, types, name = urn.split("::", 3)
    return types.rsplit("$", 1)[-1], name


def _made_up(token: str, name: str, seed: bytes, inputs: Values) -> str:
    """Return a name as the provider makes it: the program's, and some hexadecimal digits."""
    digits = (seed.hex() if seed else secrets.token_hex(4))[:7]
    prefix = "alias/" if token == "aws:kms/alias:Alias" else ""
    return f"{prefix}{name}-{digits}{'.fifo' if inputs.get('fifoQueue') or inputs.get('fifoTopic') else ''}"


def _parsed(value: Any) -> Any:
    """Return a property of a provider's configuration, which has anything but text written as JSON."""
    if isinstance(value, str) and value[:1] in {"[", "{"}:
        return json.loads(value)
    return value


def _abort(context: Any, code: grpc.StatusCode, message: str) -> NoReturn:
    context.abort(code, message)
    raise AssertionError("abort raises")
