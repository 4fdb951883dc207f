"""Import files into rows, without anything around it."""

import csv
import io
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.services import import_parsing
from app.services.import_parsing import BATCH_ROWS, MAX_ROW_BYTES, Batch, Format, ImportRefused, Position, RowError, open_file, parser
from app.services.import_rows import Row

HEADER = b"title,description,attributes\n"

#: Text that PostgreSQL can hold. Every special character of CSV is likely.
text = st.text(st.one_of(st.sampled_from("\",'\r\n=+-@\t;"), st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
titles = text.filter(lambda value: 1 <= len(value) <= 200)
documents = st.dictionaries(text, st.one_of(st.none(), st.booleans(), st.integers(), text, st.lists(st.integers())), max_size=4)


def read(content: bytes, format_: Format = "csv", *, block_bytes: int = 3 * MAX_ROW_BYTES) -> Batch:
    """Return everything in a file that is read in blocks."""
    block = content[: max(block_bytes, MAX_ROW_BYTES + 1)]
    names, position = open_file(format_, block, final=len(block) == len(content))
    parse = parser(format_, names)
    whole = Batch(position)
    wanted = block_bytes
    while position.offset < len(content):
        block = content[position.offset : position.offset + wanted]
        batch = parse(block, position, position.offset + len(block) == len(content))
        # As over the network: what was not enough is read again with more.
        wanted = block_bytes if batch.position.offset > position.offset else wanted * 2
        whole.rows += batch.rows
        whole.errors += batch.errors
        whole.failed += batch.failed
        position = whole.position = batch.position
    return whole


def details(batch: Batch) -> list[tuple[int, str, str]]:
    """Return the errors without their keys."""
    return [(error["row"], error["pointer"], error["detail"]) for error in batch.errors]


def escape(cell: str) -> str:
    """Return a cell as an export writes it."""
    return "'" + cell if cell.lstrip("'")[:1] in {"=", "+", "-", "@", "\t", "\r"} and cell.lstrip("'") else cell


def as_csv(rows: list[tuple[str, str, dict[str, Any]]], line_end: str) -> bytes:
    """Return rows as Python's own writer writes them, escaped as an export."""
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator=line_end)
    writer.writerow(["attributes", "title", "ignored", "description"])
    for title, description, document in rows:
        writer.writerow([json.dumps(document), escape(title), "x", escape(description)])
    return out.getvalue().encode()


@settings(deadline=None)
@given(st.lists(st.tuples(titles, text, documents), max_size=8), st.sampled_from(["\n", "\r\n"]))
def test_what_was_written_as_csv_is_read_again(rows: list[tuple[str, str, dict[str, Any]]], line_end: str) -> None:
    batch = read(as_csv(rows, line_end))
    assert batch.errors == []
    assert [(title, description or "", json.loads(document)) for title, description, document in batch.rows] == rows
    assert batch.position.row == len(rows)


pieces = st.lists(
    st.one_of(
        st.sampled_from(
            [b'"', b",", b"\n", b"\r\n", b'""', b"a", b"'=", b"\xff", b"\0", b'{"a":1}', b'"{""a"":1}"', b"\\u0000", b"x" * 210]
        ),
        st.binary(max_size=6),
    ),
    max_size=60,
).map(b"".join)


@settings(deadline=None)
@given(pieces, st.sampled_from(["csv", "ndjson"]), st.integers(1, 40))
def test_any_bytes_give_the_same_rows_however_they_are_cut(content: bytes, format_: Format, block_bytes: int) -> None:
    content = (HEADER if format_ == "csv" else b"") + content
    whole = read(content, format_)
    cut = read(content, format_, block_bytes=block_bytes)
    assert (cut.rows, cut.errors, cut.failed) == (whole.rows, whole.errors, whole.failed)
    assert cut.position.row == whole.position.row == len(whole.rows) + whole.failed
    assert cut.position[:2] == whole.position[:2]


@settings(deadline=None)
@given(st.lists(st.one_of(titles.map(lambda title: (title, "d", {"a": 1})), st.just(("", "", {}))), min_size=2, max_size=30), st.data())
def test_reading_resumed_at_any_checkpoint_gives_what_is_left(rows: list[tuple[str, str, dict[str, Any]]], data: st.DataObject) -> None:
    content = as_csv(rows, "\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(import_parsing, "BATCH_ROWS", data.draw(st.integers(1, 10)))
        names, position = open_file("csv", content, final=True)
        parse = parser("csv", names)
        checkpoints: list[tuple[Position, list[Row], list[RowError]]] = []
        while position.offset < len(content):
            batch = parse(content[position.offset :], position, True)
            position = Position(*json.loads(json.dumps(batch.position)))  # as the job keeps it
            checkpoints.append((position, batch.rows, batch.errors))
    at = data.draw(st.integers(0, len(checkpoints) - 1))
    found_rows = [row for _, rows_, _ in checkpoints[: at + 1] for row in rows_]
    found_errors = [error for _, _, errors in checkpoints[: at + 1] for error in errors]
    rest = parser("csv", names)(content[checkpoints[at][0].offset :], checkpoints[at][0], True)
    assert [*found_rows, *rest.rows] == read(content).rows
    assert [*found_errors, *rest.errors] == read(content).errors


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (b"a,b,", ("a", "b", "{}")),
        (b"a,,", ("a", None, "{}")),
        (b'a,,"{""b"": [1, 2.50]}"', ("a", None, '{"b":[1,2.5]}')),
        (b'"a\r\n""b""",c,{}', ('a\r\n"b"', "c", "{}")),
        (b"'=1+1,'@x,", ("=1+1", "@x", "{}")),
        (b"''=1,'plain,", ("'=1", "'plain", "{}")),
        (b"5\" pipe,it's,", ('5" pipe', "it's", "{}")),
        ("é😀,,".encode(), ("é😀", None, "{}")),
        (b'a,,"{""n"":123456789012345678901234567890}"', ("a", None, '{"n":123456789012345678901234567890}')),
    ],
)
def test_a_row_of_csv_becomes_an_item(row: bytes, expected: Row) -> None:
    assert read(HEADER + row).rows == [expected]
    assert read(HEADER + row + b"\r\n").rows == [expected]


@pytest.mark.parametrize(
    ("row", "pointer", "detail"),
    [
        (b",b,", "/title", "must have 1 to 200 characters, not 0"),
        (b"x" * 201 + b",,", "/title", "must have 1 to 200 characters, not 201"),
        (b"a," + b"x" * 10_001 + b",", "/description", "must have at most 10,000 characters, not 10,001"),
        (b"a,b,{", "/attributes", "is not JSON: EOF while parsing an object at character 1"),
        (b"a,b,[1]", "/attributes", "must be a JSON object"),
        (b"a,b,{NaN}", "/attributes", "is not JSON: key must be a string at character 2"),
        (b'a,b,"{""a"":NaN}"', "/attributes", "is not JSON: expected value at character 6"),
        (b'a,b,"{""a"":1e999}"', "/attributes", "must not contain NaN, Infinity or a number beyond the range of a double"),
        (b'a,b,"{""a"":""\\u0000""}"', "/attributes", "must not contain NUL (U+0000)"),
        (b'a,b,"{""a"":""\\ud800""}"', "/attributes", "is not JSON: unexpected end of hex escape at character 13"),
        (b'a,b,"{""a"":""' + b"x" * 16_384 + b'""}"', "/attributes", "must be at most 16384 bytes as compact JSON, not 16392"),
        (b'a,b,"{""a"":' + b"[" * 63 + b"]" * 63 + b'}"', "/attributes", "must not be nested deeper than 63 levels"),
        (b"a,b,,c", "", "has 4 cells where the header has 3"),
        (b"a", "", "has 1 cells where the header has 3"),
        (b"\xff,b,", "", "is not valid UTF-8"),
        (b"a\0,b,", "/title", "must not contain NUL (U+0000)"),
        (b"a,\0,", "/description", "must not contain NUL (U+0000)"),
        (b'"a"b,c,', "", 'has text after a closing quotation mark; inside quotation marks, write "" for one'),
        (b"a\rb,c,", "", "has a carriage return outside of quotation marks; end lines with LF or CRLF"),
        (b'"a,b,', "", "has a quotation mark that is never closed"),
        (b"a," + b"x" * 131_073 + b",", "", "has a cell over 131,072 characters, or a quotation mark that is never closed"),
        (b"a," + b"x" * MAX_ROW_BYTES + b",", "", "is larger than 1,048,576 bytes, or has a quotation mark that is never closed"),
    ],
)
def test_a_faulty_row_of_csv_is_reported_and_the_others_stay(row: bytes, pointer: str, detail: str) -> None:
    batch = read(HEADER + b"good,,\n" + row + b"\nalso good,,{}\n")
    assert details(batch) == [(2, pointer, f"Line 3: {detail}.")]
    assert [title for title, *_ in batch.rows] == ["good", "also good"]
    assert batch.failed == 1


def test_every_fault_of_a_row_is_told_and_the_row_counted_once() -> None:
    batch = read(HEADER + b",,[]\n")
    assert [(error["row"], error["pointer"]) for error in batch.errors] == [(1, "/title"), (1, "/attributes")]
    assert batch.failed == 1


def test_lines_are_counted_where_a_cell_holds_several() -> None:
    batch = read(HEADER + b'"a\nb\nc",,\n\n,,\n')
    assert details(batch) == [(2, "/title", "Line 6: must have 1 to 200 characters, not 0.")]


def test_a_quotation_mark_too_many_costs_one_row() -> None:
    batch = read(HEADER + b'"a,b,\n' + b'good,b,"{""a"":1}"\n' * 3)
    assert [error["row"] for error in batch.errors] == [1]
    assert len(batch.rows) == 3


@pytest.mark.parametrize("format_", ["csv", "ndjson"])
@pytest.mark.parametrize("block_bytes", [MAX_ROW_BYTES + 1, 9 * MAX_ROW_BYTES])
def test_a_giant_line_is_one_error_and_is_never_held(format_: Format, block_bytes: int) -> None:
    good = b"good,,\n" if format_ == "csv" else b'{"title":"good"}\n'
    content = (HEADER if format_ == "csv" else b"") + good + b"x" * 5 * MAX_ROW_BYTES + b"\n" + good
    batch = read(content, format_, block_bytes=block_bytes)
    assert [(error["row"], error["pointer"]) for error in batch.errors] == [(2, "")]
    assert "is larger than 1,048,576 bytes" in batch.errors[0]["detail"]
    assert [title for title, *_ in batch.rows] == ["good", "good"]


@pytest.mark.parametrize("block_bytes", [MAX_ROW_BYTES + 1, 9 * MAX_ROW_BYTES])
def test_a_quoted_row_of_many_lines_ends_at_the_limit(block_bytes: int) -> None:
    lines = b"".join(b'x","\n' for _ in range(MAX_ROW_BYTES // 5 + 10))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(import_parsing, "MAX_WASTED_BYTES", MAX_ROW_BYTES)
        with pytest.raises(ImportRefused, match="Too many quotation marks are never closed"):
            read(HEADER + b'a,"\n' + lines, block_bytes=block_bytes)


@pytest.mark.parametrize("block_bytes", [MAX_ROW_BYTES + 1, 9 * MAX_ROW_BYTES])
def test_a_row_of_many_cells_and_lines_over_the_limit_is_an_error_wherever_it_ends(block_bytes: int) -> None:
    lines = MAX_ROW_BYTES // 5
    batch = read(b"title\n" + b'"' + b'","x\n' * lines + b'"\ngood\n', block_bytes=block_bytes)
    assert batch.errors[0]["row"] == 1
    assert "is larger than 1,048,576 bytes" in batch.errors[0]["detail"]
    assert batch.failed == lines + 1
    assert batch.rows == [("good", None, "{}")]


def test_errors_are_kept_up_to_a_hundred_and_counted_beyond() -> None:
    batch = parser("csv", ["title"])(b'""\n' * 250, Position(), True)
    assert (len(batch.errors), batch.failed) == (100, 250)


def test_a_batch_ends_at_its_limit() -> None:
    batch = parser("csv", ["title"])(b"a\n" * (BATCH_ROWS + 1), Position(), True)
    assert (len(batch.rows), batch.position.row, batch.position.offset) == (BATCH_ROWS, BATCH_ROWS, 2 * BATCH_ROWS)


def test_a_byte_order_mark_is_passed_over() -> None:
    assert read(b"\xef\xbb\xbftitle\na\n").rows == [("a", None, "{}")]
    assert read(b'\xef\xbb\xbf{"title":"a"}\n', "ndjson").rows == [("a", None, "{}")]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "The file is empty; its first line must name the columns"),
        (b"\n\r\n  \n".replace(b" ", b""), "The file is empty"),
        (b"\xef\xbb\xbf", "The file is empty"),
        (b"name,description\na,b\n", "The header lacks the column title; it has: name, description."),
        (b"title,title\n", "names the column title more than once"),
        (b"title,\xff\n", "The header is not valid UTF-8"),
        ("title\na\n".encode("utf-16"), "The file is UTF-16; save it as UTF-8."),
        (b'"title\na\n', r"The header \(line 1\) has a quotation mark that is never closed"),
        (b"title\ra\r", r"The header \(line 1\) has a carriage return outside of quotation marks"),
        (b"x" * (3 * MAX_ROW_BYTES), "The header is larger than 1,048,576 bytes"),
    ],
)
def test_a_file_that_is_no_csv_is_refused_with_the_reason(content: bytes, message: str) -> None:
    with pytest.raises(ImportRefused, match=message):
        read(content, block_bytes=2 * MAX_ROW_BYTES)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b'{"title":"a"}', ("a", None, "{}")),
        (b' {"title":"a","description":null,"id":7} \r', ("a", None, "{}")),
        (b'{"attributes":{"b":[1]},"description":"","title":"\\u00e9"}', ("é", "", '{"b":[1]}')),
        (b'{"title":"=1"}', ("=1", None, "{}")),
    ],
)
def test_a_line_of_ndjson_becomes_an_item(line: bytes, expected: Row) -> None:
    assert read(b"\n" + line + b"\n\n", "ndjson").rows == [expected]


@pytest.mark.parametrize(
    ("line", "pointer", "detail"),
    [
        (b"nonsense", "", "is not JSON: expected ident at character 2"),
        (b"[]", "", "must be a JSON object"),
        (b"{}", "/title", "is required"),
        (b'{"title":1}', "/title", "must be a string"),
        (b'{"title":""}', "/title", "must have 1 to 200 characters, not 0"),
        (b'{"title":"a","description":1}', "/description", "must be a string or null"),
        (b'{"title":"a","attributes":null}', "/attributes", "must be a JSON object"),
        (b'{"title":"a\\u0000"}', "/title", "must not contain NUL (U+0000)"),
        (b'{"title":"\xff"}', "", "is not valid UTF-8"),
        (b'{"title":NaN}', "", "is not JSON: expected value at character 10"),
    ],
)
def test_a_faulty_line_of_ndjson_is_reported_and_the_others_stay(line: bytes, pointer: str, detail: str) -> None:
    batch = read(b'{"title":"good"}\n' + line + b'\n{"title":"also good"}', "ndjson")
    assert details(batch) == [(2, pointer, f"Line 2: {detail}.")]
    assert [title for title, *_ in batch.rows] == ["good", "also good"]
