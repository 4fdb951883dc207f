"""The load gate's command line: ``python -m loadtests COMMAND``; ``make load`` is its ``run``.

Exit codes: 0 pass, 1 fail, 2 invalid or inconclusive, 3 the harness failed, 4 refused. Nothing but a pass is a pass.
"""

import sys
import traceback
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from loadtests.gate.budgets import SLO, load_budgets
from loadtests.gate.builds import checked_out
from loadtests.gate.compare import compare_builds, compare_hosts, is_url
from loadtests.gate.console import ConsoleProgress, show
from loadtests.gate.outcome import Exit, GateError
from loadtests.gate.pairing import LEAST_PAIRS
from loadtests.gate.plan import PROFILES, Profile, load_profile
from loadtests.gate.report import write_reports
from loadtests.gate.result import Result
from loadtests.gate.run import Options, perform
from loadtests.gate.trial import FAULT_NAMES, TRIALS, Trials, summary, try_gate, write_page

OUT = Path(".local-load")

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)

Slo = Annotated[Path, typer.Option(help="The objectives that budgets come from.")]
Out = Annotated[Path, typer.Option(help="Folder for the reports.")]
Rate = Annotated[float, typer.Option(min=0.001, help="Multiply the profile's rate; its cap stays.")]
Pairs = Annotated[int, typer.Option(min=LEAST_PAIRS, max=200, help="Pairs of slices.")]
PROFILE_HELP = "A profile of loadtests/profiles, or a path to one."


class Judged(Exception):  # noqa: N818  # no error
    """A command came to its verdict."""

    def __init__(self, code: Exit) -> None:
        super().__init__(code)
        self.code = code


@app.command()
def run(  # noqa: PLR0913  # the options of a command line
    profile: Annotated[str, typer.Option(help=PROFILE_HELP)] = "smoke",
    *,
    host: Annotated[str | None, typer.Option(help="Base URL of the service; the local stack unless given.")] = None,
    local_dir: Annotated[str, typer.Option(envvar="LOCAL_DIR", help="The local stack's folder, if no host is given.")] = ".local",
    rate: Rate = 1.0,
    seconds: Annotated[float | None, typer.Option(min=1, help="Length of the judged phases instead of the profile's.")] = None,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Processes that send.")] = 1,
    bind: Annotated[str | None, typer.Option(help="ADDRESS:PORT at which the workers join, if they are elsewhere.")] = None,
    seed: Annotated[int | None, typer.Option(help="Repeats the arrivals of another run.")] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Leave people and items where they are.")] = False,
    slo: Slo = SLO,
    out: Out = OUT,
) -> None:
    """Send a profile's load to the local stack or to a host, and judge it by the budgets of slo.yaml."""
    budgets, chosen = load_budgets(slo), _profile(profile, rate, seconds)
    with ConsoleProgress() as progress:
        result = perform(chosen, budgets, Options(host, local_dir, workers, bind, seed, keep), progress)
    _report(result, out)


@app.command()
def compare(  # noqa: PLR0913  # the options of a command line
    *,
    base: Annotated[str, typer.Option(help="A commit, a checkout's folder, or the base URL of a service.")],
    candidate: Annotated[str, typer.Option(help="Likewise; this checkout unless given.")] = ".",
    profile: Annotated[str, typer.Option(help=PROFILE_HELP)] = "compare",
    pairs: Pairs = 12,
    seconds: Annotated[float | None, typer.Option(min=1, help="Length of a slice instead of the profile's.")] = None,
    rate: Rate = 1.0,
    accept: Annotated[list[str] | None, typer.Option(help='An endpoint that may cost more: "GET /api/v1/items/".')] = None,
    slo: Slo = SLO,
    out: Out = OUT,
) -> None:
    """Compare two builds on this machine, or two services elsewhere: in turns, pair by pair, and by exact counts."""
    budgets, chosen = load_budgets(slo), _profile(profile, rate, seconds)
    with ConsoleProgress() as progress:
        if is_url(base) or is_url(candidate):
            result = compare_hosts(base, candidate, chosen, budgets, pairs, progress)
        else:
            with checked_out(base) as one, checked_out(candidate) as other:
                result = compare_builds(one, other, chosen, budgets, pairs, frozenset(accept or ()), progress)
    _report(result, out)


@app.command()
def trial(
    *,
    fault: Annotated[list[str] | None, typer.Option(help="Only these; all unless given.")] = None,
    trials: Annotated[int, typer.Option(min=1, help="Of each, those of former calls included.")] = 20,
    minutes: Annotated[float, typer.Option(min=0, help="Begin no trial after that long.")] = 60,
    pairs: Pairs = 12,
    seconds: Annotated[float, typer.Option(min=1, help="Length of a slice.")] = 3,
    kept: Annotated[Path, typer.Option(help="Where the trials are kept; the next call goes on.")] = TRIALS,
    publish: Annotated[
        bool, typer.Option("--publish", help="Write docs/reference/load-gate.md from what is kept, and try nothing.")
    ] = False,
) -> None:
    """Try the gate itself: builds with a fault put in, and identical ones."""
    if publish:
        write_page(kept)
        return
    budgets, chosen = load_budgets(SLO), _profile("compare", 1, seconds)
    with ConsoleProgress() as progress:
        try_gate(Trials(fault or list(FAULT_NAMES), trials, minutes, pairs, kept), chosen, budgets, progress)
    sys.stdout.write(summary(kept))


@app.command()
def profiles() -> None:
    """List the profiles."""
    for path in sorted(PROFILES.glob("*.toml")):
        profile = load_profile(path.stem)
        seconds = sum(phase.seconds for phase in profile.phases)
        sys.stdout.write(f"{path.stem:12} {seconds:6g} s, up to {profile.peak():5.0f} requests a second. {profile.description}\n")


def _profile(name: str, rate: float, seconds: float | None) -> Profile:
    chosen = load_profile(name).scaled(rate)
    return chosen if seconds is None else chosen.lasting(seconds)


def _report(result: Result, out: Path) -> NoReturn:
    """Write the reports, show the verdict, and end with it."""
    out.mkdir(parents=True, exist_ok=True)
    write_reports(result, out)
    show(result, out)
    raise Judged(result.exit)


def main(arguments: list[str]) -> Exit:
    """Run a command and return its exit code; whatever goes wrong before a verdict has one of its own."""
    try:
        app(arguments, prog_name="python -m loadtests")
    except Judged as verdict:
        return verdict.code
    except GateError as error:
        sys.stderr.write(f"{error}\n")
        return error.code
    except SystemExit as ended:  # of the command line: help, a list, or a word that it does not know, or Ctrl-C
        return Exit.PASS if not ended.code else Exit.HARNESS_ERROR
    except KeyboardInterrupt:
        sys.stderr.write("Interrupted; nothing was judged.\n")
    except Exception:  # noqa: BLE001  # a traceback must not read as the verdict that exit code 1 stands for
        traceback.print_exc()
    return Exit.HARNESS_ERROR


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
