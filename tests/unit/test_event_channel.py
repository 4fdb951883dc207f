"""A channel's bookkeeping where it cannot be brought about from outside at will."""

import json
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import pytest

from app.core.security import Principal
from app.core.streams import PAGE_LENGTH, Page, encode, parse_id
from app.services.event_channel import NO_EPOCH, Channel, Socket, parse_position

SOMEBODY = Principal(7, is_superuser=False, session_id=UUID(int=1), expires_at=0)
EVENT = encode("item.created", "2026-01-01T00:00:00Z", {"id": 1})


@dataclass
class Recorder:
    """A connection that keeps what it is sent."""

    frames: list[bytes] = field(default_factory=list[bytes])

    def push(self, frame: bytes) -> None:
        self.frames.append(frame)

    def close(self, code: int, reason: str) -> None:
        raise AssertionError(code, reason)

    async def drained(self) -> None:
        """Never anything but drained."""

    @property
    def seen(self) -> list[str]:
        """The ids of the events, or the type of what has none."""
        decoded: list[dict[str, Any]] = [json.loads(frame[frame.index(b"{") :]) for frame in self.frames]
        return [event.get("id", event["type"]) for event in decoded]


def channel_at(position: tuple[int, int] | None, epoch: str = "aaaa") -> tuple[Channel, Recorder]:
    channel, recorder = Channel(7), Recorder()
    channel.position, channel.epoch = position, epoch
    channel.live.add(Socket(SOMEBODY, recorder, channel))
    return channel, recorder


def page(*ids: tuple[int, int], epoch: str = "aaaa", known: bool = True) -> Page:
    return Page(epoch, ids[-1] if ids else (0, 0), known, [(event_id, EVENT) for event_id in ids])


def test_a_new_channel_begins_where_its_stream_is() -> None:
    channel, recorder = channel_at(None, NO_EPOCH)

    assert channel.absorb(Page("aaaa", (5, 1), known=True, entries=[]))

    assert (channel.position, channel.epoch, recorder.frames) == ((5, 1), "aaaa", [])


def test_what_is_announced_while_history_is_read_waits_for_it() -> None:
    channel, recorder = channel_at((1, 0))
    channel.receive(b"3-0 " + EVENT)

    assert not channel.absorb(page((2, 0)))
    assert channel.absorb(page((3, 0)))
    channel.receive(b"3-0 " + EVENT)
    channel.receive(b"4-0 " + EVENT)

    assert recorder.seen == ["2-0-aaaa", "3-0-aaaa", "4-0-aaaa"]


def test_a_page_read_twice_is_sent_once() -> None:
    channel, recorder = channel_at((1, 0))

    channel.absorb(page((2, 0), (3, 0)))
    channel.absorb(page((2, 0), (3, 0), (4, 0)))

    assert recorder.seen == ["2-0-aaaa", "3-0-aaaa", "4-0-aaaa"]


def test_a_full_page_is_not_the_end() -> None:
    channel, _ = channel_at((1, 0))

    assert not channel.absorb(page(*((2, sequence) for sequence in range(PAGE_LENGTH))))


def test_another_redis_with_the_same_stream_may_have_forgotten_its_end() -> None:
    channel, recorder = channel_at((1, 0))

    assert channel.absorb(page((2, 0), epoch="bbbb"))

    assert recorder.seen == ["events.missed", "2-0-bbbb"]


def test_a_position_that_is_gone_is_told() -> None:
    channel, recorder = channel_at((9, 0))

    assert channel.absorb(Page("bbbb", (2, 0), known=False, entries=[]))

    assert recorder.seen == ["events.missed"]
    assert channel.position == (2, 0)


@pytest.mark.parametrize(
    "text", ["", "1-2", "1-2-", "1-2-XYZ", "-1-2-ab", "01-2-ab", "1-2-ab ", "1-2-abcdef012", "٣-2-ab", "9" * 20 + "-0-ab"]
)
def test_an_id_that_is_none_of_ours_is_a_position_in_no_epoch(text: str) -> None:
    assert parse_position(text) == (NO_EPOCH, None)


def test_an_id_leads_back_to_its_position() -> None:
    channel, _ = channel_at(None, "0a1b2c3d")

    assert parse_position(channel.public_id((12, 3))) == ("0a1b2c3d", (12, 3))
    assert parse_id(b"12-3") == (12, 3)
