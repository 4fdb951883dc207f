"""Live events: which sockets of this process see what, from their user's stream in Redis.

A user's channel is listened to while the user has a socket here. Every socket of a channel is at the same position of
the stream, so an event is encoded once and written to each as it is. A socket that resumes reads what it missed first
and joins the others where it meets them: nothing comes twice and nothing is left out. What cannot be made good, because
Redis trimmed or forgot it, is said: ``events.missed`` tells the client to load its state anew.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, suppress
from itertools import batched
from typing import Final
from uuid import UUID

from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from app.core import metrics, streams
from app.core.descriptors import allow_descriptors
from app.core.drain import Drain
from app.core.errors import Problem, ServiceUnavailable, TooManyRequests
from app.core.http.frames import Connection
from app.core.resources import Resources
from app.core.revocations import Revocations, Subject
from app.core.security import Principal
from app.core.statement import Runner
from app.core.streams import Page, StreamId
from app.core.subscriber import Subscriber
from app.crud import session as sessions
from app.services.event_channel import Channel, Socket, count_delivered, parse_position, revoked_frame

CLOSE_RESTART: Final = 1012
CLOSE_TRY_AGAIN: Final = 1013
CLOSE_SESSION_OVER: Final = 4401

#: How often the sessions behind the sockets are looked up.
SESSION_CHECK_SECONDS: Final = 0.5
#: Streams read in one round trip after Redis came back.
CHANNELS_PER_READ: Final = 100
REDIS_TIMEOUT_SECONDS: Final = 2.0

#: Share of the time before a process ends over which its sockets are closed, so that they do not all come back at once.
DRAIN_SHARE: Final = 0.8
#: Files and connections of a process beside its sockets.
OTHER_DESCRIPTORS: Final = 1000

logger = logging.getLogger(__name__)


class TooManySockets(TooManyRequests):
    """429: as many sockets as one user, or one process, may have."""

    slug = "too-many-sockets"
    title = "Too many sockets"
    description = "You have as many live-event sockets open as are allowed. Close one, or try again later."

    def __init__(self) -> None:
        super().__init__(headers={"Retry-After": "10"})


class Hub:
    """The sockets of this process.

    Args:
        redis: Where streams are.
        db: Tells which sessions still stand.
        max_sockets: Most sockets at once.
        max_sockets_per_user: Most sockets of one user at once.
    """

    def __init__(self, redis: Redis, db: Runner, *, max_sockets: int, max_sockets_per_user: int) -> None:
        self._redis = redis
        self._db = db
        self._max_sockets = max_sockets
        self._max_sockets_per_user = max_sockets_per_user
        self._subscriber = Subscriber(redis, receive=self._receive, lost=self._lose, restored=self._restore)
        self._channels: dict[bytes, Channel] = {}
        self._opening: dict[bytes, asyncio.Task[None]] = {}
        self._sessions: dict[UUID, set[Socket]] = {}
        self._sockets: set[Socket] = set()
        self._draining = False
        self._losses = 0
        self._check_now = asyncio.Event()

    def __len__(self) -> int:
        return len(self._sockets)

    async def run(self) -> None:
        """Follow Redis and the sessions until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._subscriber.run(), name="live events")
            tasks.create_task(self._watch_sessions(), name="sessions of sockets")

    async def join(self, principal: Principal, connection: Connection) -> Socket:
        """Give a client a place, to be left with ``leave``. What is published after this returned will reach it.

        Raises:
            ServiceUnavailable: while Redis does not answer, or the process stops.
            TooManySockets: if the user or the process has as many as allowed.
        """
        if self._draining:
            raise ServiceUnavailable("This process is stopping; connect again.")
        channel = self._channels.get(streams.key(principal.user_id).encode()) or self._open(principal.user_id)
        if len(self._sockets) >= self._max_sockets or channel.sockets >= self._max_sockets_per_user:
            raise TooManySockets
        socket = Socket(principal, connection, channel)
        channel.sockets += 1
        self._sockets.add(socket)
        self._sessions.setdefault(principal.session_id, set()).add(socket)
        try:
            await self._until_current(channel)
        except BaseException:
            self.leave(socket)
            raise
        socket.started_at = (channel.epoch, channel.position or (0, 0))
        return socket

    def leave(self, socket: Socket) -> None:
        """Give the place back."""
        channel = socket.channel
        channel.live.discard(socket)
        self._sockets.discard(socket)
        of_session = self._sessions[socket.principal.session_id]
        of_session.discard(socket)
        if not of_session:
            del self._sessions[socket.principal.session_id]
        channel.sockets -= 1
        if channel.sockets == 0:
            self._close(channel)

    async def follow(self, socket: Socket, last_event_id: str | None) -> None:
        """Send what the client missed since an event, or since it joined, and all that comes from now on.

        Args:
            socket: From ``join``, its connection open.
            last_event_id: The id of the last frame the client got.
        """
        start = socket.started_at if last_event_id is None else parse_position(last_event_id)
        try:
            await self._replay(socket, *start)
        except (RedisError, OSError, TimeoutError):
            socket.connection.close(CLOSE_TRY_AGAIN, "history is not available; resume with last_event_id")

    async def _replay(self, socket: Socket, epoch: str, position: StreamId | None) -> None:
        """Read on from a position until the socket meets the live ones.

        Between the last comparison and joining them nothing else runs, so no event falls between the two.
        """
        channel = socket.channel
        missed = False
        while epoch != channel.epoch or position not in {channel.position, None}:
            page = (await self._read([(channel.user_id, position)]))[0]
            if not missed and (epoch != channel.epoch or not page.known):
                channel.say_missed([socket])
                missed = True
            epoch = channel.epoch
            if position is None or not page.known or page.epoch != epoch:
                break
            position = await self._send_page(socket, position, page)
        channel.live.add(socket)

    async def _send_page(self, socket: Socket, position: StreamId, page: Page) -> StreamId:
        """Send the part of a page that the live sockets have got already; return the position reached."""
        channel = socket.channel
        if channel.position is None or position > channel.position:  # announced to us any moment now
            await self._catch_up([channel])
            return position
        for event_id, event in page.entries:
            if event_id > channel.position:
                break
            socket.connection.push(channel.frame(event_id, event))
            count_delivered(event, 1)
            position = event_id
            await socket.connection.drained()
        return position

    async def drain(self, seconds: float) -> None:
        """Take no more sockets and close those open (1012), spread over some seconds so that they do not all come back at once."""
        self._draining = True
        remaining = list(self._sockets)
        for socket in remaining:
            socket.connection.close(CLOSE_RESTART, "restarting; resume with last_event_id")
            await asyncio.sleep(seconds / len(remaining))

    def revoked(self, subject: Subject) -> None:
        """Close the sockets of a session that ended; look at those of an account that changed."""
        if isinstance(subject, UUID):
            self._end_session(subject)
        elif streams.key(subject).encode() in self._channels:
            self._check_now.set()

    def _open(self, user_id: int) -> Channel:
        channel = Channel(user_id)
        self._channels[channel.name] = channel
        opening = self._opening[channel.name] = asyncio.create_task(self._establish(channel), name="open channel")
        # Whoever waits for it may have gone before it fails.
        opening.add_done_callback(lambda task: None if task.cancelled() else task.exception())
        return channel

    def _close(self, channel: Channel) -> None:
        del self._channels[channel.name]
        self._opening.pop(channel.name).cancel()
        self._subscriber.unsubscribe(channel.name)

    async def _establish(self, channel: Channel) -> None:
        await self._subscriber.subscribe(channel.name)
        await self._catch_up([channel])

    async def _until_current(self, channel: Channel) -> None:
        try:
            await asyncio.shield(self._opening[channel.name])
        except (RedisError, OSError, TimeoutError):
            raise ServiceUnavailable from None
        if not channel.current:
            raise ServiceUnavailable

    async def _catch_up(self, channels: Sequence[Channel]) -> None:
        """Bring channels to where their streams are, sending what they missed to their live sockets."""
        behind, losses = list(channels), self._losses
        while behind:
            pages = await self._read([(channel.user_id, channel.position) for channel in behind])
            if losses != self._losses:  # what is announced now is not heard
                raise RedisConnectionError("the connection was lost")
            behind = [channel for channel, page in zip(behind, pages, strict=True) if not channel.absorb(page)]

    async def _read(self, positions: Sequence[tuple[int, StreamId | None]]) -> list[Page]:
        async with asyncio.timeout(REDIS_TIMEOUT_SECONDS):
            return await streams.read(self._redis, positions)

    def _receive(self, name: bytes, message: bytes) -> int:
        channel = self._channels.get(name)
        return 0 if channel is None else channel.receive(message)

    def _lose(self) -> None:
        self._losses += 1
        for channel in self._channels.values():
            channel.lose()

    async def _restore(self) -> None:
        known = [channel for channel in self._channels.values() if channel.position is not None]
        for some in batched(known, CHANNELS_PER_READ):
            await self._catch_up(some)

    async def _watch_sessions(self) -> None:
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._check_now.wait(), SESSION_CHECK_SECONDS)
            self._check_now.clear()
            try:
                await self._check_sessions()
            except Problem as error:
                logger.warning("sessions of sockets were not checked: %s", error)
            except Exception:
                logger.exception("checking the sessions of sockets failed")

    async def _check_sessions(self) -> None:
        known = list(self._sessions)
        if known:
            standing = await sessions.still_standing(self._db, known)
            for session_id in set(known) - standing:
                self._end_session(session_id)

    def _end_session(self, session_id: UUID) -> None:
        for socket in self._sessions.get(session_id, ()):
            socket.connection.push(revoked_frame(socket))
            socket.connection.close(CLOSE_SESSION_OVER, "the session is over; sign in again")


@asynccontextmanager
async def live_events(resources: Resources, revocations: Revocations, drain: Drain) -> AsyncGenerator[Hub]:
    """Run the process's hub for the length of the block.

    Args:
        resources: Connections and settings of the process.
        revocations: Tells which sessions ended.
        drain: Tells when the process is about to end.
    """
    settings = resources.settings
    hub = Hub(
        resources.redis,
        resources.database.autocommit,
        max_sockets=settings.WEBSOCKET_MAX_CONNECTIONS,
        max_sockets_per_user=settings.WEBSOCKET_MAX_PER_USER,
    )

    allow_descriptors(settings.WEBSOCKET_MAX_CONNECTIONS + OTHER_DESCRIPTORS)

    async def drain_in_time() -> None:
        await drain.wait()
        await hub.drain(settings.DRAIN_SECONDS * DRAIN_SHARE)

    metrics.sample(metrics.WEBSOCKETS, lambda: len(hub))
    unsubscribe = revocations.subscribe(hub.revoked)
    tasks = [asyncio.create_task(hub.run(), name="live events"), asyncio.create_task(drain_in_time(), name="drain sockets")]
    try:
        yield hub
    finally:
        unsubscribe()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
