"""Keeping secrets and personal data out of what is written down: log lines and error reports pass through here."""

import re
from collections.abc import Collection, Mapping
from functools import lru_cache
from typing import Any, Final, cast

MASK: Final = "[secret]"
EMAIL: Final = "[e-mail]"
PERSONAL: Final = "[personal]"

#: Names of fields whose values are never written down.
SECRET_NAME: Final = re.compile(
    r"passw(or)?d|secret|token|ticket|authorization|cookie|api[_-]?key|\bdsn$|_dsn$|signature|credential|private[_-]?key|recovery",
    re.IGNORECASE,
)
PERSONAL_NAME: Final = re.compile(r"e-?mail$|^(recipient|user_agent|full_name)$", re.IGNORECASE)

#: What makes a text worth a closer look; most have none of it.
_SUSPICIOUS: Final = re.compile(r"@|%40|://|=|:|eyJ|bearer|basic|\$2|\$argon", re.IGNORECASE)
_PATTERNS: Final = (
    # scheme://user:password@host, Sentry's DSN with its key as the user
    (re.compile(r"(\b[a-z][a-z0-9+.-]*://)[^\s/@'\"]+@", re.IGNORECASE), rf"\1{MASK}@"),
    (re.compile(r"\b(bearer|basic)\s+[\w.~+/=-]{8,}", re.IGNORECASE), rf"\1 {MASK}"),
    (re.compile(r"\beyJ[\w-]{5,}\.[\w-]+(\.[\w-]*)?"), MASK),
    (re.compile(r"\$(argon2\w*|2[abxy])\$[^\s'\"]+"), MASK),
    # ?token=..., presigned URLs (AWS Signature Version 4, query parameters)
    (
        re.compile(r"([?&](?:[\w-]*(?:token|ticket|signature|credential|password|key)|code|cursor)=)[^&\s'\"<>]+", re.IGNORECASE),
        rf"\1{MASK}",
    ),
    # password=..., "refresh_token": "...", 'Authorization': '...'
    (
        re.compile(
            r"(\b[\w-]*(?:passw(?:or)?d|secret|_token|\btoken(?==)|authorization|cookie|api_?key)[\w-]*['\"]?\s*[:=]\s*)(\"[^\"]*\"|'[^']*'|[^\s,;&)}\]]+)",
            re.IGNORECASE,
        ),
        rf"\1{MASK}",
    ),
    (re.compile(r"[\w.+~-]+(?:@|%40)(?:[\w-]+\.)+[a-z][\w-]+", re.IGNORECASE), EMAIL),
)


@lru_cache(maxsize=2048)
def scrub_path(path: str) -> str:
    """Return a path as ``scrub_text`` does; the same ones come again and again."""
    return scrub_text(path)


def scrub_text(text: str) -> str:
    """Return a text without passwords, tokens, signatures, credentials in URLs and e-mail addresses."""
    if _SUSPICIOUS.search(text) is None:
        return text
    for pattern, replacement in _PATTERNS:
        text = pattern.sub(replacement, text)
    return text


def scrub(value: object, name: str = "") -> Any:
    """Return a copy of a JSON-like value without secrets and personal data.

    Args:
        value: What is to be written down.
        name: The name of the field that holds it; some names say enough.
    """
    if name and value is not None and not isinstance(value, bool | int | float):
        if SECRET_NAME.search(name):
            return MASK
        if PERSONAL_NAME.search(name):
            return PERSONAL
    if isinstance(value, str):
        return scrub_text(value)
    if isinstance(value, Mapping):
        return {scrub_text(str(key)): scrub(held, str(key)) for key, held in cast("Mapping[object, object]", value).items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [scrub(held) for held in cast("Collection[object]", value)]
    return value
