"""Every API route by path and method."""

from dataclasses import dataclass
from typing import Final

from fastapi import FastAPI
from fastapi.routing import APIRoute, APIWebSocketRoute, RouteContext, iter_route_contexts

from app.core.http import body
from app.core.http.compile import NotCompilable, Plan, compile_route
from app.core.http.policies import Policy, policy_of

#: Stands for the method where a request becomes a WebSocket.
UPGRADE: Final = "WEBSOCKET"


@dataclass(slots=True, frozen=True)
class Entry:
    """A route as the dispatcher knows it.

    Attributes:
        template: Its path with parameters in braces, as metrics and logs name it.
        parameters: Names of the path's parameters and their positions among its segments.
        plan: How to run it, ``None`` where FastAPI's own handler does.
        body_limit: Largest body in bytes.
        policy: Its rate limit, ``None`` where it has none.
    """

    template: str
    parameters: tuple[tuple[str, int], ...]
    plan: Plan | None
    body_limit: int
    policy: Policy | None


class _Node:
    """A segment of the paths known: what may follow it, and the routes that end here by method."""

    __slots__ = ("any", "by_name", "entries")

    def __init__(self) -> None:
        self.by_name: dict[str, _Node] = {}
        self.any: _Node | None = None
        self.entries: dict[str, Entry] = {}

    def below(self, segment: str) -> "_Node":
        """Return the node of a segment of a template, made if need be."""
        if not segment.startswith("{"):
            return self.by_name.setdefault(segment, _Node())
        self.any = self.any or _Node()
        return self.any


class RouteTable:
    """Every API route by path and method; a look-up costs one dictionary access per segment.

    Args:
        app: The application, all routers included.
        base: Base path of the API.

    Raises:
        LookupError: if a route has no rate limit.
    """

    def __init__(self, app: FastAPI, base: str) -> None:
        self._root = _Node()
        self._base = base
        self._plans: list[Plan] = []
        self._literal: dict[str, _Node] = {}
        for found in iter_route_contexts(app.routes):
            if isinstance(found.original_route, APIRoute):
                self._add(found)
            elif isinstance(found.original_route, APIWebSocketRoute):
                self._add_socket(found)

    def _add(self, route: RouteContext) -> None:
        template = route.path_format or ""
        if any(":" in segment for segment in (route.path or "").split("/")):
            return  # a converter of Starlette's: its own router knows it
        segments = template.split("/")
        parameters = tuple((segment[1:-1], position) for position, segment in enumerate(segments) if segment.startswith("{"))
        try:
            plan = compile_route(route)
            self._plans.append(plan)
        except NotCompilable:
            plan = None
        node = self._root
        for segment in segments:
            node = node.below(segment)
        if not parameters:
            self._literal[template] = node
        for method in route.methods or ():
            policy = policy_of(method, template, self._base)
            entry = Entry(template, parameters, plan, route.max_body_size or body.MAX_BODY_BYTES, policy)
            node.entries.setdefault(method, entry)
            if method == "GET":
                node.entries.setdefault("HEAD", entry)

    def _add_socket(self, route: RouteContext) -> None:
        template = route.path_format or ""
        node = self._root
        for segment in template.split("/"):
            node = node.below(segment)
        node.entries[UPGRADE] = Entry(template, (), None, 0, policy_of(UPGRADE, template, self._base))

    def find(self, method: str, path: str) -> tuple[Entry | None, list[str]]:
        """Return the route of a request, if it has one, and the path's segments. A literal segment goes before a parameter."""
        segments = path.split("/")
        node = self._literal.get(path) or self._walk(segments)
        return (None if node is None else node.entries.get(method)), segments

    def forget(self) -> None:
        """Have every compiled route ask again for what it keeps for the life of the process."""
        for plan in self._plans:
            plan.forget()

    def allowed(self, segments: list[str]) -> str:
        """Return the methods of a path as ``Allow`` lists them, nothing for a path that is not known."""
        node = self._walk(segments)
        methods: set[str] = set() if node is None else node.entries.keys() - {UPGRADE}
        return ", ".join(sorted({*methods, "OPTIONS"})) if methods else ""

    def _walk(self, segments: list[str]) -> _Node | None:
        node = self._root
        for segment in segments:
            below = node.by_name.get(segment) or (node.any if segment else None)
            if below is None:
                return None
            node = below
        return node
