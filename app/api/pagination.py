"""Links between the pages of a listing (RFC 8288)."""

from urllib.parse import urlencode

from starlette.requests import Request


def links(request: Request, next_cursor: str | None, prev_cursor: str | None) -> list[tuple[bytes, bytes]]:
    """Return the ``Link`` header that leads to the neighbouring pages, none where there are none.

    Args:
        request: The listing's request; its other parameters stay as they are.
        next_cursor: Where the next page begins.
        prev_cursor: Where the previous page begins.
    """
    kept = [(name, value) for name, value in request.query_params.multi_items() if name not in {"cursor", "skip"}]
    found = [
        f'<{request.url.path}?{urlencode([*kept, ("cursor", where)])}>; rel="{relation}"'
        for relation, where in (("next", next_cursor), ("prev", prev_cursor))
        if where is not None
    ]
    return [(b"link", ", ".join(found).encode())] if found else []
