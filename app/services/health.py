"""Whether the process may get requests."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Final

from app.core.resources import Resources
from app.core.schema import is_accepted
from app.crud import revision

logger = logging.getLogger(__name__)

CHECK_SECONDS: Final = 2.0
REMEMBERED_SECONDS: Final = 1.0


class Readiness:
    """Whether what the process depends on answers, asked at most once a second.

    Args:
        resources: What it depends on.
    """

    def __init__(self, resources: Resources) -> None:
        self._resources = resources
        self._faults: list[str] = []
        self._asked_at: float | None = None
        self._asking = asyncio.Lock()
        #: Whether everything has answered at least once.
        self.started = False

    async def faults(self) -> list[str]:
        """Return what is wrong; nothing where the process is ready."""
        async with self._asking:
            if self._asked_at is None or time.monotonic() - self._asked_at >= REMEMBERED_SECONDS:
                answers = await asyncio.gather(_fault("PostgreSQL", self._database), _fault("Redis", self._redis))
                self._faults = [answer for answer in answers if answer is not None]
                self._asked_at = time.monotonic()
                self.started = self.started or not self._faults
            return self._faults

    async def _database(self) -> str | None:
        found = await revision.current(self._resources.database.autocommit)
        return None if is_accepted(found or "") else f"this release does not work with revision {found} of the database"

    async def _redis(self) -> str | None:
        await self._resources.redis.ping()  # pyright: ignore[reportUnknownMemberType]  # its options are untyped
        return None


async def _fault(name: str, ask: Callable[[], Awaitable[str | None]]) -> str | None:
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            return await ask()
    except Exception as error:  # noqa: BLE001  # whatever it is, the process is not ready
        logger.warning("not ready: %s (%s)", name, type(error).__name__)
        return f"{name} does not answer as it should"
