"""JSON documents as PostgreSQL's ``jsonb`` can hold them, and RFC 7396 merge patches of them."""

import math
import re
from typing import Any, Final, cast

from pydantic_core import from_json, to_json

from app.core.text import refuse_unstorable

MAX_DOCUMENT_BYTES: Final = 16 * 1024
#: One less than a request body may be deep, because the body holds the document.
MAX_DOCUMENT_DEPTH: Final = 63
#: What compact JSON shows wherever ``refuse_unstorable_values`` might find a fault; looking for it is ten times as fast.
_SUSPECT: Final = re.compile(rb"\\u0000|Infinity|NaN")

type Document = dict[str, Any]


def refuse_unstorable_values(value: Any) -> None:
    """Check every string and number within a JSON value.

    Raises:
        ValueError: if a string holds NUL or a lone surrogate, or a number is not finite.
    """
    if isinstance(value, str):
        refuse_unstorable(value)
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError("must not contain NaN, Infinity or a number beyond the range of a double")
    elif isinstance(value, dict):
        for key, member in value.items():  # pyright: ignore[reportUnknownVariableType]  # any JSON
            refuse_unstorable_values(key)
            refuse_unstorable_values(member)
    elif isinstance(value, list):
        for member in value:  # pyright: ignore[reportUnknownVariableType]  # any JSON
            refuse_unstorable_values(member)


def encode_document(document: Document) -> str:
    """Return a document as compact JSON.

    Raises:
        ValueError: if PostgreSQL cannot hold it or it is larger than ``MAX_DOCUMENT_BYTES``.
    """
    try:
        encoded = to_json(document)
    except ValueError:
        refuse_unstorable_values(document)
        raise
    if _SUSPECT.search(encoded):
        refuse_unstorable_values(document)
    if len(encoded) > MAX_DOCUMENT_BYTES:
        raise ValueError(f"must be at most {MAX_DOCUMENT_BYTES} bytes as compact JSON, not {len(encoded)}")
    return encoded.decode()


def parse_document(text: str) -> str:
    """Return a document given as JSON text as compact JSON.

    Raises:
        ValueError: if it is not JSON or not an object, or one that ``encode_document`` refuses.
    """
    try:
        value = from_json(text, allow_inf_nan=False)
    except ValueError as error:
        raise ValueError(f"is not JSON: {error}") from None
    return encode_parsed(value, text.count("{") + text.count("["))


def encode_parsed(value: Any, brackets: int) -> str:
    """Return a value parsed from JSON as a compact document.

    Args:
        value: What the JSON stood for.
        brackets: How many brackets the JSON text opens; below the depth allowed, depth needs no measuring.

    Raises:
        ValueError: if it is not an object, nested too deeply, or one that ``encode_document`` refuses.
    """
    if not isinstance(value, dict):
        raise ValueError("must be a JSON object")  # noqa: TRY004  # a fault of the data, not of the caller
    document = cast("Document", value)
    if brackets > MAX_DOCUMENT_DEPTH and depth(document) > MAX_DOCUMENT_DEPTH:
        raise ValueError(f"must not be nested deeper than {MAX_DOCUMENT_DEPTH} levels")
    return encode_document(document)


def depth(value: Any) -> int:
    """Return how many brackets surround the innermost value of a JSON value."""
    members: list[Any] | None = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else None  # pyright: ignore[reportUnknownArgumentType,reportUnknownVariableType]  # any JSON
    return 0 if members is None else 1 + max(map(depth, members), default=0)


def merge_patch(target: Any, patch: Any) -> Any:
    """Return ``target`` changed by a merge patch (RFC 7396, 2): null removes a member, an object merges, all else replaces."""
    if not isinstance(patch, dict):
        return patch
    changes: Document = patch  # pyright: ignore[reportUnknownVariableType]  # any JSON
    merged: Document = dict(target) if isinstance(target, dict) else {}  # pyright: ignore[reportUnknownArgumentType]  # any JSON
    for key, value in changes.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge_patch(merged.get(key), value)
    return merged
