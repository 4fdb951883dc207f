"""The judgement on two builds: every figure pair by pair, tested together, and the budgets beside it."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from loadtests.gate.budgets import Budgets
from loadtests.gate.finding import Finding, Verdict
from loadtests.gate.histogram import Histogram
from loadtests.gate.judging import decide, judge
from loadtests.gate.plan import Phase, Profile
from loadtests.gate.recorder import PhaseRecord, Recorder
from loadtests.gate.report.text import shift_text
from loadtests.gate.result import Pairs, Result, endpoint_figures, phase_figures, series
from loadtests.gate.statistics import holm, shift
from loadtests.gate.validity import PAIRED, examine

BASE: Final = 0
CANDIDATE: Final = 1
SIGNIFICANT: Final = 0.05
#: Fewer pairs cannot be significant among the figures below, however clear they are: 2 to the minus 8 times 4 is 0.016.
LEAST_PAIRS: Final = 8
#: How many times the base's duration the candidate's must be for a budget to count that only the candidate exceeds.
FAR: Final = 3


@dataclass(frozen=True, slots=True)
class Measure:
    """A figure that is compared pair by pair.

    Attributes:
        tolerance: What is no regression yet: 0.05 are 5 % of a ratio, or 5 points of a share.
        must_tell: Whether the comparison says nothing if this figure is too noisy.
    """

    name: str
    unit: str
    tolerance: float
    must_tell: bool = False


CPU: Final = Measure("processor time per request", "ratio", 0.04, must_tell=True)
MEDIAN: Final = Measure("median duration", "ratio", 0.10)
SLOWER: Final = {0.95: Measure("share above the common p95", "share", 0.02), 0.99: Measure("share above the common p99", "share", 0.007)}


def conclude(recorder: Recorder, profile: Profile, budgets: Budgets, others: Sequence[Finding], *, measured: bool) -> Result:
    """Judge what was recorded of two sides.

    Args:
        recorder: Of the slices.
        profile: With the slices as its phases.
        budgets: Held against both.
        others: Findings made elsewhere: counts and invariants.
        measured: Whether processor time is known.
    """
    together = [_side(recorder, profile, side) for side in (BASE, CANDIDATE)]
    compared = compare_pairs(recorder, profile.phases, measured=measured)
    findings = [*against_base(*(judge(each, profile, budgets, whole=False) for each in together)), *map(_pairs_finding, compared), *others]
    validity = examine(recorder, profile, profile.phases, PAIRED)
    return Result(
        run="",
        kind="comparison",
        profile=profile.name,
        url="",
        environment="",
        version="",
        started_at="",
        seconds=0.0,
        exit=decide(validity, findings),
        validity=validity,
        findings=findings,
        endpoints=endpoint_figures(together[CANDIDATE], budgets, findings),
        phases=phase_figures(recorder, profile.phases),
        series=series(recorder),
        pairs=compared,
        waited=recorder.waited,
    )


def _side(recorder: Recorder, profile: Profile, side: int) -> PhaseRecord:
    together = PhaseRecord()
    for number, phase in enumerate(profile.phases):
        if phase.judged and phase.target == side:
            together.merge(recorder.phase(number))
    return together


def against_base(base: Sequence[Finding], candidate: Sequence[Finding]) -> list[Finding]:
    """Return the candidate's findings. A budget of durations that it exceeds counts if the base is far from doing so.

    Where both are near it, that says something of the machine, and whether the candidate is slower the pairs tell better. What is
    left for the budgets is what no pair shows often enough, such as a service that stood still once.
    """
    kept = {(finding.subject, finding.check): finding.measured for finding in base}
    return [
        replace(finding, verdict=Verdict.NOTE, sentence="The base is not far from it.")
        if finding.verdict is Verdict.FAIL and 0 < finding.measured < FAR * kept.get((finding.subject, finding.check), 0.0)
        else finding
        for finding in candidate
    ]


def compare_pairs(recorder: Recorder, phases: Sequence[Phase], *, measured: bool) -> list[Pairs]:
    """Return every figure, pair by pair, tested together."""
    numbered: dict[int, dict[int, PhaseRecord]] = {}
    for number, phase in enumerate(phases):
        if phase.judged and phase.seed is not None:
            numbered.setdefault(phase.seed, {})[phase.target] = recorder.phase(number)
    couples = [(sides[BASE], sides[CANDIDATE]) for sides in numbered.values() if sides[BASE].requests and sides[CANDIDATE].requests]
    if len(couples) < LEAST_PAIRS:
        return []
    values = {MEDIAN: [_log_ratio(couple, lambda record: _durations(record).quantile(0.5)) for couple in couples]}
    if measured:
        values[CPU] = [_log_ratio(couple, lambda record: record.cpu_seconds / record.requests) for couple in couples]
    common = Histogram.merged(_durations(record) for couple in couples for record in couple)
    for share, measure in SLOWER.items():
        limit = common.quantile(share)
        values[measure] = [_above(couple[CANDIDATE], limit) - _above(couple[BASE], limit) for couple in couples]
    return _tested(values)


def _durations(record: PhaseRecord) -> Histogram:
    return Histogram.merged(each.successes for name, each in record.endpoints.items() if not name.startswith("flow "))


def _log_ratio(couple: tuple[PhaseRecord, PhaseRecord], figure: Callable[[PhaseRecord], float]) -> float:
    return math.log(max(figure(couple[CANDIDATE]), 1e-9) / max(figure(couple[BASE]), 1e-9))


def _above(record: PhaseRecord, limit: float) -> float:
    durations = _durations(record)
    return durations.above(limit) / durations.total if durations.total else 0.0


def _tested(values: Mapping[Measure, Sequence[float]]) -> list[Pairs]:
    shifts = {measure: shift(each) for measure, each in values.items()}
    adjusted = holm({measure.name: each.p_value for measure, each in shifts.items()})
    found: list[Pairs] = []
    for measure, each in shifts.items():
        tolerance = math.log1p(measure.tolerance) if measure.unit == "ratio" else measure.tolerance
        p_value = adjusted[measure.name]
        verdict = Verdict.PASS
        if p_value < SIGNIFICANT and each.estimate > tolerance:
            verdict = Verdict.FAIL
        elif measure.must_tell and each.high - each.low > 4 * tolerance:
            verdict = Verdict.INCONCLUSIVE
        found.append(
            Pairs(measure.name, measure.unit, list(values[measure]), each.estimate, each.low, each.high, p_value, tolerance, verdict)
        )
    return found


def _pairs_finding(pairs: Pairs) -> Finding:
    sentences = {
        Verdict.FAIL: f"The candidate is worse, by {shift_text(pairs.low, pairs.unit)} to {shift_text(pairs.high, pairs.unit)}.",
        Verdict.INCONCLUSIVE: "The pairs are too far apart to tell; take more of them, or a quieter machine.",
    }
    value = f"{shift_text(pairs.estimate, pairs.unit)}, p = {pairs.p_value:.2g}"
    limit = shift_text(pairs.tolerance, pairs.unit)
    return Finding("candidate against base", pairs.name, pairs.verdict, value, limit, len(pairs.values), sentences.get(pairs.verdict, ""))
