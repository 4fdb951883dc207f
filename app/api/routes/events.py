"""Live events: tickets over HTTP, frames over a WebSocket. ``docs/how-to/live-events.md`` is the reference of the frames."""

import asyncio
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Query, WebSocket

from app.api.deps import CurrentUser, Resources
from app.core import context, metrics, tickets
from app.core.errors import Forbidden, Problem, Unauthorized
from app.core.http.cors import normalise
from app.core.http.frames import EXTENSION, Connection
from app.core.http.route import Route
from app.core.principals import Principals
from app.core.resources import Resources as ResourcesModel
from app.core.security import Principal
from app.schemas.event import Ticket
from app.services.events import Hub

router = APIRouter(prefix="/ws", tags=["live events"], route_class=Route)

CLOSE_INTERNAL_ERROR: Final = 1011
#: Close codes that metrics tell apart; a client may send any other.
KNOWN_CODES: Final = frozenset({1000, 1001, 1005, 1006, 1009, 1011, 1012, 1013, 4401})
#: Clients have nothing to say: what they say is read at this pace and thrown away, so that saying much costs them alone.
SECONDS_PER_MESSAGE: Final = 0.05


class UpgradeRequired(Problem):
    """426: a plain request where a WebSocket was expected (RFC 9110, 15.5.22)."""

    status = 426
    slug = "upgrade-required"
    title = "Upgrade required"
    description = "This path speaks WebSocket (RFC 6455); connect to it with a WebSocket client."

    def __init__(self) -> None:
        super().__init__(headers={"Upgrade": "websocket", "Connection": "Upgrade"})


@router.post("/tickets", status_code=201)
async def create_ticket(user: CurrentUser, held: Resources) -> Ticket:
    """Draw a ticket for one live-event socket.

    Browsers cannot send a header when they open a WebSocket; a ticket in the query stands in for it. It is good for one
    connection to `GET /api/v1/ws?ticket=...` and for 30 seconds.
    """
    return Ticket(ticket=await tickets.issue(held.redis, user), expires_in=tickets.LIFE_SECONDS)


@router.get("", include_in_schema=False)
async def refuse_plain_request() -> None:
    """Tell who comes without a WebSocket what this path is for."""
    raise UpgradeRequired


async def refuse_foreign_origin(websocket: WebSocket) -> None:
    """Refuse pages of other sites, which a browser would let connect with its user's credentials (RFC 6455, 10.2).

    Raises:
        Forbidden: if there is an ``Origin`` that is neither allowed nor the API's own.
    """
    origin = websocket.headers.get("origin")
    if origin is None:
        return
    settings = websocket.app.state.resources.settings
    scheme = "https" if websocket.scope["scheme"] == "wss" else "http"
    own = f"{scheme}://{websocket.headers.get('host', '')}"
    if normalise(origin) not in map(normalise, [own, settings.PUBLIC_URL, *settings.ALLOWED_ORIGINS]):
        raise Forbidden("Pages of this origin may not open sockets here; add it to ALLOWED_ORIGINS.")


async def socket_user(websocket: WebSocket, ticket: Annotated[str | None, Query(min_length=1, max_length=128)] = None) -> Principal:
    """Return whom the ticket, or else the access token in the header, stands for.

    Raises:
        Unauthorized: if there is neither, or it does not hold.
    """
    held: ResourcesModel = websocket.app.state.resources
    if ticket is not None:
        principal = await tickets.redeem(held.redis, ticket)
    else:
        principal = await _bearer(websocket)
    context.user_id.set(principal.user_id)
    return principal


async def _bearer(websocket: WebSocket) -> Principal:
    given = websocket.headers.get("authorization")
    if given is None:
        raise Unauthorized("Send a ticket as `?ticket=`, or a valid access token as `Authorization: Bearer <token>`.")
    principals: Principals = websocket.app.state.principals
    authorization = given.encode("latin-1")
    return principals.remembered(authorization) or await principals.verify(authorization)


@router.websocket("", dependencies=[Depends(refuse_foreign_origin)])
async def follow_events(
    websocket: WebSocket,
    user: Annotated[Principal, Depends(socket_user)],
    last_event_id: Annotated[str | None, Query(min_length=1, max_length=64)] = None,
) -> None:
    """Send the user's events until either side closes."""
    hub: Hub = websocket.app.state.hub
    connection: Connection = websocket.scope["extensions"][EXTENSION]
    socket = await hub.join(user, connection)
    try:
        await websocket.accept()
        async with asyncio.TaskGroup() as tasks:
            following = tasks.create_task(hub.follow(socket, last_event_id), name="follow events")
            code = await _closed(websocket)
            following.cancel()
    except Exception:
        connection.close(CLOSE_INTERNAL_ERROR, "internal error")
        _count_close(CLOSE_INTERNAL_ERROR)
        raise
    finally:
        hub.leave(socket)
    _count_close(code)


def _count_close(code: int) -> None:
    metrics.WEBSOCKET_CLOSES.labels(str(code) if code in KNOWN_CODES else "other").inc()


async def _closed(websocket: WebSocket) -> int:
    """Wait for the end of a connection and return its close code."""
    while True:
        message = await websocket.receive()
        if message["type"] == "websocket.disconnect":
            code: int = message["code"]
            return code
        await asyncio.sleep(SECONDS_PER_MESSAGE)
