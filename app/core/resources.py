"""What a process holds while it runs: settings and connections, opened once, closed in reverse."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from redis.asyncio import Redis

from app.core.config import Settings
from app.core.database import Database
from app.core.http.limits import Limits
from app.core.passwords import Passwords
from app.core.redis import connect
from app.core.wakeup import Wakeup


@dataclass(slots=True, frozen=True)
class Resources:
    """A process's settings and connections."""

    settings: Settings
    database: Database
    redis: Redis
    limits: Limits
    passwords: Passwords
    #: Set by whatever commits an outbox row: sessions and ``database.autocommit`` do it by themselves.
    outbox_wakeup: Wakeup


@asynccontextmanager
async def open_resources(settings: Settings, application_name: str = "api") -> AsyncGenerator[Resources]:
    """Open the process's connections lazily and close them at the end of the block.

    Args:
        settings: Where everything is.
        application_name: How PostgreSQL names this process in ``pg_stat_activity``.
    """
    database = Database(settings, application_name)
    redis = connect(str(settings.REDIS_URL))
    evictable = redis if settings.cache_url == str(settings.REDIS_URL) else connect(settings.cache_url)
    limits = Limits(evictable)
    passwords = Passwords(settings.PASSWORD_HASH_THREADS)
    try:
        yield Resources(settings, database, redis, limits, passwords, database.outbox_wakeup)
    finally:
        passwords.close()
        await limits.close()
        await database.outbox_wakeup.close()
        await evictable.aclose()
        await redis.aclose()
        await database.close()
