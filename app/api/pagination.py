"""Links between the pages of a listing (RFC 8288)."""

import re
from typing import Final
from urllib.parse import urlencode

from starlette.requests import Request

#: A query that may stand in a header as it came.
_PLAIN: Final = re.compile(rb"[A-Za-z0-9_.~=&-]*")


def links(request: Request, next_cursor: str | None, prev_cursor: str | None) -> list[tuple[bytes, bytes]]:
    """Return the ``Link`` header that leads to the neighbouring pages, none where there are none.

    Args:
        request: The listing's request; its other parameters stay as they are.
        next_cursor: Where the next page begins.
        prev_cursor: Where the previous page begins.
    """
    if next_cursor is None and prev_cursor is None:
        return []
    kept = _kept(request)
    found = [
        f'<{request.scope["path"]}?{kept}cursor={where}>; rel="{relation}"'
        for relation, where in (("next", next_cursor), ("prev", prev_cursor))
        if where is not None
    ]
    return [(b"link", ", ".join(found).encode())]


def _kept(request: Request) -> str:
    """Return the request's parameters as they stand in a query, with ``&`` behind them, but for its position."""
    query: bytes = request.scope["query_string"]
    if b"cursor" not in query and b"skip" not in query and _PLAIN.fullmatch(query):
        return f"{query.decode()}&" if query else ""
    kept = [(name, value) for name, value in request.query_params.multi_items() if name not in {"cursor", "skip"}]
    return f"{urlencode(kept)}&" if kept else ""
