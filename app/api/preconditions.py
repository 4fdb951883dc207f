"""Entity tags of versioned resources (RFC 9110, 8.8.3 and 13.1)."""

import re

_TAG = re.compile(r'(W/)?"(\d{1,9})"')


def etag(version: int) -> bytes:
    """Return the strong entity tag of a version."""
    return b'"%d"' % version


def is_current(if_none_match: str | None, version: int) -> bool:
    """Tell whether the caller has this version already; weak comparison (RFC 9110, 13.1.2)."""
    if if_none_match is None:
        return False
    return if_none_match.strip() == "*" or any(int(tag) == version for _, tag in _TAG.findall(if_none_match))


def versions(if_match: str | None) -> list[int] | None:
    """Return the versions an ``If-Match`` names, ``None`` for any; strong comparison (RFC 9110, 13.1.1).

    A weak or foreign tag matches nothing.
    """
    if if_match is None or if_match.strip() == "*":
        return None
    return [int(tag) for weak, tag in _TAG.findall(if_match) if not weak]
