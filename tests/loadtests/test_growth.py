"""Growth curves: what is asked for, whether there is room, what page and plots say; and one real, small curve."""

import re
import shutil
from pathlib import Path
from typing import NamedTuple

import pytest

from app.core.config import Settings
from loadtests.bench.errors import BenchError
from loadtests.growth import __main__ as command
from loadtests.growth import backlog, report, rows, sockets
from loadtests.growth.curves import Curve, Growth, Point, Say
from loadtests.growth.options import OTHER_BYTES, SIZES, Options, options, require_room, up_to
from loadtests.growth.sentences import EXPLAIN

WHERE = {"when": "2026-01-31", "machine": "2 x A Processor, 8 GiB", "other work meanwhile": "0.1 of 2 processors"}


def rows_curve(**last: float) -> Curve:
    """Return a curve on which nothing grows but the requests named, to what they are given."""
    points = [
        Point(line, size, {"api": 100.0, "postgres": last.get(line, 50.0) if size > 1000 else 50.0, "p50": 1.25})
        for line in ("item", "search", "create")
        for size in (1_000, 10_000_000)
    ]
    return Curve("rows", points, {"bytes of 1000": 1e6, "bytes of 10000000": 5e9}, WHERE)


@pytest.fixture
def curves() -> dict[str, Curve]:
    fanout = [
        Point(sockets.LINE, 1, {"us": 1010.0, "per_second": 30.0}),
        Point(sockets.LINE, 1001, {"us": 11.0, "per_second": 9e4, "kib": 20.0}),
    ]
    shared = [
        Point("item", size, {"us": 100.0, "postgres": 50.0, "per_second": 5000.0 + 100 * (size == 2), "mib": 100.0 + 60 * size})
        for size in (1, 2, 8)
    ]
    waiting = [
        Point(backlog.LINE, size, {"us": 1500.0, "workers": 900.0, "postgres": 500.0, "valkey": 100.0, "per_second": 500.0})
        for size in (1_000, 100_000)
    ]
    return {
        "rows": rows_curve(),
        "sockets": Curve("sockets", fanout, {}, WHERE),
        "processes": Curve("processes", shared, {"processors": 2.0}, WHERE),
        "backlog": Curve("backlog", waiting, {"processors": 2.0}, WHERE),
    }


def said(curve: Curve) -> str:
    return " ".join(EXPLAIN[curve.key](curve).split())


# --- options and room ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--only", "rows,users"], "there is no curve users; there are rows, sockets, processes, backlog"),
        (["--rows", "999"], "--rows must be 1,000 or more"),
        (["--sockets", "0"], "--sockets must be 1 or more"),
        (["--seconds", "0"], "--seconds must be positive"),
        (["--backlog", "many"], "invalid int value"),
    ],
)
def test_options_that_make_no_sense_are_refused(arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        options(arguments)
    assert ended.value.code == 2
    assert complaint in capsys.readouterr().err


def test_all_curves_are_measured_up_to_their_largest_size_unless_asked_otherwise() -> None:
    assert options([]).sizes == SIZES
    assert options(["--only", "rows", "--rows", "50000"]).sizes == {"rows": (1_000, 50_000)}
    assert up_to((1, 2, 4), 4) == (1, 2, 4)
    assert up_to((1, 2, 4), 1) == (1,)


class Usage(NamedTuple):
    total: int
    used: int
    free: int


def leave(monkeypatch: pytest.MonkeyPatch, free: int) -> None:
    """Make the disk have so many bytes free."""

    def disk_usage(_folder: Path) -> Usage:
        return Usage(0, 0, free)

    monkeypatch.setattr(shutil, "disk_usage", disk_usage)


def test_ten_million_items_are_refused_where_there_is_no_room(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    leave(monkeypatch, 8 * 10**9)
    require_room(tmp_path, 1_000_000)
    with pytest.raises(BenchError, match=r"10,000,000 items need 16\.0 GB of disk, .* has 8\.0 GB free.*--rows 1000000$"):
        require_room(tmp_path, 10_000_000)


def test_without_room_the_command_says_so_and_starts_nothing(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    leave(monkeypatch, OTHER_BYTES)

    def start(folder: Path) -> None:
        raise AssertionError(folder)

    monkeypatch.setattr(rows, "stack", start)
    monkeypatch.setattr("sys.argv", ["growth", "--only", "rows", "--write-docs"])
    assert command.main() == command.EXIT_CANNOT
    assert "10,000,000 items need" in " ".join(capsys.readouterr().out.split())


def test_a_page_without_figures_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(command, "DOCS", tmp_path)
    monkeypatch.setattr("sys.argv", ["growth", "--page-only"])
    assert command.main() == command.EXIT_CANNOT
    assert "There are no figures" in capsys.readouterr().out


# --- arithmetic and sentences --------------------------------------------------------------------------------------------------


def test_growth_tells_what_is_spent_once_from_what_is_spent_on_each() -> None:
    growth = Growth("x", 1, 1001, 1010.0, 11.0)
    assert (growth.each, growth.once) == (pytest.approx(10.001), pytest.approx(999.999))
    assert growth.factor == pytest.approx(11 / 1010)
    assert Growth("x", 1_000, 1_000_000, 1, 1).logarithm == pytest.approx(2)


def test_growth_at_one_size_is_none() -> None:
    growth = Growth("x", 1_000, 1_000, 5.0, 5.0)
    assert (growth.factor, growth.logarithm, growth.each, growth.once) == (1, 1, 5.0, 0)


def test_rows_that_cost_no_more_than_their_logarithm_are_said_to_be_steady() -> None:
    assert "None grows faster" in said(rows_curve(search=200.0))
    assert "an item takes 500 bytes with its indexes, so that 16 GiB hold 34 million" in said(rows_curve())


def test_a_request_that_grows_faster_than_the_logarithm_is_named() -> None:
    text = said(rows_curve(search=50_000.0))
    assert "Faster than that: **search**, where PostgreSQL reads rows that it does not answer with" in text
    assert "to 334 (search); growing as the logarithm of the rows would be 2.3." in text
    assert "None grows faster" not in text


def test_sockets_say_what_an_event_costs_once_and_each(curves: dict[str, Curve]) -> None:
    text = said(curves["sockets"])
    assert "an event costs 1,000 µs once, to be read and encoded, and 10.0 µs for each socket" in text
    assert "each of the 10,000 sockets that it accepts can see 10.0 events a second" in text
    assert "A socket takes 20 KiB of memory: 10,000 of them take 195 MiB." in text


def test_limits_in_the_sentences_are_those_of_the_settings(curves: dict[str, Curve]) -> None:
    fields = Settings.model_fields
    assert f"the {fields['WEBSOCKET_MAX_CONNECTIONS'].default:,} sockets" in said(curves["sockets"])
    assert fields["WEBSOCKET_MAX_PER_USER"].default == sockets.PER_USER
    text = said(curves["processes"])
    assert "answered by 2 processes, 5,100 a second, where 1 gives 5,000" in text
    assert "Each further process takes 60 MiB." in text
    assert f"allows {fields['DATABASE_MAX_CONNECTIONS'].default} together, which is 10 processes" in text


def test_a_backlog_that_makes_tasks_dearer_is_said_to_do_so(curves: dict[str, Curve]) -> None:
    assert "costs nothing until its turn" in said(curves["backlog"])
    assert "finish 500 tasks a second, 100,000 in 3 minutes" in said(curves["backlog"])
    dear = [*curves["backlog"].points[:-1], Point(backlog.LINE, 100_000, {"us": 4000.0, "postgres": 500.0, "per_second": 900.0})]
    text = said(Curve("backlog", dear, {"processors": 2.0}))
    assert "it grows with what waits" in text
    assert "100,000 in 111 seconds" in text


# --- page, plots, figures ------------------------------------------------------------------------------------------------------


def tables(text: str) -> list[list[list[str]]]:
    blocks = re.findall(r"(?:^\|.*\|\n)+", text, re.MULTILINE)
    return [[[cell.strip() for cell in line.strip("|").split("|")] for line in block.splitlines()] for block in blocks]


def test_the_page_has_a_table_a_plot_a_sentence_and_a_place_for_every_curve(curves: dict[str, Curve]) -> None:
    text = report.page(curves)
    found = tables(text)
    assert len(found) == len(SIZES)
    for cells in found:
        assert {len(row) for row in cells} == {len(cells[0])}
    for key in SIZES:
        assert f"](growth-{key}.svg)" in text
    assert text.count("- machine: 2 x A Processor, 8 GiB") == len(SIZES)
    assert text.count("next limit") == len(SIZES)
    assert "{" not in text  # every place was filled in
    assert max(len(line) for line in text.splitlines()) <= 140


def test_a_row_has_its_figures_and_a_dash_for_what_was_not_measured(curves: dict[str, Curve]) -> None:
    text = report.page(curves)
    assert "| item | 10,000,000 | 100 | 50 | 1.2 |" in text
    assert "| live events | 1 | 1,010.0 | 30 | - |" in text


def test_a_page_of_some_curves_says_nothing_of_others(curves: dict[str, Curve]) -> None:
    text = report.page({"backlog": curves["backlog"]})
    assert re.findall("^## (.*)$", text, re.MULTILINE) == ["Backlog"]


def test_what_is_written_is_read_again_and_the_same_for_the_same_figures(curves: dict[str, Curve], tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    two.mkdir()
    written = report.write(curves, one)
    assert {path.name for path in written} == {"growth.md", "growth.json", *(f"growth-{key}.svg" for key in SIZES)}
    assert report.read(one) == curves
    report.write(report.read(one), two)
    for path in written:
        assert path.read_bytes() == (two / path.name).read_bytes()
    assert "<!-- search -->" in (one / "growth-rows.svg").read_text()


def test_a_curve_measured_anew_leaves_the_others_on_the_page(
    curves: dict[str, Curve], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("sys.argv", ["growth", "--only", "backlog", "--write-docs"])
    monkeypatch.setattr(command, "DOCS", tmp_path)
    anew = Curve("backlog", [Point(backlog.LINE, 7, dict(curves["backlog"].points[0].values))], {"processors": 2.0}, WHERE)

    def measured(_given: Options, _say: Say) -> dict[str, Curve]:
        return {"backlog": anew}

    def drawn(_curve: Curve, _path: Path) -> None:
        pass

    monkeypatch.setattr(command, "measure", measured)
    monkeypatch.setattr(report, "plot", drawn)
    report.write(curves, tmp_path)
    assert command.main() == 0
    assert report.read(tmp_path) == curves | {"backlog": anew}


# --- measured ------------------------------------------------------------------------------------------------------------------


async def test_a_small_curve_of_rows_is_measured_for_real(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(name, raising=False)  # the curve takes them out of the environment; here they come back
    said: list[str] = []
    curve = await rows.measure(tmp_path, (1_000, 3_000), 0.01, said.append, people=2)
    assert curve.lines == [
        "item",
        "first page",
        "page from the middle, by cursor",
        "search, a word of one item",
        "search, a word of all items",
        "containment, true of one item",
        "containment, true of a quarter",
        "create",
        rows.PURGE,
    ]
    for point in curve.points:
        assert point.values["p50"] > 0
    assert curve.facts["bytes of 3000"] > curve.facts["bytes of 1000"] > 0
    assert any("create index ix_items_owner_id_search" in what for what in said)
