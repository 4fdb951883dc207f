"""A user's stream as one process follows it: the position its sockets have reached, and what they are sent."""

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final

from app.core import metrics, streams
from app.core.http.frames import Connection, text_frame
from app.core.security import Principal
from app.core.streams import Page, StreamId

MISSED: Final = text_frame(b'{"type":"events.missed"}')
#: An epoch that no Redis process has: whoever resumes in it has missed something.
NO_EPOCH: Final = ""
PUBLIC_ID: Final = re.compile(r"(0|[1-9][0-9]{0,15})-(0|[1-9][0-9]{0,15})-([0-9a-f]{1,8})", re.ASCII)

#: An event up to this size is one delivery's work to send.
SMALL_BYTES: Final = 4096

type Position = tuple[str, StreamId | None]


class Socket:
    """One client's connection.

    Args:
        principal: Who opened it; it ends with the session.
        connection: Where frames go.
        channel: Where they come from.
    """

    __slots__ = ("channel", "connection", "principal", "started_at")

    def __init__(self, principal: Principal, connection: Connection, channel: "Channel") -> None:
        self.principal = principal
        self.connection = connection
        self.channel = channel
        #: Where the stream was when the socket opened.
        self.started_at: Position = (NO_EPOCH, None)


class Channel:
    """A user's stream as this process follows it.

    Attributes:
        epoch: Names the Redis process whose events these are.
        position: The id every live socket has got; ``None`` until Redis was asked.
        heard: The newest id announced while the channel was not current.
        current: Whether all that comes after ``position`` will be announced.
        live: Sockets that get events as they come.
        sockets: All sockets, those included that are still reading what they missed.
    """

    __slots__ = ("current", "epoch", "heard", "live", "name", "position", "sockets", "user_id")

    def __init__(self, user_id: int) -> None:
        self.user_id = user_id
        self.name = streams.key(user_id).encode()
        self.epoch = NO_EPOCH
        self.position: StreamId | None = None
        self.heard: StreamId = (0, 0)
        self.current = False
        self.live: set[Socket] = set()
        self.sockets = 0

    def receive(self, message: bytes) -> int:
        """Take an announced event; return how much work it was."""
        raw_id, _, event = message.partition(b" ")
        event_id = streams.parse_id(raw_id)
        if not self.current or self.position is None:
            self.heard = event_id
            return 0
        if event_id <= self.position:
            return 0
        return self.deliver(event_id, event)

    def deliver(self, event_id: StreamId, event: bytes) -> int:
        """Send the stream's next event to every live socket; return how much work it was, in small deliveries."""
        self.position = event_id
        frame = self.frame(event_id, event)
        for socket in self.live:
            socket.connection.push(frame)
        delivered = len(self.live)
        count_delivered(event, delivered)
        return delivered * (1 + len(frame) // SMALL_BYTES)

    def frame(self, event_id: StreamId, event: bytes) -> bytes:
        """Return an event as sockets see it, its id first."""
        return text_frame(b'{"id":"%b",%b' % (self.public_id(event_id).encode(), event[1:]))

    def public_id(self, event_id: StreamId) -> str:
        """Return an event's id as clients know it: where it is in the stream, and in whose memory."""
        return f"{event_id[0]}-{event_id[1]}-{self.epoch}"

    def lose(self) -> None:
        """Take down that announcements may be missing from now on."""
        self.current = False
        self.heard = (0, 0)

    def absorb(self, page: Page) -> bool:
        """Take what the stream holds after ``position``; return whether the channel is current then."""
        if self.position is None or not page.known:
            missed = self.position is not None
            self.epoch, self.position = page.epoch, page.newest
        else:
            # Another Redis process may have forgotten the newest events without a trace of it.
            missed = page.epoch != self.epoch
            self.epoch = page.epoch
        if missed:
            self.say_missed(self.live)
        for event_id, event in page.entries:
            if event_id > self.position:  # announced meanwhile, or read by another
                self.deliver(event_id, event)
        self.current = len(page.entries) < streams.PAGE_LENGTH and self.heard <= self.position
        return self.current

    def say_missed(self, sockets: Iterable[Socket]) -> None:
        """Tell sockets that events are gone."""
        for socket in sockets:
            socket.connection.push(MISSED)
            metrics.EVENTS_MISSED.inc()


_delivered: dict[bytes, metrics.Tally] = {}


def count_delivered(event: bytes, sockets: int) -> None:
    """Count an event sent to sockets, by its type, which the encoding puts first."""
    event_type = event[9 : event.index(b'"', 9)]
    tally = _delivered.get(event_type)
    if tally is None:
        tally = _delivered[event_type] = metrics.tally(metrics.EVENTS_DELIVERED.labels(event_type.decode()))
    tally.count += sockets


def parse_position(last_event_id: str) -> Position:
    """Return the epoch and the stream id of an event's id; for what is none of ours, a position in no epoch."""
    found = PUBLIC_ID.fullmatch(last_event_id)
    if found is None:
        return NO_EPOCH, None
    return found[3], (int(found[1]), int(found[2]))


def revoked_frame(socket: Socket) -> bytes:
    """Return what a socket gets before its session's end closes it; its id is where the client was in the stream."""
    channel = socket.channel
    now = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    event = streams.encode("session.revoked", now, {"session_id": str(socket.principal.session_id)})
    return channel.frame(channel.position or (0, 0), event)
