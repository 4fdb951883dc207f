"""One page that shows a run: no script, no other file."""

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Final

from loadtests.gate.budgets import QUANTILES
from loadtests.gate.finding import Finding, Verdict, milliseconds
from loadtests.gate.outcome import Exit
from loadtests.gate.report import plots
from loadtests.gate.result import EndpointFigures, PhaseFigures, Result, requests_of

STYLE: Final = Path(__file__).with_name("style.css")
BADGES: Final = {Exit.PASS: "pass", Exit.FAIL: "fail"}
CLASSES: Final = {Verdict.PASS: "pass-text", Verdict.FAIL: "fail-text", Verdict.INCONCLUSIVE: "odd-text", Verdict.NOTE: ""}


def html(result: Result) -> str:
    """Return the page."""
    sections = [_head(result), _troubles(result.troubles)]
    if result.pairs:
        sections.append(
            _section("Candidate against base", plots.pairs(result.pairs), "A grey dot is a pair; the bar is the interval of 95 %.")
        )
    key = _key({"p50": "--one", "p99": "--two", "worst": "--three", "failed": "--bad"})
    sections.append(
        _section("Over time", key + plots.over_time(result.series, result.phases), "Counted at the second in which a request was to begin.")
    )
    dots = _key({"p50": "--one", "p95": "--three", "p99": "--two", "above its budget": "--bad"})
    note = "Dots are quantiles with their interval of 95 %; strokes of the same colour are their budgets."
    sections.append(_section("Quantiles against budgets", dots + plots.against_budgets(result.endpoints), note))
    sections.append(_section("Endpoints and flows", _endpoints(result.endpoints)))
    sections.append(_section("Phases", _phases(result.phases)))
    sections.append(_section("The run itself", _findings(result.validity)))
    sections.append(_section("Everything that was looked at", _findings(result.findings)))
    title, style = f"Load gate: {result.word}", STYLE.read_text(encoding="utf-8")
    head = f'<meta charset="utf-8"><title>{escape(title)}</title><meta name="viewport" content="width=device-width,initial-scale=1">'
    return f'<!doctype html><html lang="en"><head>{head}<style>{style}</style></head><body>{"".join(sections)}</body></html>\n'


def _section(title: str, body: str, note: str = "") -> str:
    return f"<h2>{escape(title)}</h2>{body}" + (f'<p class="soft">{escape(note)}</p>' if note else "")


def _key(colours: dict[str, str]) -> str:
    entries = (f'<span><i style="background:var({colour})"></i>{name}</span>' for name, colour in colours.items())
    return f'<p class="key">{"".join(entries)}</p>'


def _head(result: Result) -> str:
    totals = requests_of(result.phases)
    rate = totals["requests"] / totals["seconds"] if totals["seconds"] else 0
    facts = {
        "requests": f"{totals['requests']:,.0f}",
        "a second": f"{rate:,.0f}",
        "failed": f"{totals['failed']:,.0f}",
        "looked at": f"{len(result.findings):,}",
        "did not pass": f"{len(result.troubles):,}",
        "waited for a user": f"{result.waited:,}",
    }
    boxes = "".join(f'<div><b>{value}</b><span class="soft">{name}</span></div>' for name, value in facts.items())
    where = f"{result.kind} with profile {result.profile} against {result.url} ({result.environment}, version {result.version})"
    return (
        f'<h1>Load gate <span class="badge {BADGES.get(result.exit, "odd")}">{escape(result.word)}</span></h1>'
        f'<p class="soft">{escape(where)}, run {escape(result.run)}, {escape(result.started_at)}, {result.seconds:.0f} s</p>'
        f'<div class="facts">{boxes}</div>'
    )


def _troubles(troubles: Sequence[Finding]) -> str:
    return _section("What did not pass", _findings(troubles)) if troubles else ""


def _findings(findings: Sequence[Finding]) -> str:
    rows = "".join(
        f'<tr><td><code>{escape(each.subject)}</code></td><td>{escape(each.check)}</td><td class="n">{escape(each.value)}</td>'
        f'<td class="n">{escape(each.limit)}</td><td class="n">{each.samples:,}</td>'
        f'<td class="{CLASSES[each.verdict]}">{each.verdict}</td><td>{escape(each.sentence)}</td></tr>'
        for each in findings
    )
    head = "<tr><th>of</th><th>what</th><th class=n>found</th><th class=n>limit</th><th class=n>samples</th><th></th><th></th></tr>"
    return f"<table>{head}{rows}</table>"


def _endpoints(endpoints: Sequence[EndpointFigures]) -> str:
    rows = "".join(
        f'<tr><td><code>{escape(each.name)}</code></td><td class="n">{each.total:,}</td><td class="n">{each.failed:,}</td>'
        f'<td class="n">{milliseconds(each.mean)}</td>'
        + "".join(f'<td class="n">{_quantile(each, name)}</td>' for name in QUANTILES)
        + f'<td class="{CLASSES[each.verdict]}">{each.verdict}</td></tr>'
        for each in endpoints
    )
    head = "<tr><th></th><th class=n>requests</th><th class=n>failed</th><th class=n>mean</th>"
    return f"<table>{head}{''.join(f'<th class=n>{name}</th>' for name in QUANTILES)}<th></th></tr>{rows}</table>"


def _quantile(figures: EndpointFigures, name: str) -> str:
    value = milliseconds(figures.quantiles[name]) if name in figures.quantiles else "·"
    budget = milliseconds(figures.budgets[name]) if name in figures.budgets else "none"
    return f'{value} <span class="soft">/ {budget}</span>'


def _phases(phases: Sequence[PhaseFigures]) -> str:
    rows = "".join(
        f'<tr><td>{escape(each.name)}</td><td>{"judged" if each.judged else "not judged"}</td><td class="n">{each.seconds:g} s</td>'
        f'<td class="n">{each.requests:,}</td><td class="n">{each.requests / each.seconds:,.0f}</td><td class="n">{each.failed:,}</td>'
        + "".join(f'<td class="n">{milliseconds(each.quantiles[name]) if name in each.quantiles else "·"}</td>' for name in QUANTILES)
        + "</tr>"
        for each in phases
    )
    head = "<tr><th>phase</th><th></th><th class=n>length</th><th class=n>requests</th><th class=n>a second</th><th class=n>failed</th>"
    return f"<table>{head}{''.join(f'<th class=n>{name}</th>' for name in QUANTILES)}</tr>{rows}</table>"
