"""The rules of a row: what a CSV record or a line of NDJSON must be to become an item."""

import re
from collections.abc import Sequence
from typing import Any, Final, NamedTuple, cast

from pydantic_core import from_json

from app.core.document import encode_parsed, parse_document
from app.core.errors import FieldError
from app.core.text import refuse_unstorable
from app.schemas.item import DESCRIPTION_MAX_LENGTH, TITLE_MAX_LENGTH

#: What an export puts in front of a cell that a spreadsheet would run as a formula is taken off again.
_ESCAPED: Final = re.compile(r"'+[=+\-@\t\r]")
_PLACE_IN_JSON: Final = re.compile(r" at line 1 column (\d+)")

#: Title, description and attributes as compact JSON.
type Row = tuple[str, str | None, str]
type Faults = list[FieldError]


class Columns(NamedTuple):
    """Where a CSV file has its values; ``None`` for a column it does not have."""

    width: int
    title: int
    description: int | None
    attributes: int | None


def from_cells(cells: Sequence[str], columns: Columns, *, suspect: bool) -> Row | Faults:
    """Return the row that a CSV record stands for, or what is wrong with it.

    Args:
        cells: The record.
        columns: What the header said.
        suspect: Whether the text may hold NUL or bytes that were not UTF-8 (as lone surrogates); looked for only then.
    """
    if len(cells) != columns.width:
        return [{"pointer": "", "detail": f"has {len(cells)} cells where the header has {columns.width}"}]
    if suspect and not _is_utf8(cells):
        return [{"pointer": "", "detail": "is not valid UTF-8"}]
    title = _unescape(cells[columns.title])
    description = None if columns.description is None else _unescape(cells[columns.description]) or None
    faults = _text_faults(title, description, suspect=suspect)
    document = "{}"
    if columns.attributes is not None and (text := _unescape(cells[columns.attributes])):
        try:
            document = parse_document(text)
        except ValueError as error:
            faults.append({"pointer": "/attributes", "detail": _PLACE_IN_JSON.sub(r" at character \1", str(error))})
    return faults or (title, description, document)


def from_line(line: bytes, *, suspect: bool) -> Row | Faults:
    """Return the row that a line of NDJSON stands for, or what is wrong with it. Unknown members are ignored.

    Args:
        line: One JSON object.
        suspect: Whether the line may be something else than UTF-8 or hold NUL; looked for only then.
    """
    try:
        if suspect:
            line.decode()
        value = from_json(line, allow_inf_nan=False)
    except UnicodeDecodeError:
        return [{"pointer": "", "detail": "is not valid UTF-8"}]
    except ValueError as error:
        return [{"pointer": "", "detail": "is not JSON: " + _PLACE_IN_JSON.sub(r" at character \1", str(error))}]
    if not isinstance(value, dict):
        return [{"pointer": "", "detail": "must be a JSON object"}]
    members = cast("dict[str, Any]", value)
    return _from_members(members, line.count(b"{") + line.count(b"["), suspect=suspect)


def _from_members(members: dict[str, Any], brackets: int, *, suspect: bool) -> Row | Faults:
    title, description = members.get("title"), members.get("description")
    faults: Faults = []
    if not isinstance(title, str):
        faults.append({"pointer": "/title", "detail": "must be a string" if "title" in members else "is required"})
        title = "-"
    if description is not None and not isinstance(description, str):
        faults.append({"pointer": "/description", "detail": "must be a string or null"})
        description = None
    faults += _text_faults(title, description, suspect=suspect)
    document = "{}"
    if "attributes" in members:
        try:
            document = encode_parsed(members["attributes"], brackets)
        except ValueError as error:
            faults.append({"pointer": "/attributes", "detail": str(error)})
    return faults or (title, description, document)


def _unescape(cell: str) -> str:
    return cell[1:] if cell.startswith("'") and _ESCAPED.match(cell) else cell


def _is_utf8(cells: Sequence[str]) -> bool:
    try:
        "".join(cells).encode()
    except UnicodeEncodeError:
        return False
    return True


def _text_faults(title: str, description: str | None, *, suspect: bool) -> Faults:
    faults: Faults = []
    if not 1 <= len(title) <= TITLE_MAX_LENGTH:
        faults.append({"pointer": "/title", "detail": f"must have 1 to {TITLE_MAX_LENGTH} characters, not {len(title):,}"})
    if description is not None and len(description) > DESCRIPTION_MAX_LENGTH:
        detail = f"must have at most {DESCRIPTION_MAX_LENGTH:,} characters, not {len(description):,}"
        faults.append({"pointer": "/description", "detail": detail})
    if suspect:
        for pointer, text in (("/title", title), ("/description", description or "")):
            try:
                refuse_unstorable(text)
            except ValueError as error:
                faults.append({"pointer": pointer, "detail": str(error)})
    return faults
