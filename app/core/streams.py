"""Live events in Redis: one bounded stream per user, announced to whoever listens.

The stream's key carries the user's id as its hash tag, and so does the set of recent message ids: on a cluster both
live on one node, where a script may touch them together.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha1
from typing import Any, cast
from uuid import UUID

from redis.asyncio import Redis

#: Events kept per user. Redis trims whole blocks, so it may keep up to a hundred more.
STREAM_LENGTH = 1000
#: Seconds a user's stream outlives its newest event.
STREAM_TTL_SECONDS = 24 * 3600
#: Events one call of ``read`` returns at most.
PAGE_LENGTH = 100
#: Hexadecimal digits of the server's run id that an event's id ends with.
EPOCH_LENGTH = 8

StreamId = tuple[int, int]

# Checking, appending and announcing are one step: an event that is announced can be read back, and none comes twice.
_PUBLISH = """
local now = redis.call('TIME')
if redis.call('ZADD', KEYS[2], 'NX', now[1] * 1000000 + now[2], ARGV[1]) == 0 then return false end
redis.call('ZREMRANGEBYRANK', KEYS[2], 0, -1 - ARGV[3])
local id = redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[3], '*', 'e', ARGV[2])
redis.call('EXPIRE', KEYS[1], ARGV[4])
redis.call('EXPIRE', KEYS[2], ARGV[4])
redis.call('PUBLISH', KEYS[1], id .. ' ' .. ARGV[2])
return id
"""
_PUBLISH_SHA = sha1(_PUBLISH.encode(), usedforsecurity=False).hexdigest()

# The run id changes whenever Redis starts or another node takes over: what it may have forgotten then cannot be seen in the stream.
_READ = """
local epoch = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)') or ''
local newest = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)
local known, entries = 1, {}
if ARGV[1] ~= '' then
  if ARGV[1] ~= '0-0' then known = #redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1])
  elseif redis.call('XLEN', KEYS[1]) >= tonumber(ARGV[3]) then known = 0 end
  if known == 1 then entries = redis.call('XRANGE', KEYS[1], '(' .. ARGV[1], '+', 'COUNT', ARGV[2]) end
end
return {epoch, newest[1] and newest[1][1] or '0-0', known, entries}
"""


@dataclass(slots=True, frozen=True)
class EventMessage:
    """An event on its way to a user's sockets.

    Attributes:
        message_id: The outbox's id; a second publication with the same id does nothing.
        user_id: Whose sockets see it.
        type: What happened, such as ``item.created``.
        at: When, RFC 3339 in UTC.
        data: What it happened to: JSON bytes as PostgreSQL prints them (cheapest, keeps every number), or a mapping.
    """

    message_id: UUID
    user_id: int
    type: str
    at: str
    data: bytes | Mapping[str, Any]


@dataclass(slots=True, frozen=True)
class Page:
    """What a user's stream holds after a given id.

    Attributes:
        epoch: Names the Redis process that answered; another one may have forgotten events.
        newest: The newest id in the stream, ``(0, 0)`` when it is empty.
        known: Whether the id asked for is still there, so that nothing after it can be missing.
        entries: Ids and encoded events in order, at most ``PAGE_LENGTH``.
    """

    epoch: str
    newest: StreamId
    known: bool
    entries: list[tuple[StreamId, bytes]]


def key(user_id: int) -> str:
    """Return the name of a user's stream, which is also its channel."""
    return f"events:{{{user_id}}}"


def parse_id(raw: bytes) -> StreamId:
    """Return a stream id as numbers that compare in the stream's order."""
    milliseconds, _, sequence = raw.partition(b"-")
    return int(milliseconds), int(sequence)


def encode(type: str, at: str, data: bytes | Mapping[str, Any]) -> bytes:  # noqa: A002  # the frame's own word
    """Return an event as sockets see it, without its id: a JSON object in UTF-8, its type first."""
    document = data if isinstance(data, bytes) else _compact(data)
    return b'{"type":%b,"at":%b,"data":%b}' % (_compact(type), _compact(at), document)


def _compact(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


async def publish(redis: Redis, messages: Sequence[EventMessage]) -> None:
    """Append events to their users' streams and announce them, in order and in one round trip.

    Safe to repeat: a message that is already among the user's recent ones is passed over.

    Raises:
        redis.exceptions.RedisError: if any of them may not have arrived; repeat the whole batch then.
    """
    if not messages:
        return
    pipeline = redis.pipeline(transaction=False)
    # Loading again costs less than handling its absence, which would let later events of the batch overtake earlier ones.
    pipeline.script_load(_PUBLISH)
    for message in messages:
        stream = key(message.user_id)
        arguments = (message.message_id.bytes, encode(message.type, message.at, message.data), STREAM_LENGTH, STREAM_TTL_SECONDS)
        pipeline.evalsha(_PUBLISH_SHA, 2, stream, f"{stream}:recent", *cast("tuple[str, ...]", arguments))
    await pipeline.execute()


async def read(redis: Redis, positions: Sequence[tuple[int, StreamId | None]]) -> list[Page]:
    """Return what users' streams hold after given ids, in one round trip.

    Args:
        redis: A client whose answers are bytes.
        positions: Users and ids; ``(0, 0)`` reads from the start, ``None`` reads nothing but the newest id.
    """
    pipeline = redis.pipeline(transaction=False)
    for user_id, after in positions:
        position = "" if after is None else f"{after[0]}-{after[1]}"
        pipeline.eval(_READ, 1, key(user_id), position, str(PAGE_LENGTH), str(STREAM_LENGTH))
    return [_page(answer) for answer in await pipeline.execute()]


def _page(answer: Any) -> Page:
    epoch, newest, known, entries = answer
    return Page(
        epoch=epoch.decode()[:EPOCH_LENGTH],
        newest=parse_id(newest),
        known=bool(known),
        entries=[(parse_id(entry_id), fields[1]) for entry_id, fields in entries],
    )
