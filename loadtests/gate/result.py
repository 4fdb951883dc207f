"""The result of a run: what every report is made from, and what ``result.json`` holds."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from loadtests.gate.budgets import QUANTILES, Budgets
from loadtests.gate.finding import Finding, Verdict
from loadtests.gate.histogram import Histogram, samples_needed
from loadtests.gate.outcome import WORDS, Exit
from loadtests.gate.plan import Phase
from loadtests.gate.recorder import PhaseRecord, Recorder
from loadtests.gate.statistics import quantile_ranks

type Quantiles = dict[str, float]


@dataclass(frozen=True, slots=True)
class EndpointFigures:
    """An endpoint's or a flow's figures; durations in seconds, quantiles as far as there are samples enough."""

    name: str
    total: int
    failed: int
    mean: float
    quantiles: Quantiles
    intervals: dict[str, tuple[float, float]]
    budgets: Quantiles
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class PhaseFigures:
    """A phase's figures over all endpoints."""

    name: str
    judged: bool
    seconds: float
    requests: int
    failed: int
    quantiles: Quantiles


@dataclass(frozen=True, slots=True)
class Second:
    """A second of the run."""

    second: int
    requests: int
    failed: int
    p50: float | None
    p99: float | None
    worst: float | None


@dataclass(frozen=True, slots=True)
class Pairs:
    """A figure of a comparison, pair by pair: the candidate's over the base's, as the logarithm of their ratio, or as a difference."""

    name: str
    unit: str
    values: Sequence[float]
    estimate: float
    low: float
    high: float
    p_value: float
    tolerance: float
    verdict: Verdict


@dataclass(slots=True)
class Result:
    """Everything there is to report."""

    run: str
    kind: str
    profile: str
    url: str
    environment: str
    version: str
    started_at: str
    seconds: float
    exit: Exit
    validity: list[Finding]
    findings: list[Finding]
    endpoints: list[EndpointFigures]
    phases: list[PhaseFigures]
    series: list[Second]
    pairs: list[Pairs] = field(default_factory=list[Pairs])
    waited: int = 0

    @property
    def word(self) -> str:
        """How it ended, in words."""
        return WORDS[self.exit]

    @property
    def troubles(self) -> list[Finding]:
        """What did not pass: what failed before what could not be told."""
        found = [*self.validity, *self.findings]
        return [finding for verdict in (Verdict.FAIL, Verdict.INCONCLUSIVE) for finding in found if finding.verdict is verdict]

    def encode(self) -> dict[str, Any]:
        """Return JSON."""
        return {**asdict(self), "exit": int(self.exit), "verdict": self.word}


def endpoint_figures(record: PhaseRecord, budgets: Budgets, findings: Sequence[Finding]) -> list[EndpointFigures]:
    """Return the figures of every endpoint that was called."""
    limits = budgets.all()
    return [
        EndpointFigures(
            name=name,
            total=each.total,
            failed=each.failed,
            mean=each.successes.mean(),
            quantiles=_quantiles(each.successes),
            intervals=_intervals(each.successes),
            budgets=dict(limits[name].seconds) if name in limits else {},
            verdict=worst(finding.verdict for finding in findings if finding.subject == name),
        )
        for name, each in sorted(record.endpoints.items())
    ]


def worst(verdicts: Any) -> Verdict:
    """Return the worst of some verdicts; nothing found is a pass."""
    found = set(verdicts)
    return next((verdict for verdict in (Verdict.FAIL, Verdict.INCONCLUSIVE) if verdict in found), Verdict.PASS)


def _quantiles(histogram: Histogram) -> Quantiles:
    return {name: histogram.quantile(share) for name, share in QUANTILES.items() if histogram.total >= samples_needed(share)}


def _intervals(histogram: Histogram) -> dict[str, tuple[float, float]]:
    """Return, for each quantile, where it lies with 95 % probability."""
    found: dict[str, tuple[float, float]] = {}
    for name in _quantiles(histogram):
        low, high = quantile_ranks(histogram.total, QUANTILES[name])
        found[name] = (histogram.at_rank(low), histogram.at_rank(high))
    return found


def phase_figures(recorder: Recorder, phases: Sequence[Phase]) -> list[PhaseFigures]:
    """Return the figures of every phase."""
    found: list[PhaseFigures] = []
    for number, phase in enumerate(phases):
        record = recorder.phase(number)
        requests = {name: each for name, each in record.endpoints.items() if not name.startswith("flow ")}
        together = Histogram.merged(each.successes for each in requests.values())
        failed = sum(each.failed for each in requests.values())
        found.append(PhaseFigures(phase.name, phase.judged, phase.seconds, record.requests, failed, _quantiles(together)))
    return found


def series(recorder: Recorder) -> list[Second]:
    """Return what happened second by second."""
    last = max([*recorder.seconds, *recorder.failures], default=-1)
    return [_second(second, recorder.seconds.get(second), recorder.failures[second]) for second in range(last + 1)]


def _second(second: int, histogram: Histogram | None, failed: int) -> Second:
    if histogram is None or not histogram.total:
        return Second(second, failed, failed, None, None, None)
    return Second(second, histogram.total + failed, failed, histogram.quantile(0.5), histogram.quantile(0.99), histogram.quantile(1))


def requests_of(figures: Sequence[PhaseFigures]) -> Mapping[str, float]:
    """Return requests, failures and seconds of the judged phases together."""
    judged = [figure for figure in figures if figure.judged]
    seconds = sum(figure.seconds for figure in judged)
    return {
        "requests": sum(figure.requests for figure in judged),
        "failed": sum(figure.failed for figure in judged),
        "seconds": seconds,
    }
