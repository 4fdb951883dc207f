"""Redis or Valkey: one client per process, impatient, so that its absence is noticed and never waited for."""

from redis.asyncio import BlockingConnectionPool, Redis
from redis.maint_notifications import MaintNotificationsConfig

SOCKET_TIMEOUT_SECONDS = 1.0
POOL_SIZE = 20


def connect(url: str, *, decode: bool = False) -> Redis:
    """Return a client for ``url`` that connects on first use.

    Args:
        url: ``redis://`` or ``rediss://``.
        decode: Whether answers are ``str`` rather than ``bytes``.
    """
    pool: BlockingConnectionPool = BlockingConnectionPool.from_url(  # pyright: ignore[reportUnknownMemberType]  # its options are untyped
        url,
        max_connections=POOL_SIZE,
        timeout=SOCKET_TIMEOUT_SECONDS,
        socket_timeout=SOCKET_TIMEOUT_SECONDS,
        socket_connect_timeout=SOCKET_TIMEOUT_SECONDS,
        health_check_interval=0,
        decode_responses=decode,
        # Where these are on, redis-py hands out connections without looking whether the server has closed them.
        maint_notifications_config=MaintNotificationsConfig(enabled=False),
    )
    return Redis.from_pool(pool)
