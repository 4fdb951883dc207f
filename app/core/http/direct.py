"""Requests answered without ASGI's messages.

ASGI hands a request over piece by piece and takes its answer piece by piece, which is what streams need. Nearly every request
of an API has arrived as a whole when its first byte is read, and is answered by one piece: for those, when their route is
compiled, the protocol (``app.core.http.protocol``) calls the dispatcher itself and gets the answer's bytes. All that is checked,
counted and logged is the same, since the same code does it; whatever is not as simple goes by ASGI.
"""

from typing import Final

from starlette.responses import Response
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from app.core.http import headers
from app.core.http.headers import Headers
from app.core.http.routing import Entry

#: Statuses whose answers have no content (RFC 9110, 6.4.1), nor a length of it.
WITHOUT_CONTENT: Final = frozenset({204, 304})
_NOTED: Final = headers.OVERRIDABLE | {b"content-length"}
_SECURITY: Final = {
    https: b"".join(b"%b: %b\r\n" % field for field in fields)
    for https, fields in ((False, headers.EVERYTHING), (True, [*headers.EVERYTHING, headers.STRICT_TRANSPORT]))
}


class _Nobody:
    """Stands for the event that whoever reads an ASGI body waits for: here nobody does."""

    def set(self) -> None:
        """Do nothing."""


class Direct:
    """A request that may be answered directly; stands where uvicorn keeps the one under way (``RequestResponseCycle``).

    Attributes:
        entry: Its route.
        segments: The segments of its path.
        method: Its method.
        path: Its path, which has no escapes.
        query: Its query, as it came.
        headers: Its headers, names in lower case.
        given: The last value of each header.
        body: What came of its body.
        whole: Whether it has arrived as a whole.
        keep_alive: Whether the connection is for further requests.
        disconnected: Whether the client is gone, or was answered already.
        response_started: As in uvicorn.
        response_complete: Whether it is answered.
    """

    __slots__ = (
        "body",
        "disconnected",
        "entry",
        "given",
        "headers",
        "keep_alive",
        "method",
        "path",
        "query",
        "response_complete",
        "response_started",
        "segments",
        "whole",
    )

    message_event: Final = _Nobody()

    def __init__(  # what a request is; made for every one
        self,
        entry: Entry,
        segments: list[str],
        method: str,
        path: str,
        query: bytes,
        headers: Headers,
        given: dict[bytes, bytes],
        keep_alive: bool,  # noqa: FBT001  # a value
    ) -> None:
        self.entry = entry
        self.segments = segments
        self.method = method
        self.path = path
        self.query = query
        self.headers = headers
        self.given = given
        self.keep_alive = keep_alive
        self.body = b""
        self.whole = self.disconnected = self.response_started = self.response_complete = False


def is_one_piece(response: Response) -> bool:
    """Tell whether a response is bytes and nothing else: no stream, no file, nothing to do afterwards."""
    return response.background is None and isinstance(getattr(response, "body", None), bytes)


def head(  # what a head is made of
    status: int, given: Headers, every: bytes, *, https: bool, size: int, json: bool = False
) -> bytes:
    """Return an answer's head, up to the end of the security headers; what follows are further fields and an empty line.

    Args:
        status: Its status.
        given: Its own headers, names in lower case.
        every: Fields of every answer of the server, encoded.
        https: Whether the client came by HTTPS.
        size: Bytes of its content.
        json: Whether type and length of the content, which is JSON, are to be added.

    Raises:
        ValueError: if a value would end its field (RFC 9110, 5.5).
    """
    parts = [STATUS_LINE[status], every]
    own, sized = False, json
    if json:
        parts.append(b"content-type: application/json\r\ncontent-length: %d\r\n" % size)
    for field in given:
        name, value = field
        if b"\n" in value or b"\r" in value or b"\0" in value:
            raise ValueError(f"the header {name!r} holds a line break")
        parts.append(b"%b: %b\r\n" % field)
        if name in _NOTED:
            sized, own = sized or name == b"content-length", own or name in headers.OVERRIDABLE
    if not sized and status not in WITHOUT_CONTENT:
        parts.append(b"content-length: %d\r\n" % size)
    parts.append(encode(_missing(given, https=https)) if own else _SECURITY[https])
    return b"".join(parts)


def encode(fields: Headers) -> bytes:
    """Return header fields as they stand on the wire."""
    return b"".join([b"%b: %b\r\n" % field for field in fields])


def _missing(given: Headers, *, https: bool) -> Headers:
    marked: Headers = given[:]
    headers.add_security(marked, https=https)
    return marked[len(given) :]
