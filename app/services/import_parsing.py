"""Files into rows: bytes in, rows and errors out, and a position from which any process can go on.

Nothing here waits or remembers; what a block yields depends on its bytes and the position it starts at, so a file gives
the same rows however it is cut into blocks and wherever reading was interrupted.
"""

import csv
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from io import BytesIO
from typing import Final, Literal, NamedTuple, TypedDict

from app.core.errors import FieldError
from app.services.import_rows import Columns, Faults, Row, from_cells, from_line

type Format = Literal["csv", "ndjson"]

MAX_ROW_BYTES: Final = 2**20
MAX_KEPT_ERRORS: Final = 100
BATCH_ROWS: Final = 5_000
#: Bytes that may be read twice, beyond as many as the file has had so far, in looking for quotation marks that never close.
MAX_WASTED_BYTES: Final = 64 * 2**20

_BOM: Final = b"\xef\xbb\xbf"
_UTF16_MARKS: Final = (b"\xff\xfe", b"\xfe\xff")
_NEVER_CLOSED: Final = "unexpected end of data"
_REASONS: Final = {
    _NEVER_CLOSED: "has a quotation mark that is never closed",
    "field larger than field limit (131072)": "has a cell over 131,072 characters, or a quotation mark that is never closed",
    "',' expected after '\"'": 'has text after a closing quotation mark; inside quotation marks, write "" for one',
    "new-line character seen in unquoted field - do you need to open the file with newline=''?": "has a carriage return outside of "
    "quotation marks; end lines with LF or CRLF",
}
_TOO_LARGE: Final = f"is larger than {MAX_ROW_BYTES:,} bytes, or has a quotation mark that is never closed"


class ImportRefused(Exception):  # noqa: N818  # an outcome of the import, not an error of the program
    """The file as a whole cannot be imported; the message says why."""


class RowError(TypedDict):
    """What is wrong with a row (1 is the first data row)."""

    row: int
    pointer: str
    detail: str


class Position(NamedTuple):
    """Where a file was left, always between two rows or inside one given up.

    Attributes:
        offset: Bytes before it.
        line: Lines before it.
        row: Data rows before it.
        skipping: Whether the rest of the present line belongs to a row given up as too large.
        wasted: Bytes read in vain so far.
    """

    offset: int = 0
    line: int = 0
    row: int = 0
    skipping: bool = False
    wasted: int = 0


@dataclass(slots=True)
class Batch:
    """What a block gave: good rows, errors (the first ``MAX_KEPT_ERRORS``), and where to go on."""

    position: Position
    rows: list[Row] = field(default_factory=list[Row])
    errors: list[RowError] = field(default_factory=list[RowError])
    failed: int = 0

    def fail(self, row: int, line: int, faults: Faults) -> None:
        """Count a row as failed and keep why, if there is room."""
        self.failed += 1
        for fault in faults[: MAX_KEPT_ERRORS - len(self.errors)]:
            self.errors.append({"row": row, "pointer": fault["pointer"], "detail": f"Line {line}: {fault['detail']}."})


#: Parses a block that starts at a position; told whether the block is the file's last.
type Parse = Callable[[bytes, Position, bool], Batch]


def open_file(format_: Format, block: bytes, *, final: bool) -> tuple[list[str], Position]:
    """Return the names of a file's columns (none for NDJSON) and where its rows begin.

    Args:
        format_: What the file is.
        block: How it begins: more than ``MAX_ROW_BYTES``, or all of it.
        final: Whether that is all of it.

    Raises:
        ImportRefused: if it is no such file.
    """
    if block.startswith(_UTF16_MARKS):
        raise ImportRefused("The file is UTF-16; save it as UTF-8.")
    begin = Position(offset=len(_BOM) if block.startswith(_BOM) else 0)
    return ([], begin) if format_ == "ndjson" else _read_header(block[begin.offset :], begin, final=final)


def parser(format_: Format, names: list[str]) -> Parse:
    """Return what parses the blocks of a file.

    Raises:
        ImportRefused: if the columns are not those of an import.
    """
    return _parse_ndjson if format_ == "ndjson" else partial(_parse_csv, _columns(names))


def _read_header(block: bytes, begin: Position, *, final: bool) -> tuple[list[str], Position]:
    lines, scan = _lines(block, final=final), _Scan(block, begin)
    for count, record in _csv_records(lines, scan, final=final):
        scan.take(lines, count)
        if isinstance(record, str):
            raise ImportRefused(f"The header (line {scan.line}) {record}.")
        if record:
            names = [name.strip() for name in record]
            _columns(names)
            return names, scan.position()
    if block.strip():
        raise ImportRefused(f"The header {_TOO_LARGE}.")
    raise ImportRefused("The file is empty; its first line must name the columns: title, description, attributes.")


def _columns(names: list[str]) -> Columns:
    try:
        "".join(names).encode()
    except UnicodeEncodeError:
        raise ImportRefused("The header is not valid UTF-8.") from None
    for name in ("title", "description", "attributes"):
        if names.count(name) > 1:
            raise ImportRefused(f"The header names the column {name} more than once.")
    if "title" not in names:
        raise ImportRefused(f"The header lacks the column title; it has: {', '.join(names)[:200]}.")
    where = {name: index for index, name in enumerate(names)}
    return Columns(len(names), where["title"], where.get("description"), where.get("attributes"))


class _Scan:
    """A position that moves through the lines of a block."""

    __slots__ = ("end", "index", "line", "offset", "row", "wasted")

    def __init__(self, block: bytes, start: Position) -> None:
        self.index = 0
        self.offset, self.line, self.row, _, self.wasted = start
        self.end = start.offset + len(block)

    def take(self, lines: list[bytes], count: int) -> None:
        """Move past lines."""
        for index in range(self.index, self.index + count):
            self.offset += len(lines[index])
        self.index += count
        self.line += count

    def waste(self, size: int) -> None:
        """Account for bytes that were read in vain; quotes opened on every line and never closed must not take forever."""
        self.wasted += size
        if self.wasted > MAX_WASTED_BYTES + self.offset:
            raise ImportRefused(f"Too many quotation marks are never closed, the last one on line {self.line + 1}; is this CSV?")

    def position(self) -> Position:
        """Return where it is now."""
        return Position(self.offset, self.line, self.row, skipping=False, wasted=self.wasted)


def _lines(block: bytes, *, final: bool) -> list[bytes]:
    return BytesIO(block if final else block[: block.rfind(b"\n") + 1]).readlines()


def _is_suspect(block: bytes) -> bool:
    """Tell whether values must be looked at for NUL and broken UTF-8, one by one."""
    try:
        block.decode()
    except UnicodeDecodeError:
        return True
    return b"\0" in block or b"\\u0000" in block


def _decoded(lines: list[bytes], first: int) -> Iterator[str]:
    for index in range(first, len(lines)):
        if len(lines[index]) > MAX_ROW_BYTES:
            raise csv.Error(_TOO_LARGE)
        yield lines[index].decode("utf-8", "surrogateescape")


def _csv_records(lines: list[bytes], scan: _Scan, *, final: bool) -> Iterator[tuple[int, list[str] | str]]:
    """Yield how many lines a record takes and its cells, or why it is none; the caller moves ``scan`` past each.

    After a record that cannot be read the next line begins a new one, so that a quotation mark too many costs one row.
    """
    while scan.index < len(lines):
        reader, taken = csv.reader(_decoded(lines, scan.index), strict=True), 0
        try:
            for cells in reader:
                count = reader.line_num - taken
                if count > 1 and sum(map(len, lines[scan.index : scan.index + count])) > MAX_ROW_BYTES:
                    raise csv.Error(_TOO_LARGE)  # noqa: TRY301  # one way out for every fault
                yield count, cells
                taken = reader.line_num
        except csv.Error as error:
            reason = str(error)
            if reason == _NEVER_CLOSED:
                if scan.end - scan.offset > MAX_ROW_BYTES:
                    reason = _TOO_LARGE
                elif not final:
                    return
            scan.waste(sum(map(len, lines[scan.index + 1 : scan.index + reader.line_num - taken])))
            yield 1, _REASONS.get(reason, reason)


def _json_records(lines: list[bytes], scan: _Scan, *, final: bool) -> Iterator[tuple[int, bytes | str]]:  # noqa: ARG001  # as _csv_records
    for line in lines[scan.index :]:
        yield 1, _TOO_LARGE if len(line) > MAX_ROW_BYTES else line.strip()


def _parse_csv(columns: Columns, block: bytes, start: Position, final: bool) -> Batch:  # noqa: FBT001  # as Parse
    return _parse(_csv_records, lambda cells, suspect: from_cells(cells, columns, suspect=suspect), block, start, final=final)


def _parse_ndjson(block: bytes, start: Position, final: bool) -> Batch:  # noqa: FBT001  # as Parse
    return _parse(_json_records, lambda line, suspect: from_line(line, suspect=suspect), block, start, final=final)


def _parse[Record](
    records: Callable[..., Iterator[tuple[int, Record | str]]],
    convert: Callable[[Record, bool], Row | Faults],
    block: bytes,
    start: Position,
    *,
    final: bool,
) -> Batch:
    lines = _lines(block, final=final)
    if not lines:
        return _parse_part_of_a_line(block, start)
    batch, scan, suspect = Batch(start), _Scan(block, start), _is_suspect(block)
    if start.skipping:
        scan.take(lines, 1)
    for count, record in records(lines, scan, final=final):
        line = scan.line + 1
        scan.take(lines, count)
        if not record:
            continue  # an empty line is no row
        scan.row += 1
        outcome = [FieldError(pointer="", detail=record)] if isinstance(record, str) else convert(record, suspect)
        if isinstance(outcome, tuple):
            batch.rows.append(outcome)
        else:
            batch.fail(scan.row, line, outcome)
        if scan.row - start.row == BATCH_ROWS:
            break
    batch.position = scan.position()
    return batch


def _parse_part_of_a_line(block: bytes, start: Position) -> Batch:
    """Give up a row whose first line alone is too large, and pass over what there is of it."""
    beyond = start._replace(offset=start.offset + len(block), skipping=True)
    if start.skipping:
        return Batch(beyond)
    if len(block) <= MAX_ROW_BYTES:
        return Batch(start)
    batch = Batch(beyond._replace(row=start.row + 1))
    batch.fail(start.row + 1, start.line + 1, [{"pointer": "", "detail": _TOO_LARGE}])
    return batch
