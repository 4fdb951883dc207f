"""One Redis connection per process that listens to channels, and comes back by itself."""

import asyncio
import logging
import math
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final, cast

from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

CONFIRMATION_TIMEOUT_SECONDS: Final = 2.0
#: Seconds of silence after which the connection is asked for a sign of life, and has as long again to give one.
SILENCE_SECONDS: Final = 2.0
RETRY_SECONDS: Final = (0.05, 0.1, 0.2, 0.5, 1.0)
#: Deliveries after which other tasks get a turn.
SHARE: Final = 256

logger = logging.getLogger(__name__)


class Subscriber:
    """Listens to channels (PUBLISH) and tells when the connection is lost and when it is back.

    Args:
        redis: Where and how to connect; the connection is one of its own.
        receive: Called with a channel and a message; returns how much work it was, in deliveries.
        lost: Called when the connection is gone.
        restored: Called, in a task of its own, once every channel is subscribed to on a new connection.
        channels: What is listened to from the beginning.
    """

    def __init__(
        self,
        redis: Redis,
        *,
        receive: Callable[[bytes, bytes], int],
        lost: Callable[[], None],
        restored: Callable[[], Awaitable[None]],
        channels: Iterable[bytes] = (),
    ) -> None:
        self._redis = redis
        self._receive = receive
        self._lost = lost
        self._restored = restored
        self._channels = set(channels)
        #: Commands to send, in this order; ``None`` while there is no connection.
        self._commands: asyncio.Queue[tuple[bytes, ...]] | None = None
        self._unconfirmed: deque[asyncio.Future[None]] = deque()
        self._heard = False
        self._failures = 0

    async def run(self) -> None:
        """Listen until cancelled."""
        while True:
            try:
                await self._listen()
            except (RedisError, OSError, TimeoutError) as error:
                if self._failures == 0:
                    logger.warning("listening waits for Redis: %s", error)
            except Exception:
                logger.exception("listening to Redis failed")
            finally:
                self._disconnected()
            await asyncio.sleep(RETRY_SECONDS[min(self._failures, len(RETRY_SECONDS) - 1)])
            self._failures += 1

    async def subscribe(self, channel: bytes) -> None:
        """Listen to a channel; every message published after this returned is received.

        Raises:
            redis.exceptions.ConnectionError: if Redis does not confirm it in time.
        """
        self._channels.add(channel)
        try:
            await self._confirmed([channel])
        except BaseException:
            self._channels.discard(channel)
            raise

    def unsubscribe(self, channel: bytes) -> None:
        """Listen to a channel no more."""
        self._channels.discard(channel)
        if self._commands is not None:
            self._commands.put_nowait((b"UNSUBSCRIBE", channel))

    async def _confirmed(self, channels: Iterable[bytes]) -> None:
        if self._commands is None:
            raise RedisConnectionError("not connected")
        names = list(channels)
        loop = asyncio.get_running_loop()
        confirmations: list[asyncio.Future[None]] = [loop.create_future() for _ in names]
        self._unconfirmed.extend(confirmations)
        self._commands.put_nowait((b"SUBSCRIBE", *names))
        try:
            async with asyncio.timeout(CONFIRMATION_TIMEOUT_SECONDS):
                await confirmations[-1]  # Redis confirms in the order it was asked in
        except TimeoutError:
            raise RedisConnectionError("no confirmation in time") from None

    async def _listen(self) -> None:
        pool: Any = self._redis.connection_pool  # redis-py leaves these two without annotations
        connection: AbstractConnection = pool.make_connection()
        try:
            await cast("Any", connection).connect()
            self._commands = asyncio.Queue()
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._write(connection, self._commands))
                tasks.create_task(self._watch(self._commands))
                tasks.create_task(self._resubscribe())
                await self._read(connection)
        except* (RedisError, OSError) as errors:
            raise _first(errors) from None
        finally:
            await connection.disconnect(nowait=True)

    async def _resubscribe(self) -> None:
        if self._channels:
            await self._confirmed(self._channels)
        self._failures = 0
        await self._restored()

    async def _write(self, connection: AbstractConnection, commands: asyncio.Queue[tuple[bytes, ...]]) -> None:
        while True:
            await connection.send_command(*await commands.get())

    async def _read(self, connection: AbstractConnection) -> None:
        work = 0
        while True:
            message = cast("Any", await connection.read_response(timeout=math.inf, push_request=True))
            self._heard = True
            if message == b"PONG":
                continue
            kind, channel, content = message
            if kind == b"message":
                work += 1 + self._receive(channel, content)
                if work >= SHARE:  # messages that have arrived are read without a pause otherwise
                    work = 0
                    await asyncio.sleep(0)
            elif kind == b"subscribe":
                confirmation = self._unconfirmed.popleft()
                if not confirmation.done():
                    confirmation.set_result(None)

    async def _watch(self, commands: asyncio.Queue[tuple[bytes, ...]]) -> None:
        """End a connection that fell silent: a peer that vanished would be waited for until TCP gives up."""
        while True:
            self._heard = False
            await asyncio.sleep(SILENCE_SECONDS)
            if self._heard:
                continue
            commands.put_nowait((b"PING",))
            await asyncio.sleep(SILENCE_SECONDS)
            if not self._heard:
                raise RedisConnectionError("no sign of life")

    def _disconnected(self) -> None:
        was_connected, self._commands = self._commands is not None, None
        while self._unconfirmed:
            confirmation = self._unconfirmed.popleft()
            if not confirmation.done():
                confirmation.set_exception(RedisConnectionError("the connection was lost"))
                confirmation.exception()  # nobody may be waiting
        if was_connected:
            self._lost()


def _first(errors: ExceptionGroup[Exception]) -> Exception:
    found = errors.exceptions[0]
    return _first(cast("ExceptionGroup[Exception]", found)) if isinstance(found, ExceptionGroup) else found
