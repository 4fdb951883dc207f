"""``make infra-rehearsal``: the life of each stage on the real engine of Pulumi, against a stand-in of AWS."""

import argparse
import gc
import random
import signal
import sys
import time
import warnings
from datetime import UTC, datetime
from functools import partial

from rich.console import Console
from rich.status import Status
from rich.table import Table

from tests.infra import stages
from tests.infra.rehearsal.changes import SAMPLE, subject
from tests.infra.rehearsal.engine import ending, installed
from tests.infra.rehearsal.judge import Report
from tests.infra.rehearsal.making.cloud import Cloud, moto
from tests.infra.rehearsal.run import rehearse

INTERRUPTIONS = 30


def main() -> None:
    """Run, show the figures, and exit with 1 if there is a fault."""
    parser = argparse.ArgumentParser(prog="python -m tests.infra.rehearsal", description=__doc__)
    parser.add_argument("--stage", choices=(*stages.STAGES, SAMPLE), action="append", help="only this one; may be repeated")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6), help="repeats a run's choices")
    parser.add_argument("--interruptions", type=int, default=INTERRUPTIONS, help=f"kills of `up` per stage ({INTERRUPTIONS})")
    given = parser.parse_args()
    console = Console()
    _expect_remains()
    # Looking for garbage among the SDK's thousands of tasks takes a good part of a run: it is looked for between the runs.
    gc.disable()
    if installed() is None:
        console.print("skipped: no pulumi on the PATH. https://www.pulumi.com/docs/iac/download-install/ says how to get it.")
        return
    console.print(f"Rehearsing; the same choices again: --seed {given.seed}")
    reports: dict[str, Report] = {}
    # Asked to end, it cleans up as after Ctrl-C.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    with ending(), moto() as endpoint:
        for stage in given.stage or stages.STAGES:
            with console.status(stage) as status:
                show, start = partial(_say, console, status, stage), time.monotonic()
                reports[stage] = rehearse(subject(stage), Cloud(endpoint), given.seed, given.interruptions, show)
                reports[stage].figures["seconds"] = round(time.monotonic() - start)
            for fault in reports[stage].faults:
                console.print(f"[red]fault:[/] {stage}: {fault}", highlight=False, soft_wrap=True)
    _show(console, reports)
    faults = sum(len(report.faults) for report in reports.values())
    console.print("Everything was as planned." if not faults else f"{faults} faults.")
    raise SystemExit(bool(faults))


def _expect_remains() -> None:
    """Say nothing of what an engine leaves in this process when it is killed: a stream without an end, and a coroutine without a loop."""
    warnings.filterwarnings("ignore", message="Error in event stream")
    sys.unraisablehook = lambda it: None if getattr(it.object, "__name__", "") == "run_in_stack" else sys.__unraisablehook__(it)


def _say(console: Console, status: Status, stage: str, what: str) -> None:
    status.update(f"{stage}: {what}")
    if not console.is_terminal:
        console.print(f"{datetime.now(UTC):%H:%M:%S} {stage}: {what}", highlight=False, soft_wrap=True)


def _show(console: Console, reports: dict[str, Report]) -> None:
    table = Table("figure", *reports)
    for figure in dict.fromkeys(figure for report in reports.values() for figure in report.figures):
        table.add_row(figure, *(f"{report.figures.get(figure, 0):,}" for report in reports.values()))
    console.print(table)


if __name__ == "__main__":
    main()
