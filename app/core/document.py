"""JSON documents as PostgreSQL's ``jsonb`` can hold them, and RFC 7396 merge patches of them."""

import math
from typing import Any, Final

from pydantic_core import to_json

from app.core.text import refuse_unstorable

MAX_DOCUMENT_BYTES: Final = 16 * 1024

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
    if not document:
        return "{}"
    refuse_unstorable_values(document)
    encoded = to_json(document)
    if len(encoded) > MAX_DOCUMENT_BYTES:
        raise ValueError(f"must be at most {MAX_DOCUMENT_BYTES} bytes as compact JSON, not {len(encoded)}")
    return encoded.decode()


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
