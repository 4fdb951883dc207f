"""``make reliability``: kill processes of a stack of its own at random moments under load, and count."""

import argparse
import asyncio
import random
import tempfile
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from tests.reliability.chaos import run


def main() -> None:
    """Run, show the figures, and exit with 1 if there is a fault."""
    parser = argparse.ArgumentParser(prog="python -m tests.reliability", description=__doc__)
    parser.add_argument("--kills", type=int, default=200, help="processes to kill (200)")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6), help="repeats a run's choices")
    given = parser.parse_args()
    console = Console()
    console.print(f"Killing {given.kills} processes; the same choices again: --seed {given.seed}")
    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with tempfile.TemporaryDirectory(prefix="platform-chaos-") as name, Progress(*columns, console=console) as progress:
        task = progress.add_task("starting", total=given.kills)
        folder = Path(name)
        folder.chmod(0o711)
        verdict = asyncio.run(
            run(folder, given.kills, given.seed, lambda count, part: progress.update(task, completed=count, description=part))
        )
    table = Table("figure", "count")
    for figure, count in verdict.figures.items():
        table.add_row(figure, f"{count:,}")
    console.print(table)
    for fault in verdict.faults:
        console.print(f"[red]fault:[/] {fault}")
    console.print("Nothing acknowledged was lost or done twice." if not verdict.faults else f"{len(verdict.faults)} faults.")
    raise SystemExit(bool(verdict.faults))


if __name__ == "__main__":
    main()
