"""The gate tried: builds with a fault that was put in, which it must catch, and identical ones, which it must not flag.

What was tried is kept line by line, so that a run can be ended at any time and the next one goes on.
"""

import json
import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from loadtests.gate.budgets import Budgets
from loadtests.gate.builds import Build, shared_servers
from loadtests.gate.compare import compare, sides_of
from loadtests.gate.counters import Counts, compare_counts, count, meet
from loadtests.gate.outcome import Exit, GateError
from loadtests.gate.plan import Profile
from loadtests.gate.run import Progress
from loadtests.gate.statistics import binomial_tail
from loadtests.scenarios.visit import Person

REPOSITORY: Final = Path(__file__).parents[2]
TRIALS: Final = Path(".local-load") / "trials.jsonl"
PAGE: Final = REPOSITORY / "docs" / "reference" / "load-gate.md"
IDENTICAL: Final = "none"
JUDGED: Final = frozenset({Exit.PASS, Exit.FAIL})
#: By the names that ``loadtests.faults.app`` knows.
FAULT_NAMES: Final[Mapping[str, str]] = {
    IDENTICAL: "identical builds",
    "cpu": "10 % more processor time per request",
    "n-plus-one": "a statement for every row of a listing",
    "freeze": "the event loop stands still for 2 s, once",
    "errors": "1 % of requests are answered with 500",
    "wrong-body": "1 % of the items read have another title",
    "slow-tail": "2 % of requests take 150 ms longer",
}


@dataclass(frozen=True, slots=True)
class Trials:
    """What is to be tried.

    Attributes:
        faults: Names of the faults.
        each: Valid trials of each, former ones included.
        minutes: No trial begins after that long.
        pairs: Pairs of slices of a comparison.
        kept: File of what was tried.
    """

    faults: Sequence[str]
    each: int
    minutes: float
    pairs: int
    kept: Path


@dataclass(frozen=True, slots=True)
class Trial:
    """What became of one.

    Attributes:
        exit: The gate's exit code.
        reasons: Subject and check of what failed, or of what made it invalid.
        shifts: Estimates of the figures compared pair by pair.
    """

    fault: str
    exit: int
    reasons: list[str]
    shifts: dict[str, float]
    pairs: int
    slice_seconds: float
    seconds: float
    at: str


def try_gate(trials: Trials, profile: Profile, budgets: Budgets, progress: Progress) -> None:
    """Try until there are trials enough, or the time is up.

    Raises:
        GateError: if a fault is none.
    """
    if unknown := sorted(set(trials.faults) - set(FAULT_NAMES)):
        raise GateError(f"There is no fault {', '.join(unknown)}; there are: {', '.join(FAULT_NAMES)}.")
    trials.kept.parent.mkdir(parents=True, exist_ok=True)
    ends = time.monotonic() + trials.minutes * 60
    with shared_servers() as environment:
        base = Build(REPOSITORY)
        person = meet(base, environment)
        ground = Ground(base, environment, person, count(base, environment, person))
        while time.monotonic() < ends and (fault := _next(trials)) is not None:
            progress.step(f"trial of {fault}")
            _keep(trials.kept, _try(fault, ground, trials, profile, budgets, progress))


@dataclass(frozen=True, slots=True)
class Ground:
    """What all trials of a call share: the base, the servers, and what was counted of the base."""

    base: Build
    environment: Mapping[str, str]
    person: Person
    counts: Mapping[str, Counts]


def _try(fault: str, ground: Ground, trials: Trials, profile: Profile, budgets: Budgets, progress: Progress) -> Trial:
    """Compare the base with a faulty build; that it could not be done is a trial, too, and no reason to end the others."""
    began, slice_seconds, at = time.monotonic(), profile.phases[0].seconds, datetime.now(UTC).isoformat(timespec="seconds")
    candidate = Build(REPOSITORY, "loadtests.faults.app:create_app()", {"LOADTEST_FAULT": fault})
    try:
        counts = compare_counts(ground.counts, count(candidate, ground.environment, ground.person), frozenset())
        with sides_of(ground.base, candidate, ground.environment) as sides:
            result = compare(sides, profile, budgets, counts, trials.pairs, progress)
    except GateError as error:
        return Trial(fault, int(error.code), [f"harness: {error}"], {}, trials.pairs, slice_seconds, time.monotonic() - began, at)
    reasons = [f"{finding.subject}: {finding.check}" for finding in result.troubles]
    shifts = {each.name: each.estimate for each in result.pairs}
    return Trial(fault, int(result.exit), reasons, shifts, trials.pairs, slice_seconds, round(time.monotonic() - began, 1), at)


def _next(trials: Trials) -> str | None:
    """Return the fault that has the fewest valid trials, ``None`` if all have enough. After as many invalid ones it is given up."""
    valid, invalid = _tally(read_trials(trials.kept))
    open_ones = [name for name in trials.faults if valid.get(name, 0) < trials.each and invalid.get(name, 0) < 2 * trials.each]
    return min(open_ones, key=lambda name: valid.get(name, 0) + invalid.get(name, 0), default=None)


def _tally(kept: Sequence[Trial]) -> tuple[dict[str, int], dict[str, int]]:
    valid: dict[str, int] = {}
    invalid: dict[str, int] = {}
    for trial in kept:
        tally = valid if trial.exit in JUDGED else invalid
        tally[trial.fault] = tally.get(trial.fault, 0) + 1
    return valid, invalid


def _keep(path: Path, trial: Trial) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(asdict(trial)) + "\n")


def read_trials(path: Path) -> list[Trial]:
    """Return what is kept; nothing where there is no file."""
    if not path.exists():
        return []
    return [Trial(**json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines() if line]


def interval(hits: int, tries: int) -> tuple[float, float]:
    """Return the 95 % interval of a share after Clopper and Pearson 1934: exact, and cautious."""

    def solve(accept: Callable[[float], bool]) -> float:
        low, high = 0.0, 1.0
        for _ in range(50):
            middle = (low + high) / 2
            low, high = (middle, high) if accept(middle) else (low, middle)
        return low

    low = 0.0 if hits == 0 else solve(lambda share: binomial_tail(hits, tries, share) < 0.025)  # noqa: PLR2004  # half of 5 %
    high = 1.0 if hits == tries else solve(lambda share: 1 - binomial_tail(hits + 1, tries, share) > 0.025)  # noqa: PLR2004
    return low, high


def rows(kept: Sequence[Trial]) -> list[list[str]]:
    """Return a row for every fault that was tried: what, valid trials, flagged, share with interval, invalid, by what."""
    found: list[list[str]] = []
    for name, description in FAULT_NAMES.items():
        tried = [trial for trial in kept if trial.fault == name]
        valid = [trial for trial in tried if trial.exit in JUDGED]
        flagged = [trial for trial in valid if trial.exit == Exit.FAIL]
        if not tried:
            continue
        low, high = interval(len(flagged), len(valid)) if valid else (0.0, 1.0)
        share = f"{len(flagged) / len(valid):.0%} ({low:.0%} to {high:.0%})" if valid else "unknown"
        reasons: dict[str, int] = {}
        for trial in flagged:
            for check in {reason.rpartition(": ")[2] for reason in trial.reasons}:
                reasons[check] = reasons.get(check, 0) + 1
        by = ", ".join(f"{check} ({number})" for check, number in sorted(reasons.items(), key=lambda entry: -entry[1])[:4])
        found.append([description, str(len(valid)), str(len(flagged)), share, str(len(tried) - len(valid)), by or "nothing"])
    return found


def summary(kept: Path) -> str:
    """Return what was found, as lines."""
    return "".join(f"{row[0]}: {row[2]} of {row[1]} flagged, {row[4]} invalid; by {row[5]}\n" for row in rows(read_trials(kept)))


def write_page(kept: Path) -> None:
    """Write the page of the gate's own error rates.

    Raises:
        GateError: if nothing was tried.
    """
    tried = read_trials(kept)
    if not tried:
        raise GateError(f"{kept} holds no trials; run `python -m loadtests trial` first.")
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows(tried))
    lengths = sorted({f"{trial.pairs} pairs of {trial.slice_seconds:g} s" for trial in tried})
    between = f"{min(trial.at for trial in tried)[:10]} and {max(trial.at for trial in tried)[:10]}"
    PAGE.write_text(TEMPLATE.format(table=table, lengths=", ".join(lengths), machine=_machine(), between=between), encoding="utf-8")


def _machine() -> str:
    return f"{os.cpu_count()} processors, {platform.system()} {platform.machine()}, Python {platform.python_version()}"


TEMPLATE: Final = """# How often the gate is wrong

<!-- Generated by `python -m loadtests trial --publish`; run trials instead. -->

`python -m loadtests trial` compares the service with builds of itself that have a fault put in
([loadtests/faults/app.py](../../loadtests/faults/app.py)), and with one that has none. The gate must catch the former and must not
flag the latter. A trial is a whole comparison as `python -m loadtests compare` makes it: counts, then slices in turns.

Tried between {between} on {machine}; {lengths} each. Shares are of the valid trials, with their exact interval of 95 %. An invalid
trial is one in which the gate found that the generator or the machine had been late itself; CI repeats it and never takes it for a pass.

| build | valid trials | flagged | share | invalid | flagged by (trials) |
|---|---:|---:|---:|---:|---|
{table}

## What flags what

- **Counts** (SQL statements, Redis commands, bytes answered) have no noise: one more than the base fails.
- **Wrong answers** fail at the first one.
- **Failures** fail once there are more than the budget and chance explain together: a share of `error_rate` gives that many in one run
  of a hundred.
- **Processor time, median and tail** are compared pair by pair: an exact signed-rank test (Wilcoxon), corrected for the number of
  figures (Holm), and a Hodges-Lehmann estimate above what is tolerated. Both must hold.
- **Budgets** of `slo.yaml` catch what no pair shows often enough, such as a service that stands still once: they fail where the
  candidate exceeds one and takes three times as long as the base.
"""
