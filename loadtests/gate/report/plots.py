"""Plots as SVG, drawn here: lines over time, quantiles against budgets, pairs of a comparison."""

import math
from collections.abc import Sequence
from html import escape
from typing import Final

from loadtests.gate.finding import Verdict, milliseconds
from loadtests.gate.report.text import shift_text
from loadtests.gate.result import EndpointFigures, Pairs, PhaseFigures, Second

WIDTH: Final = 1040
LEFT: Final = 330
RIGHT: Final = 20
ROW: Final = 26
#: More have no room for their names.
MOST_PHASES: Final = 10


def _svg(height: float, body: str, title: str) -> str:
    return f'<svg viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-label="{escape(title)}">{body}</svg>'


def _text(x: float, y: float, text: str, kind: str = "", anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}" text-anchor="{anchor}">{escape(text)}</text>'


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{kind}"/>'


def _decades(low: float, high: float) -> list[float]:
    """Return marks of a logarithmic axis: 1, 2 and 5 of every power of ten, or the powers alone where there are many."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    steps = (1, 2, 5) if len(powers) <= 4 else (1,)  # noqa: PLR2004  # more would touch
    return [step * 10.0**power for power in powers for step in steps if low <= step * 10.0**power <= high]


def over_time(seconds: Sequence[Second], phases: Sequence[PhaseFigures]) -> str:
    """Return latency over time above requests over time."""
    left, top, height, below, bottom = 64, 24, 220, 64, 30
    shown = [each for each in seconds if each.worst is not None and each.p50 is not None]
    if not shown:
        return "<p>Nothing was answered.</p>"
    low = max(1e-4, min(each.p50 or 1 for each in shown) / 1.5)
    high = max(each.worst or low for each in shown) * 1.2
    count = max(1, len(seconds) - 1)

    def x(second: float) -> float:
        return left + (WIDTH - left - RIGHT) * second / count

    def y(value: float) -> float:
        return top + height * (1 - math.log(value / low) / math.log(high / low))

    parts = [
        _line(left, y(mark), WIDTH - RIGHT, y(mark), "grid") + _text(left - 8, y(mark) + 4, milliseconds(mark), "axis", "end")
        for mark in _decades(low, high)
    ]
    begins = 0.0
    for phase in phases if len(phases) <= MOST_PHASES else ():
        parts.append(_line(x(min(begins, count)), top - 14, x(min(begins, count)), top + height + below, "phase"))
        parts.append(_text(x(min(begins, count)) + 5, top - 5, phase.name + ("" if phase.judged else " (not judged)"), "axis"))
        begins += phase.seconds
    for kind in ("worst", "p99", "p50"):
        points = " ".join(f"{x(each.second):.1f},{y(max(low, getattr(each, kind))):.1f}" for each in shown)
        parts.append(f'<polyline points="{points}" class="{kind}"/>')
    base, most = top + height + below, max(each.requests for each in seconds) or 1
    wide = max(1.0, (WIDTH - left - RIGHT) / count - 1)
    for each in seconds:
        for number, kind in ((each.requests, "bar"), (each.failed, "bad")):
            tall = (below - 16) * number / most
            parts.append(
                f'<rect x="{x(each.second) - wide / 2:.1f}" y="{base - tall:.1f}" width="{wide:.1f}" height="{tall:.1f}" class="{kind}"/>'
            )
    parts.append(_text(left - 8, base - (below - 16) + 8, f"{most}/s", "axis", "end"))
    ticks = [round(count * part / 6) for part in range(7)]
    parts += [_text(x(tick), base + 18, f"{tick} s", "axis", "middle") for tick in dict.fromkeys(ticks)]
    return _svg(base + bottom, "".join(parts), "Durations and requests over time")


def against_budgets(endpoints: Sequence[EndpointFigures]) -> str:
    """Return every endpoint's quantiles and their budgets on one logarithmic axis."""
    shown = [each for each in endpoints if each.quantiles and each.budgets]
    if not shown:
        return "<p>No endpoint has samples enough.</p>"
    values = [value for each in shown for value in [*each.quantiles.values(), *each.budgets.values()]]
    low, high, top = min(values) / 1.4, max(values) * 1.4, 26

    def x(value: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * math.log(value / low) / math.log(high / low)

    bottom = top + ROW * len(shown)
    parts = [
        _line(x(mark), top - 6, x(mark), bottom, "grid") + _text(x(mark), top - 10, milliseconds(mark), "axis", "middle")
        for mark in _decades(low, high)
    ]
    for number, each in enumerate(shown):
        y = top + ROW * (number + 0.5)
        parts.append(
            _text(LEFT - 12, y + 4, each.name.replace("/api/v1", ""), "label" if each.verdict is Verdict.PASS else "label wrong", "end")
        )
        parts.append(_line(x(min(each.quantiles.values())), y, x(max(each.quantiles.values())), y, "span"))
        for name, value in each.quantiles.items():
            limit = each.budgets[name]
            parts.append(_line(x(limit), y - 8, x(limit), y + 8, f"limit {name}"))
            interval = each.intervals[name]
            parts.append(_line(x(max(interval[0], low)), y, x(min(interval[1], high)), y, "interval"))
            parts.append(f'<circle cx="{x(value):.1f}" cy="{y:.1f}" r="4.5" class="{name if value <= limit else "over"}"/>')
    return _svg(bottom + 6, "".join(parts), "Quantiles against budgets")


def pairs(compared: Sequence[Pairs]) -> str:
    """Return every figure of a comparison with its pairs, its estimate and its interval, as parts of what is tolerated."""
    reach = max([2.0, *(abs(value) / each.tolerance for each in compared for value in (each.low, each.high, each.estimate))]) * 1.1
    middle, half, top = (LEFT + WIDTH - RIGHT) / 2, (WIDTH - RIGHT - LEFT) / 2, 28

    def x(value: float, tolerance: float) -> float:
        return middle + half * max(-1.0, min(1.0, value / tolerance / reach))

    bottom = top + 34 * len(compared)
    parts = [_line(middle, top - 8, middle, bottom, "zero"), _text(middle, top - 12, "no difference", "axis", "middle")]
    parts += [_line(x(1, 1), top - 8, x(1, 1), bottom, "limit p99"), _text(x(1, 1) + 4, top - 12, "tolerated", "axis")]
    for number, each in enumerate(compared):
        y = top + 34 * (number + 0.5)
        wrong = each.verdict is not Verdict.PASS
        label = f"{each.name}: {shift_text(each.estimate, each.unit)}"
        parts.append(_text(LEFT - 12, y + 4, label, "label wrong" if wrong else "label", "end"))
        parts += [f'<circle cx="{x(value, each.tolerance):.1f}" cy="{y:.1f}" r="3" class="pair"/>' for value in each.values]
        parts.append(_line(x(each.low, each.tolerance), y, x(each.high, each.tolerance), y, "interval"))
        parts.append(f'<circle cx="{x(each.estimate, each.tolerance):.1f}" cy="{y:.1f}" r="5" class="{"over" if wrong else "p50"}"/>')
    return _svg(bottom + 6, "".join(parts), "The candidate against the base, pair by pair")
