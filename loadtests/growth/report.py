"""The curves as tables, plots and a page of the reference."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from textwrap import fill
from typing import Any, Final

from loadtests.bench.people import PEOPLE
from loadtests.bench.report import table
from loadtests.growth import backlog, processes, rows, sockets
from loadtests.growth.curves import Curve, Measure, Point
from loadtests.growth.sentences import EXPLAIN

COLOURS: Final = ("#1f6feb", "#d29922", "#2da44e", "#cf222e", "#8250df", "#57606a", "#bf3989", "#0a7ea4", "#953800")


WIDTH: Final = 140

INTRODUCTION: Final = """\
What one more of something costs, and what ends first. `make growth` measures it anew, `make growth ARGS=--write-docs` writes this page
from what it measured ([figures](growth.json)).
"""
ROWS_HOW: Final = f"""\
Items are made inside PostgreSQL and belong to {PEOPLE} users in equal shares, so that a user's own grow with the table. Each user asks
over a connection of their own, in closed loop, for the same again: pages of {rows.PAGE}, the cursor in the middle of all that the user
has. Words and documents that one item has are asked for before those that many have, over the same connections to PostgreSQL. The API has
a processor of its own. The purge is of the inbox, among at most {rows.PURGED_ROWS:,} rows that stay; its CPU is that of the process that
purges.
"""
SOCKETS_HOW: Final = f"""\
One process; sockets of one user, beyond {sockets.PER_USER:,} of several. Events come one by one, every
{sockets.PAUSE_SECONDS * 1000:.0f} ms, through outbox, relay and Valkey; where sockets are few, that pace decides on the deliveries per
second. Every socket must see every event once. CPU is all that the process spent meanwhile; memory is what it grew by.
"""
PROCESSES_HOW: Final = f"""\
`WEB_CONCURRENCY` processes behind one port, {PEOPLE} connections in closed loop. Nothing is pinned. Memory that processes share counts
once where the system tells; that of the first process and of the one that serves metrics is included.
"""
BACKLOG_HOW: Final = """\
Tasks that do nothing are promised in one statement; the clock stops when the outbox is empty. Every one must be recorded as done, once.
The CPU is that of both workers, their relays, PostgreSQL and Valkey.
"""


@dataclass(frozen=True, slots=True)
class Section:
    """How a curve is shown.

    Attributes:
        title: Its heading.
        size: What grows, as tables and axes call it.
        line: What its lines are, as tables call it.
        measures: The columns of its table; those drawn come first.
        drawn: How many of them are drawn.
        logarithmic: Whether their axes are.
        how: How it is measured.
    """

    title: str
    size: str
    line: str
    measures: tuple[Measure, ...]
    drawn: int
    how: str
    logarithmic: bool = True


SECTIONS: Final = {
    rows.KEY: Section(
        "Rows",
        "rows",
        "request",
        (
            Measure("api", "API, CPU µs"),
            Measure("postgres", "PostgreSQL, CPU µs"),
            Measure("p50", "p50, ms", "{:,.1f}"),
        ),
        3,
        ROWS_HOW,
    ),
    sockets.KEY: Section(
        "Sockets",
        "sockets",
        "what",
        (
            Measure("us", "API, CPU µs per delivery", "{:,.1f}"),
            Measure("per_second", "deliveries per second"),
            Measure("kib", "memory per socket, KiB"),
        ),
        3,
        SOCKETS_HOW,
    ),
    processes.KEY: Section(
        "Processes",
        "processes",
        "request",
        (
            Measure("us", "API, CPU µs per request"),
            Measure("per_second", "requests per second"),
            Measure("mib", "memory of all, MiB"),
            Measure("postgres", "PostgreSQL, CPU µs per request"),
        ),
        3,
        PROCESSES_HOW,
        logarithmic=False,
    ),
    backlog.KEY: Section(
        "Backlog",
        "tasks that wait",
        "what",
        (
            Measure("us", "CPU µs per task"),
            Measure("per_second", "tasks per second"),
            Measure("workers", "workers and relays, CPU µs"),
            Measure("postgres", "PostgreSQL, CPU µs"),
            Measure("valkey", "Valkey, CPU µs"),
        ),
        2,
        BACKLOG_HOW,
    ),
}


def page(curves: Mapping[str, Curve]) -> str:
    """Return the page of the reference, with the curves there are."""
    parts = ["# How cost grows", "<!-- Written by `make growth ARGS=--write-docs`. -->", _wrapped(INTRODUCTION)]
    for key, section in SECTIONS.items():
        if key in curves:
            curve = curves[key]
            parts += [
                f"## {section.title}",
                f"![{section.title}: cost by {section.size}](growth-{key}.svg)",
                _wrapped(EXPLAIN[key](curve)),
                curve_table(curve, section).rstrip(),
                _wrapped(section.how),
                "\n".join(f"- {name}: {value}" for name, value in curve.where.items()),
            ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _wrapped(text: str) -> str:
    return fill(" ".join(text.split()), WIDTH, break_long_words=False, break_on_hyphens=False)


def curve_table(curve: Curve, section: Section) -> str:
    """Return every figure of a curve, as Markdown."""
    head = (section.line, section.size, *(measure.title for measure in section.measures))
    found = [
        (point.line, f"{point.size:,}", *(_written(point, measure) for measure in section.measures))
        for line in curve.lines
        for point in curve.along(line)
    ]
    return table(head, found)


def _written(point: Point, measure: Measure) -> str:
    return measure.form.format(point.values[measure.key]) if measure.key in point.values else "-"


def plot(curve: Curve, path: Path) -> None:
    """Draw a curve, a panel per measure."""
    import matplotlib as mpl  # noqa: PLC0415  # costs a second, and only who draws needs it

    mpl.use("svg")
    from matplotlib import pyplot as plt  # noqa: PLC0415  # as above

    library: Any = plt  # its own types are partial
    section = SECTIONS[curve.key]
    with library.rc_context({"svg.hashsalt": "growth", "font.size": 9}):
        figure, panels = library.subplots(1, section.drawn, figsize=(3.6 * section.drawn, 3.6), squeeze=False)
        for panel, measure in zip(panels[0], section.measures, strict=False):
            _draw(panel, curve, section, measure)
        if len(curve.lines) > 1:
            handles, labels = panels[0][0].get_legend_handles_labels()
            figure.legend(handles, labels, loc="lower center", ncols=3, frameon=False, fontsize=8)
        figure.tight_layout(rect=(0, 0.05 * (1 + len(curve.lines) // 3) if len(curve.lines) > 1 else 0, 1, 1))
        figure.savefig(path, format="svg", metadata={"Date": None})
        library.close(figure)
    # Matplotlib ends some lines with blanks, which editors and hooks take away again.
    path.write_text("\n".join(line.rstrip() for line in path.read_text().splitlines()) + "\n")


def _draw(panel: Any, curve: Curve, section: Section, measure: Measure) -> None:
    sizes = sorted({point.size for point in curve.points})
    for line, colour in zip(curve.lines, COLOURS, strict=False):
        points = [point for point in curve.along(line) if measure.key in point.values]
        panel.plot([point.size for point in points], [point.values[measure.key] for point in points], marker="o", color=colour, label=line)
    panel.set_xscale("log")
    panel.set_xticks(sizes, [f"{size:,}" for size in sizes], rotation=30 if len(sizes) > 3 else 0)  # noqa: PLR2004  # more would overlap
    panel.minorticks_off()
    if section.logarithmic:
        panel.set_yscale("log")
    else:
        panel.set_ylim(bottom=0)
    panel.set_title(measure.title)
    panel.set_xlabel(section.size)
    panel.grid(visible=True, alpha=0.3)
    panel.spines[["top", "right"]].set_visible(False)


def write(curves: Mapping[str, Curve], folder: Path) -> list[Path]:
    """Write page, plots and figures; return the files.

    Args:
        curves: By key.
        folder: Where to.
    """
    found = [folder / "growth.md", folder / "growth.json"]
    found[0].write_text(page(curves))
    found[1].write_text(json.dumps({key: asdict(curve) for key, curve in curves.items()}, indent=1, ensure_ascii=False) + "\n")
    for key, curve in curves.items():
        found.append(folder / f"growth-{key}.svg")
        plot(curve, found[-1])
    return found


def read(folder: Path) -> dict[str, Curve]:
    """Return the curves that ``write`` left in a folder."""
    path = folder / "growth.json"
    given: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return {key: Curve(**(values | {"points": [Point(**point) for point in values["points"]]})) for key, values in given.items()}
