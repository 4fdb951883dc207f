"""Redis or Valkey: reachable, new enough, evicts nothing, and remembers across a restart."""

from typing import Any, Final

from redis.exceptions import RedisError

from app.cli.checks.result import Result, verdict
from app.core.config import Settings
from app.core.redis import connect

LEAST_VERSION: Final = (7, 0)


async def check_redis(settings: Settings) -> list[Result]:
    """Look at every Redis that the settings name, each once."""
    named = {"Redis": str(settings.REDIS_URL), "Redis (queues)": settings.broker_url, "Redis (cache)": settings.cache_url}
    places = {url: part for part, url in reversed(named.items())}
    return [result for url, part in reversed(places.items()) for result in await _check(part, url)]


async def _check(part: str, url: str) -> list[Result]:
    client: Any = connect(url, decode=True)
    try:
        info: dict[str, Any] = await client.info()
    except (RedisError, OSError) as error:
        return [
            Result(
                part, "reachable", "failed", f"{type(error).__name__}: {error}", "Start it, or correct its URL: host, port, password, TLS."
            )
        ]
    finally:
        await client.aclose()
    results = [_version(part, info)]
    if part != "Redis (cache)":
        results += [_eviction(part, info), _persistence(part, info)]
    return results


def _version(part: str, info: dict[str, Any]) -> Result:
    version = str(info.get("valkey_version", info["redis_version"]))
    good = tuple(int(number) for number in version.split(".")[:2]) >= LEAST_VERSION
    return verdict(
        part, "version", good=good, detail=f"{info.get('server_name', 'redis')} {version}", remedy="Use Redis 7 or Valkey 7.2, or newer."
    )


def _eviction(part: str, info: dict[str, Any]) -> Result:
    policy = str(info.get("maxmemory_policy", "unknown"))
    remedy = "Set maxmemory-policy to noeviction: an evicted queue or stream is a lost one until the outbox sends it again."
    return verdict(part, "eviction", good=policy == "noeviction", detail=policy, remedy=remedy)


def _persistence(part: str, info: dict[str, Any]) -> Result:
    on = bool(info.get("aof_enabled")) or bool(info.get("rdb_last_save_time") and info.get("rdb_saves"))
    remedy = "Set appendonly to yes: without it a restart costs clients the events they missed, and limits begin anew."
    return verdict(part, "persistence", good=on, detail="append-only file" if on else "off", remedy=remedy, otherwise="warning")
