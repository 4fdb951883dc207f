"""Where load may be sent. A load test of production is an outage with a report."""

from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

import httpx

from loadtests.gate.outcome import GateError, RefusedError
from loadtests.gate.plan import Profile
from loadtests.scenarios.visit import API

#: Environments of the service that load may be sent to. Whatever else it says, and silence, is production.
HARMLESS: Final = frozenset({"local", "test", "staging"})
TIMEOUT_SECONDS: Final = 30
HTTP_OK: Final = 200


@dataclass(frozen=True, slots=True)
class About:
    """What a service says of itself."""

    environment: str
    version: str


def check_host(url: str, profile: Profile) -> str:
    """Return a base URL without a trailing slash.

    Raises:
        RefusedError: if it is none, or its host is not on the profile's list.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise RefusedError(f"{url} is no URL: {error}.") from None
    if parts.scheme not in {"http", "https"} or not host or parts.path.strip("/") or parts.query:
        raise RefusedError(f"{url} is no base URL: give scheme, host and port alone.")
    if host not in profile.hosts:
        raise RefusedError(
            f"{host} is not on the list of profile {profile.name} ({', '.join(profile.hosts)}); name it in {profile.name}.toml."
        )
    return url.rstrip("/")


def ask_service(url: str) -> About:
    """Ask a service what it is, and stop if that is production: a tunnel makes any host a loopback address.

    Raises:
        GateError: if it does not answer as the service does.
        RefusedError: if it is production, or does not say.
    """
    try:
        with httpx.Client(base_url=url, timeout=TIMEOUT_SECONDS, trust_env=False) as client:
            response = client.get(f"{API}/openapi.json")
            document = response.raise_for_status().json()
            # The page of live events is there on a local stack alone; releases that do not name their environment have it, too.
            local = client.get("/live").status_code == HTTP_OK
        info = document["info"]
        environment = info.get("x-environment") or ("local" if local else None)
    except (httpx.HTTPError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise GateError(f"{url} does not answer as the service does: {type(error).__name__}: {error}") from error
    if environment is None:
        raise RefusedError(
            f"{url} does not say which environment it is (`info.x-environment` of its OpenAPI document), so it counts as production."
        )
    if environment not in HARMLESS:
        raise RefusedError(f"{url} says that it is {environment}; load goes to {', '.join(sorted(HARMLESS))} alone.")
    return About(environment, info.get("version", "unknown"))
