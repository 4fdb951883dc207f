"""Cross-origin requests: exactly the origins of ``ALLOWED_ORIGINS``, with credentials (Fetch standard, 3.3)."""

from collections.abc import Sequence
from typing import Final

type Headers = list[tuple[bytes, bytes]]

METHODS: Final = b"GET, HEAD, POST, PATCH, DELETE, OPTIONS"
REQUEST_HEADERS: Final = (
    b"Accept, Authorization, Baggage, Content-Type, Idempotency-Key, If-Match, If-None-Match, "
    b"Sentry-Trace, Traceparent, Tracestate, X-Request-ID"
)
RESPONSE_HEADERS: Final = (
    b"ETag, Idempotency-Replayed, Link, Location, RateLimit, RateLimit-Policy, Retry-After, WWW-Authenticate, X-Request-ID"
)
PREFLIGHT_SECONDS: Final = 600

_VARY: Final = (b"vary", b"Origin")


def normalise(origin: str) -> str:
    """Return an origin as browsers send it: lower case, no slash at the end, no default port."""
    text = origin.strip().rstrip("/").lower()
    for scheme, port in (("http://", ":80"), ("https://", ":443")):
        if text.startswith(scheme):
            text = text.removesuffix(port)
    return text


class Cors:
    """Answers preflights and marks responses.

    Args:
        origins: Origins that may read answers, such as ``https://app.example.com``.
    """

    def __init__(self, origins: Sequence[str]) -> None:
        allowed = [normalise(origin).encode() for origin in origins]
        self._simple: dict[bytes, Headers] = {
            origin: [
                (b"access-control-allow-origin", origin),
                (b"access-control-allow-credentials", b"true"),
                (b"access-control-expose-headers", RESPONSE_HEADERS),
                _VARY,
            ]
            for origin in allowed
        }
        self._preflight: Headers = [
            (b"access-control-allow-methods", METHODS),
            (b"access-control-allow-headers", REQUEST_HEADERS),
            (b"access-control-max-age", b"%d" % PREFLIGHT_SECONDS),
        ]
        self._foreign: Headers = [_VARY]

    def allows(self, origin: bytes) -> bool:
        """Return whether an origin may read answers."""
        return origin in self._simple

    def headers(self, origin: bytes | None) -> Headers:
        """Return what to add to a response. Not to be changed: it is shared.

        Args:
            origin: The request's ``Origin``.
        """
        return self._foreign if origin is None else self._simple.get(origin, self._foreign)

    def preflight(self, origin: bytes) -> Headers:
        """Return the headers of the empty 204 that answers an ``OPTIONS`` with ``Access-Control-Request-Method``.

        A foreign origin learns nothing: without the allowing headers its browser gives up.
        """
        simple = self._simple.get(origin)
        vary = (b"vary", b"Origin, Access-Control-Request-Method, Access-Control-Request-Headers")
        if simple is None:
            return [vary]
        return [*simple[:2], *self._preflight, vary]
