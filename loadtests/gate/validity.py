"""Whether a run says anything about the service. A generator that is late itself would lay its own lateness at the service's door."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from loadtests.gate.finding import Finding, Verdict, milliseconds
from loadtests.gate.plan import Phase, Profile
from loadtests.gate.recorder import Recorder

MAX_CLOCK_DRIFT_SECONDS: Final = 0.25
#: Standard deviations of a Poisson count that its arrivals may be away from what was expected.
DEVIATIONS: Final = 5


@dataclass(frozen=True, slots=True)
class Limits:
    """How late a generator may be, in seconds.

    Attributes:
        lag: Its event loop, in 99 turns of 100.
        stall: Its worst turn: what stops the whole machine for longer looks like a freeze of the service.
        late: Arrivals sent on their way after their time, in 99 of 100.
    """

    lag: float
    stall: float
    late: float


#: Of a run whose durations are held against budgets.
ALONE: Final = Limits(lag=0.02, stall=0.25, late=0.02)
#: Of a comparison: both sides suffer from the same generator.
PAIRED: Final = Limits(lag=0.05, stall=0.5, late=0.05)


def examine(recorder: Recorder, profile: Profile, phases: Sequence[Phase], limits: Limits) -> list[Finding]:
    """Return what was looked at; a run is valid if everything passed."""
    return [
        _lost(recorder),
        _lag(recorder, limits.lag),
        _stall(recorder, limits.stall),
        _late(recorder, limits.late),
        _clock(recorder),
        *(_rate(recorder, profile, number, phase) for number, phase in enumerate(phases)),
    ]


def _finding(check: str, *, good: bool, value: str, limit: str, samples: int, sentence: str) -> Finding:
    return Finding("generator", check, Verdict.PASS if good else Verdict.FAIL, value, limit, samples, "" if good else sentence)


def _lost(recorder: Recorder) -> Finding:
    lost = recorder.lost_workers
    sentence = "Workers went away; what they saw is missing."
    return _finding("workers lost", good=lost == 0, value=str(lost), limit="0", samples=1, sentence=sentence)


def _lag(recorder: Recorder, limit: float) -> Finding:
    lag = recorder.lag.quantile(0.99) if recorder.lag.total else limit
    return _finding(
        "event loop lag, p99",
        good=recorder.lag.total > 0 and lag <= limit,
        value=milliseconds(lag),
        limit=milliseconds(limit),
        samples=recorder.lag.total,
        sentence="The generator itself was late; give it a quieter machine, a lower rate or more workers.",
    )


def _stall(recorder: Recorder, limit: float) -> Finding:
    worst = recorder.lag.quantile(1) if recorder.lag.total else 0.0
    return _finding(
        "event loop lag, worst",
        good=worst <= limit,
        value=milliseconds(worst),
        limit=milliseconds(limit),
        samples=recorder.lag.total,
        sentence="The generator stood still; a freeze of the machine looks like one of the service.",
    )


def _late(recorder: Recorder, limit: float) -> Finding:
    late = recorder.late.quantile(0.99) if recorder.late.total else limit
    return _finding(
        "late arrivals, p99",
        good=recorder.late.total > 0 and late <= limit,
        value=milliseconds(late),
        limit=milliseconds(limit),
        samples=recorder.late.total,
        sentence="Visits were not sent when they were to begin, so the load was another one than the profile's.",
    )


def _clock(recorder: Recorder) -> Finding:
    drift = recorder.clock_drift
    return _finding(
        "clocks apart",
        good=drift <= MAX_CLOCK_DRIFT_SECONDS,
        value=milliseconds(drift),
        limit=milliseconds(MAX_CLOCK_DRIFT_SECONDS),
        samples=1,
        sentence="The machine's clock was set or stopped during the run; durations cannot be trusted.",
    )


def _rate(recorder: Recorder, profile: Profile, number: int, phase: Phase) -> Finding:
    expected = sum(profile.journeys.values()) * phase.factor * phase.seconds
    planned = recorder.phase(number).planned
    away = DEVIATIONS * expected**0.5
    return _finding(
        f"visits begun, phase {phase.name}",
        good=abs(planned - expected) <= away,
        value=str(planned),
        limit=f"{expected:.0f} ± {away:.0f}",
        samples=planned,
        sentence="Another number of visits began than the profile asks for.",
    )
