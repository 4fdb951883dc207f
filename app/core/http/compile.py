"""FastAPI's dependency graph, resolved once at start-up instead of at every request.

FastAPI walks a route's tree of ``Dependant``s for each request, which costs about 100 microseconds. ``compile_route``
flattens the tree into a list of steps that are run in the same order with the same result: the same cache of shared
dependencies, the same validation errors, the same moment at which generators of scope ``function`` are left (after the
endpoint, before the answer). One thing is stricter: a query parameter that is no list may come once only. A route that
uses anything else (forms, files, streams, request-scoped generators, several body parameters) is not compiled and keeps
FastAPI's own handler; ``tests/api/test_compile.py`` sends the same requests through both and compares.
"""

import inspect
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Any, Final

from fastapi import params
from fastapi.dependencies.models import Dependant
from fastapi.dependencies.utils import request_params_to_args
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute, RouteContext, serialize_response
from fastapi.security.base import SecurityBase
from pydantic import BaseModel, TypeAdapter, ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, QueryParams
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from app.core.http import idempotency
from app.core.http.body import parse_json, refuse_deep, require_media_type
from app.core.http.route import JSON, Route

type Arguments = dict[str, Any]
type Errors = list[Any]
type Reader = Callable[[Request, Arguments], Sequence[Any]]

LISTS: Final = (list, tuple, set, frozenset)
IMMUTABLE: Final = (int, float, str, bool, bytes, type(None))
#: Where the scope holds the request's headers by name, if the dispatcher put them there.
HEADERS: Final = "platform.headers"
#: Questions whose reading is remembered, and their greatest length in bytes.
MAX_QUESTIONS: Final = 512
MAX_QUESTION_BYTES: Final = 128
JSON_BYTES: Final = JSON.encode()
_SOUND: Final = ()


def process_wide[**P, R](call: Callable[P, R]) -> Callable[P, R]:
    """Mark a dependency that gives every request of a process the same: a compiled route asks it once.

    It may depend on the request for the application's state only, and on other dependencies marked so.
    """
    vars(call)["process_wide"] = True
    return call


class NotCompilable(Exception):  # noqa: N818  # not an error: FastAPI's own handler serves the route
    """The route uses something that only FastAPI's own handler knows."""


class JSONBytes(Response):
    """An answer whose JSON is already encoded.

    Args:
        content: The JSON.
        status_code: HTTP status.
        headers: Further headers, lower-case names, as bytes.
    """

    media_type = "application/json"

    def __init__(self, content: bytes, status_code: int = 200, headers: list[tuple[bytes, bytes]] | None = None) -> None:
        self.status_code = status_code
        self.body = content
        self.background = None
        #: Its headers but for type and length, until somebody asks for all of them.
        self.further: list[tuple[bytes, bytes]] | None = headers or []

    @property
    def raw_headers(self) -> list[tuple[bytes, bytes]]:
        """All headers, which may be changed."""
        if self.further is not None:
            length = b"%d" % len(self.body)
            self._headers_of_all = [(b"content-type", JSON_BYTES), (b"content-length", length), *self.further]
            self.further = None
        return self._headers_of_all

    @raw_headers.setter
    def raw_headers(self, headers: list[tuple[bytes, bytes]]) -> None:
        self._headers_of_all, self.further = headers, None


@dataclass(slots=True)
class Step:
    """One dependency: what it needs, how it is called, where its value goes."""

    call: Callable[..., Any]
    kind: str
    slot: int
    shared: list[tuple[str, int]] = field(default_factory=list[tuple[str, int]])
    readers: list[Reader] = field(default_factory=list[Reader])
    process_wide: bool = False


@dataclass(slots=True)
class Plan:
    """A route ready to run. ``run`` takes a request whose ``path_params`` are set and returns the response."""

    steps: list[Step]
    endpoint: Step
    body: "BodyReader | None"
    respond: Callable[[Any], Awaitable[Response]]
    leaves_generators: bool
    takes_key: bool
    kept: list[Any] | None = None

    def forget(self) -> None:
        """Ask again for what is the same for every request of a process."""
        self.kept = None

    async def run(self, request: Request) -> Response:
        """Answer a request.

        Raises:
            RequestValidationError: with every fault of parameters and body, as FastAPI would.
            Problem: whatever a dependency or the endpoint raises.
        """
        if self.takes_key and _may_carry(request, b"idempotency-key"):
            return await idempotency.answering(request, self._run)
        return await self._run(request) if self.leaves_generators else await self._answer(request, None)

    async def _run(self, request: Request) -> Response:
        async with AsyncExitStack() as stack:
            return await self._answer(request, stack)

    async def _answer(self, request: Request, stack: AsyncExitStack | None) -> Response:
        if self.body is not None:
            # First, so that no transaction is open while a slow client sends.
            await self.body.receive(request)
        values = (self.kept or await self._keep(request)).copy()
        errors: Errors = []
        failed: set[int] = set()
        for step in self.steps:
            if step.process_wide:
                continue
            arguments = _gather(step, values, failed, request, errors)
            if arguments is None:
                failed.add(step.slot)
            elif step.kind == "async":
                values[step.slot] = await step.call(**arguments)
            else:
                values[step.slot] = await _call_otherwise(step, arguments, stack)
        arguments = _gather(self.endpoint, values, failed, request, errors)
        if self.body is not None:
            body, faults = self.body.validate(await request.body())
            errors.extend(faults)
            if arguments is not None:
                arguments[self.body.name] = body
        if errors or arguments is None:
            raise RequestValidationError(errors)
        result = await self.endpoint.call(**arguments)
        return result if isinstance(result, Response) else await self.respond(result)

    async def _keep(self, request: Request) -> list[Any]:
        """Ask for what is the same for every request of a process."""
        values: list[Any] = [None] * (len(self.steps) + 1)  # never empty, which would be asked for again
        for step in self.steps:
            if step.process_wide:
                values[step.slot] = await step.call(**(_gather(step, values, set(), request, []) or {}))
        self.kept = values
        return values


def _may_carry(request: Request, name: bytes) -> bool:
    """Tell whether a request may have a header; where nobody has looked yet it may."""
    given: dict[bytes, bytes] | None = request.scope.get(HEADERS)
    return given is None or name in given


def _gather(step: Step, values: list[Any], failed: set[int], request: Request, errors: Errors) -> Arguments | None:
    arguments = {name: values[slot] for name, slot in step.shared}
    sound = not failed or not any(slot in failed for _, slot in step.shared)
    for read in step.readers:
        if faults := read(request, arguments):
            errors.extend(faults)
            sound = False
    return arguments if sound else None


async def _call_otherwise(step: Step, arguments: Arguments, stack: AsyncExitStack | None) -> Any:
    if step.kind == "generator":
        assert stack is not None  # noqa: S101  # the plan opens one when a step is a generator
        opened: AbstractAsyncContextManager[Any] = step.call(**arguments)
        return await stack.enter_async_context(opened)
    return await run_in_threadpool(step.call, **arguments)


class BodyReader:
    """Reads a JSON body and validates it in one pass.

    Args:
        name: The endpoint's argument.
        annotation: The body's type.
        info: How the endpoint declared it.
        media_types: Content types the route reads.
    """

    def __init__(self, name: str, annotation: Any, info: params.Body, media_types: tuple[str, ...]) -> None:
        self.name = name
        declared: Any = Annotated[annotation, info]
        self._validate = TypeAdapter[Any](declared).validator.validate_json
        self._media_types = media_types

    async def receive(self, request: Request) -> None:
        """Read the body's bytes; the request keeps them.

        Raises:
            UnsupportedMediaType: if its content type is not one the route reads.
        """
        given: dict[bytes, bytes] = request.scope.get(HEADERS, {})
        if given.get(b"content-type") != JSON_BYTES:
            require_media_type(request, *self._media_types)
        await request.body()

    def validate(self, raw: bytes) -> tuple[Any, Sequence[Any]]:
        """Return the body and its faults.

        Raises:
            MalformedRequest: if it is not JSON.
            ValidationFailed: if it is nested too deep.
        """
        refuse_deep(raw)
        try:
            return self._validate(raw), _SOUND
        except ValidationError as error:
            faults = error.errors(include_url=False, include_input=False)
            if faults[0]["type"] == "json_invalid":
                return None, [{"loc": ("body",), "type": "value_error", "msg": _why_unreadable(raw)}]
            return None, [{**fault, "loc": ("body", *fault["loc"])} for fault in faults]


def _why_unreadable(raw: bytes) -> str:
    """Say why JSON that is well-formed cannot be taken; raises ``MalformedRequest`` where it is not well-formed."""
    if not raw:
        return "Field required"
    parse_json(raw)
    return "Must not contain lone surrogates."


def compile_route(context: RouteContext) -> Plan:
    """Resolve a route's dependencies into a plan.

    Args:
        context: A route as FastAPI sees it after every ``include_router`` (``fastapi.routing.iter_route_contexts``).

    Raises:
        NotCompilable: if the route needs FastAPI's own handler.
    """
    if not isinstance(context.original_route, APIRoute) or context.is_sse_stream or context.is_json_stream:
        raise NotCompilable("not a plain API route")
    dependant: Dependant = context.dependant
    if not inspect.iscoroutinefunction(dependant.call):
        raise NotCompilable("the endpoint is not a coroutine function")
    steps: list[Step] = []
    endpoint = _step(dependant, steps, {}, slot=-1)
    generators = any(step.kind == "generator" for step in steps)
    return Plan(steps, endpoint, _body_reader(dependant, context), _responder(context), generators, idempotency.takes_key(dependant))


def _step(dependant: Dependant, steps: list[Step], known: dict[Callable[..., Any], int], slot: int | None = None) -> Step:
    call = dependant.call
    if call is None or dependant.concurrency is not None or dependant.security_scopes_param_name or dependant.background_tasks_param_name:
        raise NotCompilable("security scopes, background tasks and concurrency limits")
    if dependant.response_param_name or dependant.websocket_param_name or dependant.cookie_params:
        raise NotCompilable("the shared response, WebSockets and cookies")
    step = Step(_opener(call) if _kind(dependant) == "generator" else call, _kind(dependant), 0)
    for child in dependant.dependencies:
        position = _slot_of(child, steps, known)
        if child.name is not None:
            step.shared.append((child.name, position))
    step.readers = _readers(dependant)
    step.slot = len(steps) if slot is None else slot
    step.process_wide = hasattr(call, "process_wide")
    if step.process_wide and not all(steps[shared].process_wide for _, shared in step.shared):
        raise TypeError(f"{call} is marked as process-wide and depends on something that is not")
    return step


def _slot_of(child: Dependant, steps: list[Step], known: dict[Callable[..., Any], int]) -> int:
    if child.call is None or child.body_params:
        raise NotCompilable("a dependency that reads the body")
    if child.use_cache and child.call in known:
        return known[child.call]
    step = _step(child, steps, known)
    steps.append(step)
    known.setdefault(child.call, step.slot)
    return step.slot


def _kind(dependant: Dependant) -> str:
    call = dependant.call
    if inspect.isasyncgenfunction(call):
        if dependant.scope != "function":
            raise NotCompilable("a generator that is left after the answer")
        return "generator"
    if inspect.isgeneratorfunction(call):
        raise NotCompilable("a generator that runs in a thread")
    named = getattr(call, "__call__", None) if isinstance(call, SecurityBase) else call  # noqa: B004  # its own method is asked for
    return "async" if inspect.iscoroutinefunction(named) else "thread"


def _opener(call: Callable[..., Any]) -> Callable[..., AbstractAsyncContextManager[Any]]:
    opened: Callable[..., AsyncGenerator[Any]] = call
    return asynccontextmanager(opened)


def _readers(dependant: Dependant) -> list[Reader]:
    readers: list[Reader] = []
    names = (dependant.request_param_name, dependant.http_connection_param_name)
    readers += [_request_reader(name) for name in names if name is not None]
    if dependant.path_params:
        readers.append(_path_reader(dependant))
    if dependant.query_params:
        readers.append(_query_reader(dependant))
    if dependant.header_params:
        readers.append(_header_reader(dependant))
    return readers


def _request_reader(name: str) -> Reader:
    def read(request: Request, arguments: Arguments) -> Sequence[Any]:
        arguments[name] = request
        return _SOUND

    return read


def _path_reader(dependant: Dependant) -> Reader:
    fields = [(model.name, model.alias, _validator(model), model.validate) for model in dependant.path_params]

    def read(request: Request, arguments: Arguments) -> Sequence[Any]:
        errors: Errors = []
        given = request.scope["path_params"]
        for name, alias, validate, explain in fields:
            try:
                arguments[name] = validate(given[alias])
            except ValidationError:
                errors.extend(explain(given[alias], {}, loc=("path", alias))[1])
        return errors

    return read


def _validator(model: Any) -> Callable[[Any], Any]:
    """Return what FastAPI's field validates with, without what it wraps around it."""
    declared: Any = Annotated[model.field_info.annotation, model.field_info]
    return TypeAdapter[Any](declared).validator.validate_python


def _query_reader(dependant: Dependant) -> Reader:
    fields = dependant.query_params
    absent, faults_of_absence = request_params_to_args(fields, QueryParams())
    reusable = not faults_of_absence and all(isinstance(value, IMMUTABLE) for value in absent.values())

    remembered: dict[bytes, Arguments] = {b"": absent} if reusable else {}

    def read(request: Request, arguments: Arguments) -> Sequence[Any]:
        query: bytes = request.scope["query_string"]
        if (known := remembered.get(query)) is not None:
            arguments.update(known)
            return _SOUND
        given = QueryParams(query)
        values, errors = request_params_to_args(fields, given)
        arguments.update(values)
        if len(given) != len(given.multi_items()):
            errors = [*errors, *_doubled(given, fields, values)]
        if not errors and len(query) <= MAX_QUESTION_BYTES and all(map(_lasting, values.values())):
            if len(remembered) >= MAX_QUESTIONS:
                del remembered[next(iter(remembered))]
            remembered[query] = values
        return errors

    return read


def _lasting(value: Any) -> bool:
    """Tell whether requests may share a value, since none of them can change it."""
    if isinstance(value, BaseModel):
        return bool(value.model_config.get("frozen")) and all(isinstance(member, (*IMMUTABLE, datetime)) for _, member in value)
    return isinstance(value, IMMUTABLE)


def _doubled(given: QueryParams, fields: Sequence[Any], values: Arguments) -> Errors:
    """Return a fault for each parameter that came twice but is no list."""
    taken: Arguments = {}
    for known in fields:
        value = values.get(known.name)
        if isinstance(value, BaseModel):
            taken |= {info.alias or name: getattr(value, name) for name, info in type(value).model_fields.items()}
        else:
            taken[known.alias] = value
    doubled = [name for name, value in taken.items() if len(given.getlist(name)) > 1 and not isinstance(value, LISTS)]
    return [{"type": "value_error", "loc": ("query", name), "msg": "Must be given once"} for name in doubled]


def _header_reader(dependant: Dependant) -> Reader:
    fields = dependant.header_params
    absent, faults_of_absence = request_params_to_args(fields, Headers())
    reusable = not faults_of_absence and all(isinstance(value, IMMUTABLE) for value in absent.values())
    names = {spelt.encode() for model in fields for spelt in (model.alias.lower(), model.alias.lower().replace("_", "-"))}

    def read(request: Request, arguments: Arguments) -> Sequence[Any]:
        given: dict[bytes, bytes] | None = request.scope.get(HEADERS)
        if reusable and given is not None and names.isdisjoint(given):
            arguments.update(absent)
            return _SOUND
        values, errors = request_params_to_args(fields, request.headers)
        arguments.update(values)
        return errors

    return read


def _body_reader(dependant: Dependant, context: RouteContext) -> BodyReader | None:
    if context.body_field is None:
        return None
    if len(dependant.body_params) != 1 or context._embed_body_fields:  # noqa: SLF001  # the one place FastAPI keeps it
        raise NotCompilable("several body parameters")
    only = dependant.body_params[0]
    info = only.field_info
    if not isinstance(info, params.Body) or isinstance(info, params.Form) or not info.is_required():
        raise NotCompilable("a form or an optional body")
    route = context.original_route
    return BodyReader(only.name, info.annotation, info, route.accepted_media_types if isinstance(route, Route) else (JSON,))


def _responder(context: RouteContext) -> Callable[[Any], Awaitable[Response]]:
    """Return what turns an endpoint's value into the declared response, as FastAPI's handler does."""
    status: int = context.status_code or 200
    response_field = context.response_field

    async def respond(value: Any) -> Response:
        if response_field is None:
            return JSONResponse(await serialize_response(response_content=value), status_code=status)
        content: bytes = await serialize_response(
            field=response_field,
            response_content=value,
            exclude_none=context.response_model_exclude_none,
            exclude_unset=context.response_model_exclude_unset,
            dump_json=True,
        )
        return JSONBytes(content, status)

    async def respond_without_content(_value: Any) -> Response:
        return Response(status_code=status)

    return respond_without_content if status in {204, 304} else respond
