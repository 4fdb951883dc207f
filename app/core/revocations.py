"""How every process learns, at once, that a session ended or that an account's rights changed.

The process that made the change tells the others through Redis. Redis may be gone, or hang, or lose a message; so each
process also asks PostgreSQL every two seconds what was revoked lately.
"""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from redis.asyncio import Redis
from redis.exceptions import RedisError
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from app.core.subscriber import Subscriber

CHANNEL: Final = b"revocations"
PUBLISH_ATTEMPTS: Final = 3
#: What is still being announced when the process stops has so long to get through.
FAREWELL_SECONDS: Final = 1.0
POLL_SECONDS: Final = 2.0
#: How far each poll looks back: longer than any transaction lasts between marking a row and its commit.
OVERLAP_SECONDS: Final = 30.0

#: A session (its id) or an account (its number).
type Subject = UUID | int
type Listener = Callable[[Subject], None]
#: Tells what was revoked within the last while, and when each.
type Recent = Callable[[timedelta], Awaitable[Iterable[tuple[Subject, datetime]]]]

logger = logging.getLogger(__name__)


class Revocations:
    """Spreads revocations between the processes and tells those who listen in this one.

    Args:
        redis: Carries them.
        recent: Asks PostgreSQL for them.
    """

    def __init__(self, redis: Redis, recent: Recent) -> None:
        self._redis: Any = redis  # its annotations are incomplete
        self._recent = recent
        self._listeners: list[Listener] = []
        self._announcing: set[asyncio.Task[None]] = set()
        self._seen: dict[Subject, datetime] = {}
        self._polled_at = time.monotonic()

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Call ``listener`` with every revoked session and changed account, on the event loop, at least once for each.

        Returns:
            What ends the subscription.
        """
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def announce(self, *subjects: Subject) -> None:
        """Tell this process now and the others within milliseconds. Nothing is waited for."""
        self._tell(subjects)
        task = asyncio.create_task(self._publish(subjects), name="announce revocations")
        self._announcing.add(task)
        task.add_done_callback(self._announcing.discard)

    def announce_after_commit(self, session: AsyncSession, *subjects: Subject) -> None:
        """``announce`` as soon as the session's transaction has committed; not at all if it does not."""

        def announce(_session: Session) -> None:
            self.announce(*subjects)

        event.listen(session.sync_session, "after_commit", announce, once=True)

    @asynccontextmanager
    async def watching(self) -> AsyncGenerator[None]:
        """Listen to Redis and ask PostgreSQL for the length of the block."""
        # What was published while there was no connection, PostgreSQL tells.
        subscriber = Subscriber(self._redis, receive=self._hear, lost=lambda: None, restored=self._poll_once, channels=[CHANNEL])
        tasks = [
            asyncio.create_task(self._poll(), name="poll revocations"),
            asyncio.create_task(subscriber.run(), name="hear revocations"),
        ]
        try:
            yield
        finally:
            if self._announcing:
                await asyncio.wait(self._announcing, timeout=FAREWELL_SECONDS)
            tasks += self._announcing
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _tell(self, subjects: Iterable[Subject]) -> None:
        for subject in subjects:
            for listener in tuple(self._listeners):
                listener(subject)

    async def _publish(self, subjects: Iterable[Subject]) -> None:
        message = " ".join(map(str, subjects))
        for attempt in range(1, PUBLISH_ATTEMPTS + 1):
            try:
                await self._redis.publish(CHANNEL, message)
            except (RedisError, OSError) as error:  # after a restart of Redis, pooled connections are dead
                if attempt == PUBLISH_ATTEMPTS:
                    logger.warning("a revocation was not published, the others learn of it from PostgreSQL: %s", error)
            else:
                return

    def _hear(self, _channel: bytes, message: bytes) -> int:
        subjects = parse(message)
        self._tell(subjects)
        return len(subjects)

    async def _poll(self) -> None:
        while True:
            await asyncio.sleep(POLL_SECONDS)
            try:
                await self._poll_once()
            except Exception:
                logger.exception("PostgreSQL could not be asked for revocations")

    async def _poll_once(self) -> None:
        started = time.monotonic()
        found = dict(await self._recent(timedelta(seconds=started - self._polled_at + OVERLAP_SECONDS)))
        self._tell(subject for subject, at in found.items() if self._seen.get(subject) != at)
        self._seen = found
        self._polled_at = started


def parse(message: bytes) -> list[Subject]:
    """Return the subjects a message names; words that are none are passed over."""
    subjects: list[Subject] = []
    for word in message.decode(errors="replace").split():
        try:
            subjects.append(int(word) if word.isdecimal() else UUID(word))
        except ValueError:
            continue
    return subjects
