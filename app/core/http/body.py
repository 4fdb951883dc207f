"""Request bodies: how large, how deep, of which type, and what JSON is."""

import re
from array import array
from collections.abc import Awaitable, Callable
from itertools import accumulate
from json import JSONDecodeError, JSONDecoder
from typing import Any, Final, Never, override

from starlette.datastructures import FormData
from starlette.requests import Request

from app.core.errors import MalformedRequest, PayloadTooLarge, UnsupportedMediaType, ValidationFailed
from app.core.http.multipart import parse_multipart
from app.core.http.strict import refuse_broken_escapes

MAX_BODY_BYTES: Final = 1024 * 1024
MAX_DEPTH: Final = 64

type Receive = Callable[[], Awaitable[Any]]

# The closing quote is optional and the repetitions are possessive, so that no input makes it look twice at a byte.
_STRING: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
#: A bracket as a signed byte: one level down or one up.
_LEVELS: Final = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")
_NO_BRACKETS: Final = bytes(set(range(256)) - set(b"[]{}"))


def declared_length(headers: list[tuple[bytes, bytes]]) -> int | None:
    """Return the request's ``Content-Length``, if it has one."""
    for name, value in headers:
        if name == b"content-length":
            return int(value) if value.isdigit() else None
    return None


def refuse_large(length: int | None, limit: int) -> None:
    """Refuse a body that announces to be too large, before a byte of it is read.

    Raises:
        PayloadTooLarge: if ``length`` is above ``limit`` (bytes).
    """
    if length is not None and length > limit:
        raise too_large(limit)


def too_large(limit: int) -> PayloadTooLarge:
    """Return the problem of a body above ``limit`` bytes."""
    return PayloadTooLarge(f"The body is larger than {limit} bytes.")


def limited(receive: Receive, limit: int) -> Receive:
    """Return an ASGI ``receive`` that stops a body at ``limit`` bytes, whatever its length was said to be.

    Raises:
        PayloadTooLarge: from the returned function.
    """
    seen = 0

    async def receive_limited() -> Any:
        nonlocal seen
        message = await receive()
        if message["type"] == "http.request":
            seen += len(message.get("body", b""))
            if seen > limit:
                raise too_large(limit)
        return message

    return receive_limited


def refuse_deep(body: bytes) -> None:
    """Refuse JSON nested deeper than ``MAX_DEPTH``, the body itself being depth 1.

    Small bodies cost two counts. In a large one the strings are cut out and the brackets added up.

    Raises:
        ValidationFailed: if it is deeper.
    """
    if body.count(b"{") + body.count(b"[") <= MAX_DEPTH:
        return
    levels = _STRING.sub(b"", body).translate(_LEVELS, _NO_BRACKETS)
    if max(accumulate(array("b", levels)), default=0) > MAX_DEPTH:
        raise _too_deep()


def _too_deep() -> ValidationFailed:
    return ValidationFailed(errors=[{"pointer": "", "detail": f"Must not be nested deeper than {MAX_DEPTH} levels."}])


def _refuse_constant(name: str) -> Never:
    raise ValidationFailed(errors=[{"pointer": "", "detail": f"{name} is not a number that JSON knows."}])


def _finite(digits: str) -> float:
    value = float(digits)
    if value in {float("inf"), float("-inf")}:
        raise ValidationFailed(errors=[{"pointer": "", "detail": "A number is beyond the range of a double."}])
    return value


_DECODER: Final = JSONDecoder(parse_constant=_refuse_constant, parse_float=_finite)


def parse_json(body: bytes) -> Any:
    """Return what a JSON body says (RFC 8259).

    Raises:
        MalformedRequest: if it is not JSON in UTF-8.
        ValidationFailed: if it is, but too deep, or holds a number no field can hold.
    """
    refuse_deep(body)
    try:
        return _DECODER.decode(body.decode())
    except UnicodeDecodeError as error:
        raise MalformedRequest(f"The body is not UTF-8: byte {error.start} is invalid.") from error
    except JSONDecodeError as error:
        raise MalformedRequest(f"The body is not JSON: {error.msg} at line {error.lineno}, column {error.colno}.") from error
    except RecursionError as error:
        raise _too_deep() from error
    except ValueError as error:
        raise ValidationFailed(errors=[{"pointer": "", "detail": "A number has too many digits."}]) from error


def media_type(request: Request) -> str:
    """Return the request's content type without its parameters, in lower case."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def require_media_type(request: Request, *accepted: str) -> None:
    """Refuse a body of another type than the route reads. A request without a body has no type to refuse.

    Raises:
        UnsupportedMediaType: naming the accepted types, also in ``Accept`` (RFC 9110, 15.5.16).
    """
    if media_type(request) in accepted:
        return
    if request.headers.get("content-length", "") in {"", "0"} and "transfer-encoding" not in request.headers:
        return
    listed = ", ".join(accepted)
    raise UnsupportedMediaType(f"Send the body as {' or '.join(f'`{one}`' for one in accepted)}.", headers={"Accept": listed})


class StrictRequest(Request):
    """A request that is strict about what JSON is, and what a form is."""

    async def json(self) -> Any:
        """Return the body's value; see ``parse_json`` for what is raised."""
        if not hasattr(self, "_parsed"):
            self._parsed = parse_json(await self.body())
        return self._parsed

    @override
    async def _get_form(self, *, max_files: float = 1000, max_fields: float = 1000, max_part_size: int = MAX_BODY_BYTES) -> FormData:
        kind = media_type(self) if self._form is None else ""
        if kind == "multipart/form-data":
            self._form = await parse_multipart(self, max_files=max_files, max_fields=max_fields, max_part_size=max_part_size)
        elif kind == "application/x-www-form-urlencoded":
            refuse_broken_escapes(await self.body(), "body")
        return await super()._get_form(max_files=max_files, max_fields=max_fields, max_part_size=max_part_size)


class WholeRequest(StrictRequest):
    """A request whose body has arrived already.

    Args:
        scope: Its ASGI scope.
        content: Its body.
    """

    def __init__(self, scope: Any, content: bytes) -> None:
        super().__init__(scope, _no_more)
        self._body = content  # where Starlette keeps a body that was read


async def _no_more() -> Any:
    """Stand for the end of a request that has arrived as a whole: its client may have gone, nothing more comes."""
    return {"type": "http.disconnect"}
