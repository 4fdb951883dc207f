"""Reports in text: Markdown for a job's summary, JUnit for whatever shows tests."""

from math import expm1
from xml.sax.saxutils import escape, quoteattr

from loadtests.gate.budgets import QUANTILES
from loadtests.gate.finding import Finding, Verdict, milliseconds
from loadtests.gate.result import EndpointFigures, Pairs, Result, requests_of

MOST_TROUBLES = 20


def markdown(result: Result) -> str:
    """Return a summary of a page."""
    totals = requests_of(result.phases)
    sent = f"{totals['requests']:,.0f} requests in {totals['seconds']:,.0f} s, {totals['failed']:,.0f} failed"
    lines = [
        f"## Load gate: {result.word}",
        "",
        f"Profile `{result.profile}`, {result.url} ({result.environment}, version {result.version}), run `{result.run}`: {sent}.",
        "",
        *_troubles(result.troubles),
        *(_pairs(result.pairs) if result.pairs else []),
        "| endpoint | requests | failed | p50 | p95 | p99 | |",
        "|---|---:|---:|---:|---:|---:|---|",
        *(_row(figures) for figures in result.endpoints),
        "",
        "Durations from the moment at which a visit was to begin; behind the stroke, the budget. `·`: too few samples to tell.",
        "",
    ]
    return "\n".join(lines)


def _troubles(troubles: list[Finding]) -> list[str]:
    if not troubles:
        return []
    shown = [f"- **{each.subject}**, {each.check}: {each.value} (limit {each.limit}). {each.sentence}" for each in troubles[:MOST_TROUBLES]]
    more = [f"- and {len(troubles) - MOST_TROUBLES} more, in the report."] if len(troubles) > MOST_TROUBLES else []
    return [*shown, *more, ""]


def _row(figures: EndpointFigures) -> str:
    cells = [
        f"{milliseconds(figures.quantiles[name]) if name in figures.quantiles else '·'} / {_budget(figures, name)}" for name in QUANTILES
    ]
    return f"| `{figures.name}` | {figures.total:,} | {figures.failed:,} | {' | '.join(cells)} | {figures.verdict} |"


def _budget(figures: EndpointFigures, name: str) -> str:
    return milliseconds(figures.budgets[name]) if name in figures.budgets else "none"


def shift_text(value: float, unit: str) -> str:
    """Return a shift for people: the logarithm of a ratio in percent, a difference of shares in points."""
    return f"{expm1(value) * 100:+.1f} %" if unit == "ratio" else f"{value * 100:+.2f} points"


def _pairs(pairs: list[Pairs]) -> list[str]:
    rows = [
        f"| {each.name} | {shift_text(each.estimate, each.unit)} | {shift_text(each.low, each.unit)} to {shift_text(each.high, each.unit)} "
        f"| {each.p_value:.3g} | {shift_text(each.tolerance, each.unit)} | {each.verdict} |"
        for each in pairs
    ]
    head = ["| candidate against base | shift | 95 % interval | p (Holm) | tolerated | |", "|---|---:|---:|---:|---:|---|"]
    return [*head, *rows, ""]


def junit(result: Result) -> str:
    """Return the findings as test cases: failures fail, what could not be told and an invalid run are errors."""
    cases = [
        *((f"validity.{each.check}", each, True) for each in result.validity),
        *((_case(each), each, False) for each in result.findings),
    ]
    failures = sum(finding.verdict is Verdict.FAIL and not validity for _, finding, validity in cases)
    errors = sum(
        finding.verdict is Verdict.INCONCLUSIVE or (validity and finding.verdict is Verdict.FAIL) for _, finding, validity in cases
    )
    head = (
        f'<testsuite name="load gate {escape(result.profile)}" tests="{len(cases)}" failures="{failures}" errors="{errors}" '
        f'time="{result.seconds:.1f}" timestamp={quoteattr(result.started_at)}>'
    )
    body = "".join(_testcase(name, finding, validity=validity) for name, finding, validity in cases)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<testsuites>{head}{body}</testsuite></testsuites>\n'


def _case(finding: Finding) -> str:
    return f"{finding.subject}.{finding.check}"


def _testcase(name: str, finding: Finding, *, validity: bool) -> str:
    text = quoteattr(f"{finding.value}, limit {finding.limit}. {finding.sentence}")
    inner = ""
    if finding.verdict is Verdict.INCONCLUSIVE or (validity and finding.verdict is Verdict.FAIL):
        inner = f"<error message={text}/>"
    elif finding.verdict is Verdict.FAIL:
        inner = f"<failure message={text}/>"
    group = "validity" if validity else finding.subject
    return f"<testcase classname={quoteattr(group)} name={quoteattr(name)}>{inner}</testcase>"
