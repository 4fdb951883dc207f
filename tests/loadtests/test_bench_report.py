"""What the benchmark prints and writes."""

import re
from pathlib import Path

import pytest

from loadtests.bench.__main__ import DOCS, options
from loadtests.bench.figures import OURS, Fanout, Import, Results, Sample, Spread, Tasks, targets
from loadtests.bench.machine import Machine
from loadtests.bench.report import Context, figures, page, plot, table

SCENARIOS = ("item", "list of 50", "create", "health")


def samples(server: str, cpu: float) -> list[Sample]:
    return [Sample(server, name, number, 1000, 2.0, cpu + number / 100, 0.05, 0.001, 0.004) for number in range(3) for name in SCENARIOS]


@pytest.fixture
def results() -> Results:
    one = Spread(1, 1, 1)
    return Results(
        samples=[*samples(OURS, 0.1), *samples("node", 0.13)],
        memory={OURS: 120.0, "node": 100.0},
        fanout=Fanout(1000, Spread(9.2, 9.1, 9.9), one),
        imported=Import(100_000, Spread(9_000, 8_000, 10_000), one, one),
        tasks=Tasks(2000, Spread(1400, 1300, 1600), one, one, one, one),
    )


@pytest.fixture
def context() -> Context:
    return Context(
        machine=Machine("2026-01-31", "A Processor", 2, 7.8, "Linux 6.1 x86_64"),
        other_work=0.25,
        titles={OURS: "ours", "node": "Node.js"},
        versions={"ours": "Python 3.13", "Node.js": "Node.js v24"},
        left_out={"go": "there is no Go on this machine\nwith more to say"},
        rounds=3,
        seconds=2,
    )


def tables(text: str) -> list[list[list[str]]]:
    blocks = re.findall(r"(?:^\|.*\|\n)+", text, re.MULTILINE)
    return [[[cell.strip() for cell in line.strip("|").split("|")] for line in block.splitlines()] for block in blocks]


def test_a_table_aligns_figures_to_the_right() -> None:
    assert table(("a", "b"), [("x", "1")]) == "| a | b |\n| --- | ---: |\n| x | 1 |\n"
    assert table(("a", "b", "c"), [("x", "y", "1")], names=2).splitlines()[1] == "| --- | --- | ---: |"


def test_every_row_has_as_many_cells_as_its_head(results: Results, context: Context) -> None:
    found = tables(page(results, context))
    assert len(found) == 6
    for rows in found:
        assert {len(row) for row in rows} == {len(rows[0])}
        assert all(re.fullmatch("---:?", cell) for cell in rows[1])


def test_the_page_names_machine_versions_targets_and_what_was_left_out(results: Results, context: Context) -> None:
    written = page(results, context)
    assert "| left out: go | there is no Go on this machine |" in written
    assert "| machine | 2 x A Processor, 8 GiB |" in written
    assert "| date | 2026-01-31 |" in written
    assert "| other work meanwhile | 0.2 of 2 processors |" in written
    assert "| memory per process, ours - Node.js ≤ 30 MiB | +20 MiB | met |" in written
    assert "| import ≥ 10,000 rows/s | 9,000 rows/s (8,000 rows/s to 10,000 rows/s) | **missed** |" in written
    assert "in closed loop" in written
    assert "{" not in written  # every place was filled in


def test_the_row_of_a_request_has_its_figures(results: Results, context: Context) -> None:
    assert "| item | ours | 9,091 (8,333 to 10,000) | 110 | 50 | 160 | 500 | 1.0 | 4.0 |" in figures(results, context)


def test_a_run_without_requests_shows_none(results: Results, context: Context) -> None:
    shown = figures(Results(fanout=results.fanout), context)
    assert "## Requests" not in shown
    assert "| live events to 1,000 sockets: CPU of the API per delivery | 9.2 µs (9.1 µs to 9.9 µs) |" in shown


def test_the_plot_is_the_same_for_the_same_figures(results: Results, context: Context, tmp_path: Path) -> None:
    plot(results, context.titles, tmp_path / "one.svg")
    plot(results, context.titles, tmp_path / "two.svg")
    drawn = (tmp_path / "one.svg").read_text()
    assert drawn == (tmp_path / "two.svg").read_text()
    assert drawn.count("<!-- Node.js -->") == len(SCENARIOS)
    assert "<!-- 9,091 -->" in drawn


def test_the_docs_hold_every_target_with_its_outcome() -> None:
    found = tables((DOCS / "benchmark.md").read_text())
    assert [row[0] for row in found[0][2:]] == [target.name for target in targets(Results())]
    assert {row[2].strip("*") for row in found[0][2:]} <= {"met", "missed", "not measured"}
    assert (DOCS / "benchmark.svg").read_text().startswith("<?xml")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--peers", "node,rust"], "there is no peer rust; there are node, go, textbook"),
        (["--rounds", "0"], "must be positive"),
        (["--seconds", "-1"], "must be positive"),
        (["--write-docs", "--only", "others"], "wants the whole benchmark"),
    ],
)
def test_options_that_make_no_sense_are_refused(arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        options(arguments)
    assert ended.value.code == 2
    assert complaint in capsys.readouterr().err


def test_a_run_may_leave_peers_out() -> None:
    assert options(["--peers", "textbook"]).peers == ["textbook"]
    assert options([]).peers == ["node", "go", "textbook"]
