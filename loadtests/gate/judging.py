"""Budgets held against what a run recorded."""

from collections.abc import Iterable, Mapping
from typing import Final

from loadtests.gate.budgets import QUANTILES, Budget, Budgets, flow_name
from loadtests.gate.finding import Finding, Verdict, milliseconds, percent
from loadtests.gate.histogram import samples_needed
from loadtests.gate.outcome import Exit
from loadtests.gate.plan import Profile
from loadtests.gate.recorder import EndpointRecord, PhaseRecord
from loadtests.gate.statistics import allowed
from loadtests.scenarios import JOURNEYS

#: Quantiles that are judged over all endpoints together, each request against its own endpoint's budget.
TOGETHER: Final = ("p95", "p99")
ALL: Final = "all requests"


def called(profile: Profile) -> set[str]:
    """Return the endpoints and flows that a profile's journeys call."""
    journeys = [JOURNEYS[name] for name in profile.journeys]
    return {route for journey in journeys for route in journey.calls} | {flow_name(name) for journey in journeys for name in journey.flows}


def judge(record: PhaseRecord, profile: Profile, budgets: Budgets, *, whole: bool = True) -> list[Finding]:
    """Return what became of every budget.

    Args:
        record: Of all judged phases together.
        profile: Whose journeys ran.
        budgets: From ``slo.yaml``.
        whole: Whether every endpoint of the file must have been called.
    """
    limits = budgets.all()
    names = called(profile) | set(record.endpoints) | (set(limits) if whole else set[str]())
    findings = [_unfinished(record)]
    for name in sorted(names):
        if name not in limits:
            findings.append(_without(name, "budget", "It has no budget in slo.yaml."))
        elif name not in record.endpoints or not record.endpoints[name].total:
            findings.append(_without(name, "samples", "Nothing called it, so nobody knows how it does."))
        else:
            findings += _endpoint(name, record.endpoints[name], limits[name], profile)
    return [*findings, *_together(record.endpoints, limits)]


def _without(name: str, what: str, sentence: str) -> Finding:
    return Finding(name, what, Verdict.FAIL, "none", "required", 0, sentence)


def _unfinished(record: PhaseRecord) -> Finding:
    left = record.planned - record.ended
    sentence = f"{left} visits were still waiting for answers long after the last one began."
    return Finding(
        ALL, "visits without an end", Verdict.FAIL if left else Verdict.PASS, str(left), "0", record.planned, sentence if left else ""
    )


def _endpoint(name: str, record: EndpointRecord, budget: Budget, profile: Profile) -> list[Finding]:
    findings = [_errors(name, record.failed, record.total, budget.error_rate, record.failures), _wrong(name, record)]
    for quantile, share in QUANTILES.items():
        needed = samples_needed(share)
        if record.successes.total >= needed:
            findings.append(_quantile(name, quantile, record, budget))
        elif quantile in profile.quantiles:
            sentence = f"{record.successes.total} successes do not tell it; {needed} do. Run for longer or at a higher rate."
            findings.append(
                Finding(
                    name,
                    quantile,
                    Verdict.INCONCLUSIVE,
                    "unknown",
                    milliseconds(budget.seconds[quantile]),
                    record.successes.total,
                    sentence,
                )
            )
    return findings


def _quantile(name: str, quantile: str, record: EndpointRecord, budget: Budget) -> Finding:
    value, limit = record.successes.quantile(QUANTILES[quantile]), budget.seconds[quantile]
    sentence = f"{milliseconds(value)} is {value / limit:.1f} times its budget." if value > limit else ""
    verdict = Verdict.FAIL if value > limit else Verdict.PASS
    return Finding(name, quantile, verdict, milliseconds(value), milliseconds(limit), record.successes.total, sentence, value)


def _errors(name: str, failed: int, total: int, rate: float, kinds: Mapping[str, int]) -> Finding:
    most = allowed(total, rate)
    good = failed <= most
    worst = ", ".join(f"{count} times {kind}" for kind, count in sorted(kinds.items(), key=lambda entry: -entry[1])[:3])
    limit = f"{percent(rate)}, so {most} of {total}"
    return Finding(name, "failures", Verdict.PASS if good else Verdict.FAIL, str(failed), limit, total, "" if good else worst)


def _wrong(name: str, record: EndpointRecord) -> Finding:
    """Judge bodies: of a wrong answer there is no rate that is good enough."""
    kinds = ", ".join(sorted(kind for kind in record.failures if kind.startswith("wrong body")))
    verdict = Verdict.FAIL if record.wrong else Verdict.PASS
    sentence = kinds or ("see failures" if record.wrong else "")
    return Finding(name, "wrong answers", verdict, str(record.wrong), "0", record.total, sentence, certain=True)


def _together(records: Mapping[str, EndpointRecord], limits: Mapping[str, Budget]) -> Iterable[Finding]:
    """Judge all endpoints as one. A freeze of the service delays a share of all requests that no single endpoint has enough of."""
    known = {name: record for name, record in records.items() if name in limits and not name.startswith("flow ")}
    total = sum(record.total for record in known.values())
    failed = sum(record.failed for record in known.values())
    rate = sum(limits[name].error_rate * record.total for name, record in known.items()) / total if total else 0.0
    kinds: dict[str, int] = {}
    for record in known.values():
        for kind, count in record.failures.items():
            kinds[kind] = kinds.get(kind, 0) + count
    yield _errors(ALL, failed, total, rate, kinds)
    for quantile in TOGETHER:
        share = 1 - QUANTILES[quantile]
        succeeded = sum(record.successes.total for record in known.values())
        if succeeded < samples_needed(QUANTILES[quantile]):
            continue
        above = sum(record.successes.above(limits[name].seconds[quantile]) for name, record in known.items())
        most = allowed(succeeded, share)
        verdict = Verdict.PASS if above <= most else Verdict.FAIL
        sentence = f"{percent(above / succeeded)} of all took longer than the {quantile} budget of their endpoint." if above > most else ""
        yield Finding(
            ALL, f"above their {quantile} budget", verdict, percent(above / succeeded), f"{most} of {succeeded}", succeeded, sentence, above
        )


def decide(validity: Iterable[Finding], *judged: Iterable[Finding]) -> Exit:
    """Return how a run ends: what is certainly wrong fails; else an invalid run is just that; then failures, then what nobody can tell."""
    found = [finding for findings in judged for finding in findings]
    if any(finding.certain and finding.verdict is Verdict.FAIL for finding in found):
        return Exit.FAIL
    if any(finding.verdict is not Verdict.PASS for finding in validity):
        return Exit.INVALID
    verdicts = {finding.verdict for finding in found}
    if Verdict.FAIL in verdicts:
        return Exit.FAIL
    return Exit.INVALID if Verdict.INCONCLUSIVE in verdicts else Exit.PASS
