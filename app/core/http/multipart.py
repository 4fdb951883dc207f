"""Multipart bodies, read to their end or not at all (RFC 7578)."""

from contextlib import aclosing
from typing import override

from starlette.datastructures import FormData
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from app.core.errors import MalformedRequest


class _WholeBody(MultiPartParser):
    """Starlette's parser, which by itself takes a body that breaks off for one whose last part is missing."""

    _ended = False

    @override
    def on_end(self) -> None:
        self._ended = True

    @override
    async def parse(self) -> FormData:
        form = await super().parse()
        if not self._ended:
            for file in self._files_to_close_on_error:
                file.close()
            raise MultiPartException("The body breaks off before its last boundary.")
        return form


async def parse_multipart(request: Request, *, max_files: float, max_fields: float, max_part_size: int) -> FormData:
    """Return the parts of a multipart body. Whoever asks for it closes it.

    Args:
        request: The request.
        max_files: Most parts with a file name.
        max_fields: Most parts without one.
        max_part_size: Largest part without a file name, in bytes.

    Raises:
        MalformedRequest: if it is not multipart, breaks off or has too many parts.
    """
    try:
        async with aclosing(request.stream()) as stream:
            parser = _WholeBody(request.headers, stream, max_files=max_files, max_fields=max_fields, max_part_size=max_part_size)
            return await parser.parse()
    except MultiPartException as error:
        raise MalformedRequest(error.message) from error
