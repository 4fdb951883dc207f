"""A compiled route answers as FastAPI's own handler does."""

from collections.abc import AsyncGenerator
from typing import Annotated, Any

import httpx
import pytest
from fastapi import APIRouter, BackgroundTasks, Body, Depends, FastAPI, Form, Header, Path, Query, Request, Response
from fastapi.routing import APIRoute, iter_route_contexts
from pydantic import BaseModel, Field
from starlette.types import Receive, Scope, Send

from app.core.errors import Forbidden
from app.core.http import problems
from app.core.http.body import StrictRequest
from app.core.http.compile import NotCompilable, Plan, compile_route
from app.core.http.route import Route

calls: list[str] = []


class Thing(BaseModel):
    """A body and an answer."""

    name: str = Field(min_length=2)
    size: int = 3


class Page(BaseModel):
    """Query parameters of a listing."""

    limit: int = Field(default=10, le=100)
    tags: list[str] = []


async def shared() -> str:
    calls.append("shared")
    return "shared"


async def first(value: Annotated[str, Depends(shared)], number: Annotated[int, Query(ge=0)] = 1) -> str:
    return f"{value}-{number}"


async def second(value: Annotated[str, Depends(shared)], x_tag: Annotated[str | None, Header()] = None) -> str:
    return f"{value}+{x_tag}"


def in_a_thread(request: Request) -> str:
    return request.method


async def opened(value: Annotated[str, Depends(shared)]) -> AsyncGenerator[str]:
    calls.append("opened")
    try:
        yield value
    except Forbidden:
        calls.append("failed")
        raise
    calls.append("closed")


async def guarded(key: Annotated[int, Query()]) -> int:
    calls.append("guarded")
    if key == 0:
        raise Forbidden
    return key


router = APIRouter(route_class=Route)


@router.get("/combined/{thing_id}")
async def combined(
    thing_id: Annotated[int, Path(ge=1)],
    one: Annotated[str, Depends(first)],
    two: Annotated[str, Depends(second)],
    method: Annotated[str, Depends(in_a_thread)],
    flag: bool = False,  # noqa: FBT001, FBT002  # a query parameter
) -> dict[str, Any]:
    return {"id": thing_id, "one": one, "two": two, "method": method, "flag": flag}


@router.get("/page")
async def page(query: Annotated[Page, Query()]) -> Page:
    return query


@router.post("/things", status_code=201)
async def make(thing: Thing, value: Annotated[str, Depends(opened, scope="function")]) -> Thing:
    calls.append(f"made {value}")
    return thing


@router.post("/many")
async def many(things: Annotated[list[Thing], Body(max_length=2)]) -> list[Thing]:
    return things


@router.delete("/things/{name}", status_code=204)
async def remove(name: str, key: Annotated[int, Depends(guarded)], value: Annotated[str, Depends(opened, scope="function")]) -> None:
    if name == "kept":
        raise Forbidden(f"{name} {key} {value}")


@router.get("/raw")
async def raw() -> Response:
    return Response("raw", headers={"X-Own": "yes"}, media_type="text/plain")


@pytest.fixture(scope="module")
def plain() -> FastAPI:
    """The routes behind FastAPI's own handlers."""
    app = FastAPI()
    app.include_router(router, prefix="/v1")
    problems.install(app)
    return app


@pytest.fixture(scope="module")
def plans(plain: FastAPI) -> dict[tuple[str, str], tuple[Any, Plan]]:
    """The same routes compiled."""
    routes = [found for found in iter_route_contexts(plain.routes) if isinstance(found.original_route, APIRoute)]
    return {(method, found.path or ""): (found, compile_route(found)) for found in routes for method in found.methods or ()}


@pytest.fixture
async def both(plain: FastAPI, plans: Any) -> AsyncGenerator[tuple[httpx.AsyncClient, httpx.AsyncClient]]:
    """A client of FastAPI's handlers and one of the compiled routes."""

    async def compiled(scope: Scope, receive: Receive, send: Send) -> None:
        for (method, _), (found, plan) in plans.items():
            match = found.path_regex.match(scope["path"])
            if method == scope["method"] and match:
                scope["path_params"] = match.groupdict()
                try:
                    response = await plan.run(StrictRequest(scope, receive))
                except Exception as error:  # noqa: BLE001  # as the dispatcher does
                    response = problems.to_response(problems.render(problems.from_exception(error), request_id="", instance=scope["path"]))
                await response(scope, receive, send)

    async with (
        httpx.AsyncClient(transport=httpx.ASGITransport(plain), base_url="http://test") as slow,
        httpx.AsyncClient(transport=httpx.ASGITransport(compiled), base_url="http://test") as fast,
    ):
        yield slow, fast


JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize(
    ("method", "path", "options"),
    [
        ("GET", "/v1/combined/7", {}),
        ("GET", "/v1/combined/7?number=5&flag=true", {"headers": {"X-Tag": "t"}}),
        ("GET", "/v1/combined/0?number=-1&flag=maybe", {}),
        ("GET", "/v1/combined/x", {}),
        ("GET", "/v1/page", {}),
        ("GET", "/v1/page?limit=5&tags=a&tags=b", {}),
        ("GET", "/v1/page?limit=500", {}),
        ("POST", "/v1/things", {"json": {"name": "ab"}}),
        ("POST", "/v1/things", {"json": {"name": "a", "size": "big"}}),
        ("POST", "/v1/things", {"json": [1]}),
        ("POST", "/v1/things", {"json": None}),
        ("POST", "/v1/things", {"content": b"{", "headers": JSON}),
        ("POST", "/v1/things", {"content": b'{"name": "\xff"}', "headers": JSON}),
        ("POST", "/v1/things", {"content": b"", "headers": JSON}),
        ("POST", "/v1/things", {"content": b"name=ab", "headers": {"Content-Type": "application/x-www-form-urlencoded"}}),
        ("POST", "/v1/things", {"content": b'{"name":"ab"}', "headers": {"Content-Type": "application/vnd.thing+json"}}),
        ("POST", "/v1/many", {"json": [{"name": "ab"}, {"name": "cd", "size": 1}]}),
        ("POST", "/v1/many", {"json": [{"name": "ab"}, {"name": "c"}]}),
        ("POST", "/v1/many", {"json": [{"name": "ab"}] * 3}),
        ("DELETE", "/v1/things/a?key=1", {}),
        ("DELETE", "/v1/things/a?key=0", {}),
        ("DELETE", "/v1/things/a", {}),
        ("DELETE", "/v1/things/kept?key=2", {}),
        ("GET", "/v1/raw", {}),
    ],
)
async def test_the_same_request_gets_the_same_answer(both: Any, method: str, path: str, options: dict[str, Any]) -> None:
    answers: list[Any] = []
    for client in both:
        calls.clear()
        answers.append(_essence(await client.request(method, path, **options)))
    assert answers[1] == answers[0]
    assert answers[0][0] < 500


def _essence(response: httpx.Response) -> tuple[Any, ...]:
    """Return what must be the same.

    Left out: the words pydantic finds for JSON where FastAPI gives it Python, and which dependencies ran before a body was
    found not to be JSON. FastAPI says that an empty answer is JSON; the compiled route does not.
    """
    if response.status_code == 204:
        return 204, response.content, calls[:]
    if response.status_code == 400:
        return 400, response.json()["type"]
    if response.status_code == 422:
        return 422, [error["pointer"] for error in response.json()["errors"]], calls[:]
    return response.status_code, response.content, response.headers.get("content-type"), response.headers.get("x-own"), calls[:]


def _contexts(*endpoints: Any) -> Any:
    app = FastAPI()
    for endpoint in endpoints:
        app.post("/x")(endpoint)
    return [found for found in iter_route_contexts(app.routes) if isinstance(found.original_route, APIRoute)]


async def late() -> AsyncGenerator[int]:
    yield 1


def blocking() -> Any:
    yield 1


async def with_form(name: Annotated[str, Form()]) -> None: ...
async def with_two_bodies(one: Thing, two: Thing) -> None: ...
async def with_an_optional_body(one: Thing | None = None) -> None: ...
async def with_tasks(tasks: BackgroundTasks) -> None: ...
async def with_a_response(response: Response) -> None: ...
async def with_a_late_generator(value: Annotated[int, Depends(late)]) -> None: ...
async def with_a_blocking_generator(value: Annotated[int, Depends(blocking)]) -> None: ...
def in_a_thread_itself() -> None: ...


@pytest.mark.parametrize(
    "endpoint",
    [
        with_form,
        with_two_bodies,
        with_an_optional_body,
        with_tasks,
        with_a_response,
        with_a_late_generator,
        with_a_blocking_generator,
        in_a_thread_itself,
    ],
)
def test_what_the_compiler_does_not_know_is_left_to_fastapi(endpoint: Any) -> None:
    for context in _contexts(endpoint):
        with pytest.raises(NotCompilable):
            compile_route(context)
