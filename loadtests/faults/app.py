"""The service with a fault: ``gunicorn 'loadtests.faults.app:create_app()'`` with ``LOADTEST_FAULT`` naming it.

The application is the one that ships; what is wrong with it is wrapped around it here. ``none`` wraps it and does nothing, so
that builds without a fault differ from those with one by the fault alone.
"""

import asyncio
import os
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from sqlalchemy import Integer, bindparam, select

from app.core.statement import Statement
from app.main import create_app as create_service

type Message = dict[str, Any]
type Receive = Callable[[], Awaitable[Message]]
type Send = Callable[[Message], Awaitable[None]]
type Application = Any

VARIABLE: Final = "LOADTEST_FAULT"
ITEMS: Final = "/api/v1/items/"
#: Rows of a page, each asked for once more.
PAGE: Final = 20
FREEZE_SECONDS: Final = 2.0
#: Requests after which the freeze comes: some seconds into the load.
FREEZE_AFTER: Final = 700
SHARE_OF_ERRORS: Final = 0.01
SHARE_OF_WRONG_BODIES: Final = 0.01
SHARE_OF_SLOW: Final = 0.02
SLOW_SECONDS: Final = 0.15
EXTRA_CPU: Final = 0.1
ONE_ROW: Final = Statement(select(bindparam("row", type_=Integer)), "row")
PROBLEM: Final = b'{"type":"/errors/internal-error","title":"Internal error","status":500}'


class Faulty:
    """The service as an ASGI application, with a fault.

    Args:
        service: The application that ships.
    """

    def __init__(self, service: Application) -> None:
        self.service = service
        self.state = service.state
        self.chance = random.Random(2013)  # noqa: S311  # repeatable, not secret
        self.requests = 0

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        """Serve a request; whatever is no request goes straight through."""
        if scope["type"] != "http" or scope["path"].startswith("/health"):
            await self.service(scope, receive, send)
        else:
            self.requests += 1
            await self.serve(scope, receive, send)

    async def serve(self, scope: Any, receive: Receive, send: Send) -> None:
        """Serve a request."""
        await self.service(scope, receive, send)


class ExtraCpu(Faulty):
    """A tenth more processor time: after each request, a tenth of what the process used since the last one."""

    def __init__(self, service: Application) -> None:
        super().__init__(service)
        self._seen = time.process_time()

    async def serve(self, scope: Any, receive: Receive, send: Send) -> None:
        """Serve a request and burn."""
        await self.service(scope, receive, send)
        ends = time.process_time() + (time.process_time() - self._seen) * EXTRA_CPU
        while time.process_time() < ends:
            pass
        self._seen = time.process_time()


class NPlusOne(Faulty):
    """A statement for every row of a listing."""

    async def serve(self, scope: Any, receive: Receive, send: Send) -> None:
        """Serve a request; a listing asks for its rows one by one before."""
        if scope["method"] == "GET" and scope["path"] == ITEMS:
            for row in range(PAGE):
                await self.state.resources.database.autocommit.value(ONE_ROW, row)
        await self.service(scope, receive, send)


class Freeze(Faulty):
    """The event loop stands still once, for two seconds."""

    async def serve(self, scope: Any, receive: Receive, send: Send) -> None:
        """Serve a request; one of them blocks all others."""
        if self.requests == FREEZE_AFTER:
            time.sleep(FREEZE_SECONDS)  # noqa: ASYNC251  # that is the fault
        await self.service(scope, receive, send)


class Errors(Faulty):
    """One request of a hundred is answered with 500."""

    async def serve(self, scope: Any, receive: Receive, send: Send) -> None:
        """Serve a request, or fail."""
        if self.chance.random() < SHARE_OF_ERRORS:
            await send({"type": "http.response.start", "status": 500, "headers": [(b"content-type", b"application/problem+json")]})
            await send({"type": "http.response.body", "body": PROBLEM})
        else:
            await self.service(scope, receive, send)


class WrongBody(Faulty):
    """One item of a hundred that are read has another title, of the same length."""

    async def serve(self, scope: Any, receive: Receive, send: Send) -> None:
        """Serve a request, its body changed where it is an item's turn."""
        reads_item = scope["method"] == "GET" and scope["path"].startswith(ITEMS) and scope["path"] != ITEMS
        if not reads_item or self.chance.random() >= SHARE_OF_WRONG_BODIES:
            await self.service(scope, receive, send)
            return

        async def changed(message: Message) -> None:
            if message["type"] == "http.response.body":
                message = message | {"body": message["body"].replace(b'"title":"load', b'"title":"loud')}
            await send(message)

        await self.service(scope, receive, changed)


class SlowTail(Faulty):
    """Two requests of a hundred take 150 ms longer; the median does not move."""

    async def serve(self, scope: Any, receive: Receive, send: Send) -> None:
        """Serve a request, late where its turn comes."""
        if self.chance.random() < SHARE_OF_SLOW:
            await asyncio.sleep(SLOW_SECONDS)
        await self.service(scope, receive, send)


FAULTS: Final[Mapping[str, type[Faulty]]] = {
    "none": Faulty,
    "cpu": ExtraCpu,
    "n-plus-one": NPlusOne,
    "freeze": Freeze,
    "errors": Errors,
    "wrong-body": WrongBody,
    "slow-tail": SlowTail,
}


def create_app() -> Faulty:
    """Return the service with the fault that the environment names."""
    return FAULTS[os.environ[VARIABLE]](create_service())
