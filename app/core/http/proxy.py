"""Who is asking, and for which host: forwarded headers from trusted proxies, host names we answer to."""

from collections.abc import MutableMapping, Sequence
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any, Final

from app.core.errors import InvalidHost

type Network = IPv4Network | IPv6Network
type Headers = list[tuple[bytes, bytes]]

IPV6_SUBSCRIBER_PREFIX: Final = 64
CACHED_ADDRESSES: Final = 4096


@lru_cache(CACHED_ADDRESSES)
def normalise(address: str) -> str | None:
    """Return an IP address in its canonical form, without port and brackets; ``None`` if it is none.

    An IPv4 address written as IPv6 (``::ffff:192.0.2.1``, what a dual-stack socket shows) is IPv4.
    """
    text = address.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        parsed = ip_address(text)
    except ValueError:
        return None
    mapped = parsed.ipv4_mapped if isinstance(parsed, IPv6Address) else None
    return str(mapped or parsed)


@lru_cache(CACHED_ADDRESSES)
def subscriber(address: str) -> str:
    """Return what a limit per address counts by: an IPv4 address, or the /64 an IPv6 subscriber has to himself."""
    plain = normalise(address)
    if plain is None or ":" not in plain:
        return plain or address
    return str(ip_network((plain.partition("%")[0], IPV6_SUBSCRIBER_PREFIX), strict=False))


class Proxies:
    """Believes ``X-Forwarded-For``, ``-Proto`` and ``-Host`` from trusted peers and from nobody else.

    Args:
        trusted: Addresses or networks (CIDR) of the proxies in front. Empty: nobody is believed, loopback included.

    Raises:
        ValueError: if an entry is neither.
    """

    def __init__(self, trusted: Sequence[str]) -> None:
        self._networks: list[Network] = [ip_network(entry, strict=False) for entry in trusted]
        self._trusts = lru_cache(CACHED_ADDRESSES)(self._is_within)

    def _is_within(self, address: str) -> bool:
        parsed = ip_address(address)
        return any(parsed in network for network in self._networks)

    def apply(self, scope: MutableMapping[str, Any]) -> bool:
        """Put the client's address, scheme and host into an ASGI scope, and tell whether that changed its headers.

        The client is the rightmost address of ``X-Forwarded-For`` that is not a trusted proxy: all further left was
        written by whoever sent the request.
        """
        if not self._networks or scope["client"] is None:
            return False
        peer = normalise(scope["client"][0])
        if peer is None or not self._trusts(peer):
            return False
        found = _forwarded(scope["headers"])
        if b"x-forwarded-for" in found:
            scope["client"] = (self._client(peer, found[b"x-forwarded-for"]), 0)
        if (scheme := found.get(b"x-forwarded-proto", "").lower()) in {"http", "https"}:
            scope["scheme"] = scheme if scope["type"] == "http" else {"http": "ws", "https": "wss"}[scheme]
        host = found.get(b"x-forwarded-host")
        if host:
            scope["headers"] = [(b"host", host.encode("latin-1")), *((name, value) for name, value in scope["headers"] if name != b"host")]
        return bool(host)

    def _client(self, peer: str, chain: str) -> str:
        client = peer
        for hop in reversed(chain.split(",")):
            address = normalise(hop)
            if address is None:
                break
            client = address
            if not self._trusts(address):
                break
        return client


def _forwarded(headers: Headers) -> dict[bytes, str]:
    """Return the forwarded headers: the whole chain of addresses; of the others, what the nearest proxy said."""
    found: dict[bytes, str] = {}
    for name, value in headers:
        if name == b"x-forwarded-for":
            before = found.get(name)
            found[name] = value.decode("latin-1") if before is None else f"{before},{value.decode('latin-1')}"
        elif name in {b"x-forwarded-proto", b"x-forwarded-host"}:
            found[name] = value.decode("latin-1").rpartition(",")[2].strip()
    return found


class Hosts:
    """The host names this service answers to.

    Args:
        allowed: Names without port; ``*.example.com`` stands for every name below, ``*`` for every name at all.
    """

    def __init__(self, allowed: Sequence[str]) -> None:
        names = {name.lower() for name in allowed}
        self._any = "*" in names
        self._names = frozenset(name.encode() for name in names if not name.startswith("*"))
        self._suffixes = tuple(name[1:].encode() for name in names if name.startswith("*."))
        self._is_ours = lru_cache(CACHED_ADDRESSES)(self._names_us)

    def refuse_foreign(self, headers: Headers) -> None:
        """Refuse a request that is not for this service.

        Raises:
            InvalidHost: if its Host header is missing, doubled or names somebody else.
        """
        if not self.allow(headers):
            raise InvalidHost

    def allow(self, headers: Headers) -> bool:
        """Return whether a request's one Host header (RFC 9110, 7.2) names this service."""
        given = [value for name, value in headers if name == b"host"]
        if len(given) != 1:
            return False
        return self._is_ours(given[0])

    def _names_us(self, value: bytes) -> bool:
        host = _without_port(value).lower()
        return self._any or host in self._names or (bool(self._suffixes) and host.endswith(self._suffixes))


def _without_port(host: bytes) -> bytes:
    if host.startswith(b"["):
        return host[: host.find(b"]") + 1]
    return host.partition(b":")[0]
