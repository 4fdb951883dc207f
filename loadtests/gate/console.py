"""What the gate says while it works, and at the end."""

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Column, Table

from loadtests.gate.finding import Verdict, milliseconds
from loadtests.gate.outcome import Exit
from loadtests.gate.plan import Phase
from loadtests.gate.result import Result
from loadtests.scenarios.visit import API

COLOURS = {Exit.PASS: "bold green", Exit.FAIL: "bold red"}
MOST_TROUBLES = 15


class ConsoleProgress:
    """A bar on a terminal; a line for every step and every ten seconds elsewhere."""

    def __init__(self) -> None:
        self._console = Console(stderr=True)
        columns = (BarColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
        self._bar = Progress(*columns, console=self._console, transient=True, disable=not self._console.is_terminal)
        self._task = self._bar.add_task("starting", total=None)
        self._turns = 0
        self._said = ""

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._bar.stop()

    def step(self, text: str) -> None:
        """Say what happens now."""
        self._bar.update(self._task, description=text, total=None)
        subject = text.partition(":")[0]
        if not self._console.is_terminal and subject != self._said:
            self._said = subject
            self._console.print(text, highlight=False)

    def load(self, phases: Sequence[Phase], facts: dict[str, Any]) -> None:
        """Say how far the load is."""
        if "phase" not in facts:
            return
        self._turns += 1
        number: int = facts["phase"]
        text = f"phase {phases[number].name}: {facts['requests']:,} requests, {facts['failed']:,} failed"
        self._bar.update(self._task, description=text, total=sum(phase.seconds for phase in phases), completed=self._turns)
        if not self._console.is_terminal and self._turns % 10 == 0:
            self._console.print(text, highlight=False)


def show(result: Result, out: Path) -> None:
    """Print the verdict and what led to it."""
    console = Console()
    table = Table(
        Column("endpoint", no_wrap=True), "requests", "failed", "p50", "p95", "p99", "", title=f"{result.kind}, profile {result.profile}"
    )
    for each in result.endpoints:
        cells = [milliseconds(each.quantiles[name]) if name in each.quantiles else "·" for name in ("p50", "p95", "p99")]
        verdict = str(each.verdict) if each.verdict is Verdict.PASS else f"[red]{each.verdict}[/]"
        table.add_row(each.name.replace(API, ""), f"{each.total:,}", f"{each.failed:,}", *cells, verdict)
    console.print(table)
    for finding in result.troubles[:MOST_TROUBLES]:
        text = f"{finding.subject}, {finding.check}: {finding.value} (limit {finding.limit}). {finding.sentence}"
        console.print(
            f"{finding.verdict}: {text}", style="red" if finding.verdict is Verdict.FAIL else "yellow", markup=False, highlight=False
        )
    if len(result.troubles) > MOST_TROUBLES:
        console.print(f"and {len(result.troubles) - MOST_TROUBLES} more")
    style = COLOURS.get(result.exit, "bold yellow")
    console.print(
        f"[{style}]{result.word}[/] after {result.seconds:.0f} s; reports in {out}/: report.html, summary.md, junit.xml, result.json"
    )
