"""The one middleware: what every request needs, done once and in one place, then straight to its route.

A compiled route (``app.core.http.compile``) is found by a walk over the path's segments and run here; whatever is not
compiled, not found or not allowed goes through FastAPI's own stack and comes back marked in the same way.
"""

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from time import perf_counter
from typing import Any, Final, cast

from fastapi import FastAPI
from starlette.responses import Response

from app.core import context, metrics
from app.core.config import Settings
from app.core.errors import MethodNotAllowed, NotFound, Problem
from app.core.http import body, headers, problems, strict
from app.core.http.compile import HEADERS, JSONBytes, Plan
from app.core.http.cors import Cors
from app.core.http.direct import Direct, encode, head, is_one_piece
from app.core.http.limits import Decision, Limits
from app.core.http.policies import POLICIES
from app.core.http.protocol import HttpProtocol
from app.core.http.proxy import Hosts, Proxies, subscriber
from app.core.http.routing import UPGRADE, Entry, RouteTable
from app.core.logging import access
from app.core.principals import Principals

type Scope = Any
type Message = Any
type Receive = Callable[[], Awaitable[Message]]
type Send = Callable[[Message], Awaitable[None]]
type Headers = list[tuple[bytes, bytes]]

UNMATCHED: Final = "none"
#: Where the scope holds whom the request speaks for, ``None`` until its token is verified.
PRINCIPAL: Final = "platform.principal"
WITH_BODY: Final = frozenset({"POST", "PUT", "PATCH", "DELETE"})


class Exchange:
    """One request and what is known of its answer so far."""

    __slots__ = ("cors", "decision", "entry", "method", "path", "request_id", "scope", "size", "started", "status", "template")

    def __init__(self, scope: Scope, entry: Entry | None, request_id: str, cors: Headers) -> None:
        self.started = perf_counter()
        self.scope = scope
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.entry = entry
        self.template = UNMATCHED if entry is None else entry.template
        self.request_id = request_id
        self.cors = cors
        self.decision: Decision | None = None
        self.status = 0
        self.size = 0

    def mark(self, given: Headers) -> Headers:
        """Add to a response's headers what every response carries."""
        given.append((b"x-request-id", self.request_id.encode()))
        headers.add_security(given, https=self.scope["scheme"] in {"https", "wss"})
        if self.decision is not None:
            given.extend(self.decision.headers)
        given.extend(self.cors)
        return given


class Dispatch:
    """The outermost ASGI application.

    Args:
        app: The application, all routers included.
        inner: FastAPI's own stack, which answers what is not compiled.
        settings: Hosts, proxies and origins.
    """

    limits: Limits
    principals: Principals

    def __init__(self, app: FastAPI, inner: Callable[..., Awaitable[None]], settings: Settings) -> None:
        self._inner = inner
        self._app = app
        self._table = RouteTable(app, settings.API_V1_STR)
        self._hosts = Hosts(settings.ALLOWED_HOSTS)
        self._proxies = Proxies(settings.TRUSTED_PROXIES)
        self._cors = Cors(settings.ALLOWED_ORIGINS)
        self.in_flight = 0
        metrics.sample(metrics.IN_FLIGHT, lambda: self.in_flight)
        self.find = self._table.find

    def start(self, limits: Limits, principals: Principals) -> None:
        """Begin with what the process has opened."""
        self.limits, self.principals = limits, principals
        self._table.forget()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request; the lifespan goes straight through."""
        scope["app"] = self._app
        if scope["type"] == "lifespan":
            await self._inner(scope, receive, send)
            return
        self._proxies.apply(scope)
        given = scope[HEADERS] = dict(scope["headers"])
        entry, segments = self._table.find(scope.setdefault("method", UPGRADE), scope["path"])
        origin = given.get(b"origin")
        exchange = Exchange(scope, entry, headers.request_id(given.get(b"x-request-id")), self._cors.headers(origin))
        context.request_id.set(exchange.request_id)
        context.traceparent.set(headers.traceparent(given.get(b"traceparent")))
        if scope["type"] == "websocket":
            await self._upgrade(exchange, given, receive, send)
            return
        self.in_flight += 1
        try:
            await self._answer(exchange, given, segments, receive, send)
        finally:
            self.in_flight -= 1
            self._record(exchange)

    async def _answer(self, exchange: Exchange, given: dict[bytes, bytes], segments: list[str], receive: Receive, send: Send) -> None:
        scope, entry = exchange.scope, exchange.entry
        try:
            self._refuse_unclear(exchange, given)
            if exchange.method == "OPTIONS" and b"access-control-request-method" in given and b"origin" in given:
                exchange.cors = self._cors.preflight(given[b"origin"])
                await _send_head(exchange, send, 204, [])
                return
            await self._limit(exchange, given.get(b"authorization"))
            if exchange.method in WITH_BODY:
                limit = body.MAX_BODY_BYTES if entry is None else entry.body_limit
                body.refuse_large(body.declared_length(scope["headers"]), limit)
                receive = body.limited(receive, limit)
            if entry is None and await self._answered_beside(exchange, segments, send):
                return
            if entry is None or entry.plan is None:
                await self._inner(_as_get(scope), receive, _marking(exchange, send))
                return
            scope["path_params"] = {name: segments[position] for name, position in entry.parameters}
            response = await entry.plan.run(body.StrictRequest(scope, receive, send))
        except Exception as error:  # noqa: BLE001  # the outermost place: whatever it is, the client gets an answer
            if not exchange.status:
                await _send_problem(exchange, send, problems.from_exception(error))
            return
        await _send_response(exchange, receive, send, response)

    async def direct(self, scope: Scope, request: Direct, wire: HttpProtocol) -> None:
        """Answer a request that has arrived as a whole, without ASGI's messages.

        Args:
            scope: Its ASGI scope.
            request: The request.
            wire: Where its answer goes.
        """
        scope["app"] = self._app
        given = request.given
        if self._proxies.apply(scope):
            given = scope[HEADERS] = dict(scope["headers"])
        exchange = Exchange(scope, request.entry, headers.request_id(given.get(b"x-request-id")), self._cors.headers(given.get(b"origin")))
        context.request_id.set(exchange.request_id)
        if b"traceparent" in given:
            context.traceparent.set(headers.traceparent(given[b"traceparent"]))
        self.in_flight += 1
        try:
            self._refuse_unclear(exchange, given)
            await self._limit(exchange, given.get(b"authorization"))
            body.refuse_large(len(request.body), request.entry.body_limit)
            scope["path_params"] = {name: request.segments[position] for name, position in request.entry.parameters}
            response = await cast("Plan", request.entry.plan).run(body.WholeRequest(scope, request.body))
            if wire.flow.write_paused:
                await wire.flow.drain()
            if is_one_piece(response):
                status, content = response.status_code, cast("bytes", response.body)
                if type(response) is JSONBytes and response.further is not None:
                    wire.answer(request, _rendered(exchange, request, wire, status, response.further, content, json=True))
                else:
                    wire.answer(request, _rendered(exchange, request, wire, status, response.raw_headers, content))
            else:
                cycle = wire.asgi_cycle(request, scope)
                await response(scope, cast("Any", cycle.receive), _marking(exchange, cast("Any", cycle.send)))
        except Exception as error:  # noqa: BLE001  # the outermost place: whatever it is, the client gets an answer
            problem = problems.from_exception(error)
            if exchange.status:  # part of an answer is out, and its end never comes
                wire.transport.close()
            else:
                wire.answer(
                    request,
                    _rendered(exchange, request, wire, *problems.render(problem, request_id=exchange.request_id, instance=exchange.path)),
                )
        finally:
            self.in_flight -= 1
            self._record(exchange)

    async def _answered_beside(self, exchange: Exchange, segments: list[str], send: Send) -> bool:
        """Answer what is beside a route, by its method or by a slash at the end; tell whether it was."""
        if allowed := self._table.allowed(segments):
            await _send_allowed(exchange, send, allowed)
            return True
        path: bytes = exchange.scope["raw_path"]
        slashed = path.endswith(b"/")
        other = segments[:-1] if slashed else [*segments, ""]
        if not any(other[-2:]) or (slashed and not other[-1]) or not self._table.allowed(other):
            return False
        query: bytes = exchange.scope["query_string"]
        location = (path[:-1] if slashed else path + b"/") + (b"?" + query if query else b"")
        await _send_head(exchange, send, HTTPStatus.TEMPORARY_REDIRECT, [(b"location", location), (b"content-length", b"0")])
        return True

    async def _upgrade(self, exchange: Exchange, given: dict[bytes, bytes], receive: Receive, send: Send) -> None:
        """Let a WebSocket through to its route, or refuse it before the upgrade; taken down as answered with 101."""
        marked = _marking(exchange, send, self._record)
        try:
            self._refuse_unclear(exchange, given)
            await self._limit(exchange, given.get(b"authorization"))
            await self._inner(exchange.scope, receive, marked)
        except Exception as error:
            if exchange.status:
                raise
            response = problems.to_response(
                problems.render(problems.from_exception(error), request_id=exchange.request_id, instance=exchange.path)
            )
            await response(exchange.scope, receive, marked)

    def _refuse_unclear(self, exchange: Exchange, given: dict[bytes, bytes]) -> None:
        """Refuse what is for another host, or could be read in two ways."""
        scope, entry = exchange.scope, exchange.entry
        if entry is None or entry.policy is not None:  # probes of the platform name the pod by its address
            self._hosts.refuse_foreign(scope["headers"])
        if len(given) != len(scope["headers"]):
            strict.refuse_doubled(scope["headers"])
        query: bytes = scope["query_string"]
        if b"%" in query or not query.isascii():
            strict.refuse_broken_escapes(query, "query of the URL")

    async def _limit(self, exchange: Exchange, authorization: bytes | None) -> None:
        """Count the request against its caller: whom a remembered token speaks for, else the client's address.

        Raises:
            TooManyRequests: if the caller is over the route's limit.
        """
        scope, entry = exchange.scope, exchange.entry
        principal = None if authorization is None else self.principals.remembered(authorization)
        scope[PRINCIPAL] = principal
        if principal is not None:
            context.user_id.set(principal.user_id)
        policy = POLICIES["read"] if entry is None else entry.policy
        if policy is None:
            return
        client: tuple[str, int] | None = scope["client"]
        caller = principal.user_id if principal is not None else subscriber(client[0] if client else "")
        decision = self.limits.spend(policy, caller) or await self.limits.lease(policy, caller)
        if not decision.allowed:
            raise decision.problem()
        exchange.decision = decision

    def _record(self, exchange: Exchange) -> None:
        seconds = perf_counter() - exchange.started
        client = exchange.scope["client"]
        metrics.observe_request(exchange.template, exchange.method, exchange.status, seconds)
        access(
            exchange.method,
            exchange.template,
            exchange.path,
            exchange.status,
            seconds * 1000,
            exchange.size,
            exchange.request_id,
            context.user_id.get(),
            None if client is None else client[0],
        )


def _rendered(  # what an answer is
    exchange: Exchange, request: Direct, wire: HttpProtocol, status: int, given: Headers, content: bytes, *, json: bool = False
) -> bytes:
    """Return an answer as it goes out, and take down its status and size."""
    first = head(status, given, wire.every_answer, https=exchange.scope["scheme"] == "https", size=len(content), json=json)
    exchange.status, exchange.size = status, len(content)
    limit = b"" if exchange.decision is None else exchange.decision.lines
    closing = b"" if request.keep_alive else b"connection: close\r\n"
    id_line = b"x-request-id: %b\r\n" % exchange.request_id.encode()
    return b"".join((first, id_line, limit, encode(exchange.cors), closing, b"\r\n", content))


async def _send_allowed(exchange: Exchange, send: Send, allowed: str) -> None:
    """Answer OPTIONS (RFC 9110, 9.3.7), and any other method that its path does not take."""
    if exchange.method == "OPTIONS":
        await _send_head(exchange, send, 204, [(b"allow", allowed.encode())])
    else:
        await _send_problem(exchange, send, MethodNotAllowed(headers={"Allow": allowed}))


def _as_get(scope: Scope) -> Scope:
    """Return the scope of a HEAD request as that of the GET it stands for (RFC 9110, 9.3.2); the server leaves out the content."""
    return {**scope, "method": "GET"} if scope["method"] == "HEAD" else scope


async def _send_head(exchange: Exchange, send: Send, status: int, given: Headers) -> None:
    exchange.status = status
    await send({"type": "http.response.start", "status": status, "headers": exchange.mark(given)})
    await send({"type": "http.response.body", "body": b""})


async def _send_problem(exchange: Exchange, send: Send, problem: Problem) -> None:
    status, given, content = problems.render(problem, request_id=exchange.request_id, instance=exchange.path)
    exchange.status, exchange.size = status, len(content)
    await send({"type": "http.response.start", "status": status, "headers": exchange.mark(given)})
    await send({"type": "http.response.body", "body": content})


async def _send_response(exchange: Exchange, receive: Receive, send: Send, response: Response) -> None:
    content: bytes | None = getattr(response, "body", None)
    if content is None or response.background is not None:  # a stream or a file
        await response(exchange.scope, receive, _marking(exchange, send))
        return
    exchange.status, exchange.size = response.status_code, len(content)
    await send({"type": "http.response.start", "status": response.status_code, "headers": exchange.mark(response.raw_headers)})
    await send({"type": "http.response.body", "body": content})


def _marking(exchange: Exchange, send: Send, answered: Callable[[Exchange], None] = lambda _: None) -> Send:
    """Return a ``send`` that marks the answer of whoever sends it, takes down its status and size, and tells when it is out."""

    async def send_marked(message: Message) -> None:
        kind = message["type"].removeprefix("websocket.")
        if kind == "http.response.start":
            exchange.status = message["status"]
            message = {**message, "headers": exchange.mark([(name.lower(), value) for name, value in message.get("headers", ())])}
        elif kind == "http.response.body":
            exchange.size += len(message.get("body", b""))
        elif kind == "accept":
            exchange.status = HTTPStatus.SWITCHING_PROTOCOLS
            message = {**message, "headers": [*message.get("headers", ()), (b"x-request-id", exchange.request_id.encode())]}
        elif kind == "close" and not exchange.status:  # the router found no route
            raise NotFound
        await send(message)
        if kind == "accept" or (kind == "http.response.body" and not message.get("more_body")):
            answered(exchange)

    return send_marked


def install(app: FastAPI, settings: Settings) -> Dispatch:
    """Put the dispatcher around an application and return it. Call it when every router is included."""
    dispatcher = Dispatch(app, app.build_middleware_stack(), settings)
    app.middleware_stack = dispatcher
    return dispatcher
