"""What could be read in two ways is refused before it is read at all: two parties that read it differently are a hole."""

import re
from typing import Final
from urllib.parse import unquote_to_bytes

from app.core.errors import MalformedRequest

type Headers = list[tuple[bytes, bytes]]

#: Headers that mean something else when they come twice. ``Content-Length`` has the parser's check.
SINGLE: Final = frozenset({b"host", b"authorization", b"content-type", b"origin"})

_BROKEN_ESCAPE: Final = re.compile(rb"%(?![0-9A-Fa-f]{2})")


def refuse_doubled(headers: Headers) -> None:
    """Refuse headers that came twice and may come once only (RFC 9110, 5.3).

    Raises:
        MalformedRequest: naming the header.
    """
    names = [name for name, _ in headers if name in SINGLE]
    for name in SINGLE:
        if names.count(name) > 1:
            raise MalformedRequest(f"Send the header `{name.decode().title()}` once.")


def refuse_broken_escapes(encoded: bytes, where: str) -> None:
    """Refuse what is not percent-encoded UTF-8 (RFC 3986, 2.1 and 2.5); decoding would put other characters in its place.

    Args:
        encoded: A query or a form.
        where: Which, for the message.

    Raises:
        MalformedRequest: saying what is broken.
    """
    if not encoded.isascii() or _BROKEN_ESCAPE.search(encoded):
        raise MalformedRequest(f"The {where} is not percent-encoded; write other characters as `%` and two hexadecimal digits.")
    try:
        unquote_to_bytes(encoded).decode()
    except UnicodeDecodeError:
        raise MalformedRequest(f"The {where} is not UTF-8 once it is percent-decoded.") from None
