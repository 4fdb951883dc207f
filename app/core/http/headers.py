"""Headers of every request and response: security, request id, trace context."""

import os
import re
from itertools import count
from typing import Final

type Headers = list[tuple[bytes, bytes]]

_REQUEST_ID: Final = re.compile(rb"[A-Za-z0-9._-]{1,128}")
_TRACEPARENT: Final = re.compile(rb"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-.*)?")

#: Nothing an API answers is a page; a page of ours brings a policy of its own.
CONTENT_SECURITY_POLICY: Final = b"default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
CACHE_CONTROL: Final = b"private, no-store"

ALWAYS: Final[Headers] = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-site"),
]
STRICT_TRANSPORT: Final = (b"strict-transport-security", b"max-age=31536000; includeSubDomains")
#: What a route may set itself.
DEFAULTS: Final[Headers] = [(b"cache-control", CACHE_CONTROL), (b"content-security-policy", CONTENT_SECURITY_POLICY)]

EVERYTHING: Final[Headers] = [*ALWAYS, *DEFAULTS]
OVERRIDABLE: Final = frozenset(name for name, _ in DEFAULTS)


def add_security(headers: Headers, *, https: bool) -> None:
    """Add the security headers to a response's.

    Args:
        headers: The response's headers, names in lower case; changed in place.
        https: Whether the client came by HTTPS, as a trusted proxy says.
    """
    own = {name for name, _ in headers} & OVERRIDABLE
    headers += [entry for entry in EVERYTHING if entry[0] not in own] if own else EVERYTHING
    if https:
        headers.append(STRICT_TRANSPORT)


class _RequestIds:
    """A process's request ids: 16 random digits that are its own, and a count."""

    prefix = ""
    number = count()

    @classmethod
    def renew(cls) -> None:
        """Draw the digits of a process."""
        cls.prefix = os.urandom(8).hex()


_RequestIds.renew()
os.register_at_fork(after_in_child=_RequestIds.renew)


def new_request_id() -> str:
    """Return a fresh request id: 32 hexadecimal digits. It names a request and protects nothing, so it may be guessable."""
    return f"{_RequestIds.prefix}{next(_RequestIds.number):016x}"


def request_id(given: bytes | None) -> str:
    """Return the client's ``X-Request-ID`` if it is well-formed (1 to 128 of ``A-Za-z0-9._-``), else a fresh one."""
    if given is not None and _REQUEST_ID.fullmatch(given):
        return given.decode("ascii")
    return new_request_id()


def traceparent(given: bytes | None) -> str | None:
    """Return the client's ``traceparent`` if it is well-formed (W3C Trace Context, 3.2), else nothing."""
    if given is not None and _TRACEPARENT.fullmatch(given):
        return given.decode("latin-1")
    return None
