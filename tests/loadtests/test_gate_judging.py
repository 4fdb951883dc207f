"""Budgets held against records: nothing that is missing passes, nothing that chance explains fails."""

from collections.abc import Callable

import pytest

from loadtests.gate.budgets import Budget, Budgets, Flow, load_budgets
from loadtests.gate.finding import Finding, Verdict
from loadtests.gate.judging import called, decide, judge
from loadtests.gate.outcome import Exit
from loadtests.gate.pairing import against_base
from loadtests.gate.plan import Phase, Profile, load_profile
from loadtests.gate.recorder import PhaseRecord, Recorder
from loadtests.gate.validity import ALONE, examine

BUDGET = Budget({"p50": 0.005, "p95": 0.025, "p99": 0.075}, 0.001)
ROUTES = ("GET /", "GET /health/live", "GET /health/ready", "GET /health/startup")
BUDGETS = Budgets(dict.fromkeys(ROUTES, BUDGET), {})
PROFILE = Profile("own", "", ["127.0.0.1"], 2, 5, 1000, ["p50"], [Phase("load", 60)], {"platform": 20})


def record(count: int = 1000, seconds: float = 0.002) -> PhaseRecord:
    made = PhaseRecord(planned=count, ended=count)
    for route in ROUTES:
        made.endpoint(route).successes.add(seconds, count)
    return made


def failed(findings: list[Finding]) -> set[tuple[str, str]]:
    return {(finding.subject, finding.check) for finding in findings if finding.verdict is Verdict.FAIL}


def test_a_service_within_its_budgets_passes() -> None:
    assert decide([], judge(record(), PROFILE, BUDGETS)) is Exit.PASS


def test_an_endpoint_without_samples_fails() -> None:
    made = record()
    del made.endpoints["GET /"]
    assert failed(judge(made, PROFILE, BUDGETS)) == {("GET /", "samples")}


def test_an_endpoint_of_the_file_that_no_journey_calls_fails() -> None:
    budgets = Budgets({**BUDGETS.endpoints, "GET /new": BUDGET}, {})
    assert failed(judge(record(), PROFILE, budgets)) == {("GET /new", "samples")}
    assert not failed(judge(record(), PROFILE, budgets, whole=False))


def test_a_flow_of_the_file_that_no_journey_measures_fails() -> None:
    budgets = Budgets(BUDGETS.endpoints, {"import": Flow("GET /", "job.finished", BUDGET)})
    assert failed(judge(record(), PROFILE, budgets)) == {("flow import", "samples")}


def test_an_endpoint_without_a_budget_fails() -> None:
    budgets = Budgets({name: budget for name, budget in BUDGETS.endpoints.items() if name != "GET /"}, {})
    assert failed(judge(record(), PROFILE, budgets)) == {("GET /", "budget")}


def test_a_slow_median_fails_the_endpoint() -> None:
    made = record()
    made.endpoints["GET /"].successes.add(0.006, 1100)
    assert ("GET /", "p50") in failed(judge(made, PROFILE, BUDGETS))


def test_a_quantile_without_samples_enough_is_not_guessed() -> None:
    findings = judge(record(59), PROFILE, BUDGETS)
    assert decide([], findings) is Exit.INVALID
    assert {finding.check for finding in findings if finding.verdict is Verdict.INCONCLUSIVE} == {"p50"}
    assert decide([], judge(record(60), PROFILE, BUDGETS)) is Exit.PASS


def test_one_percent_of_errors_fails_and_one_in_a_thousand_does_not() -> None:
    for count, expected in ((10, Exit.FAIL), (1, Exit.PASS)):
        made = record(1000)
        made.endpoints["GET /"].failures["status 500 instead of 200"] = count
        findings = judge(made, PROFILE, BUDGETS)
        assert decide([], findings) is expected


def test_one_percent_of_errors_spread_over_all_endpoints_fails_all_of_them_together() -> None:
    made = record(100)
    for route in ROUTES:
        made.endpoints[route].failures["status 500 instead of 200"] = 1
    assert failed(judge(made, PROFILE, BUDGETS)) == {("all requests", "failures")}


def test_a_single_wrong_answer_fails() -> None:
    made = record(100_000)
    made.endpoints["GET /"].failures["wrong body: message is not as expected"] = 1
    made.endpoints["GET /"].wrong = 1
    assert failed(judge(made, PROFILE, BUDGETS)) == {("GET /", "wrong answers")}


def test_a_freeze_that_no_endpoint_shows_by_itself_shows_in_all_together() -> None:
    made = record(800)
    for route in ROUTES:
        made.endpoints[route].successes.add(1.0, 25)  # 3 % of a minute, in which the service stood still
    assert failed(judge(made, PROFILE, BUDGETS)) == {("all requests", "above their p99 budget")}


def test_visits_that_never_ended_fail() -> None:
    made = record()
    made.ended -= 1
    assert failed(judge(made, PROFILE, BUDGETS)) == {("all requests", "visits without an end")}


def test_an_invalid_run_is_neither_passed_nor_failed() -> None:
    bad = Finding("generator", "event loop lag, p99", Verdict.FAIL, "1 s", "20 ms", 1)
    broken = record()
    broken.ended -= 1
    assert decide([bad], judge(record(), PROFILE, BUDGETS)) is Exit.INVALID
    assert decide([bad], judge(broken, PROFILE, BUDGETS)) is Exit.INVALID


def test_what_is_certainly_wrong_fails_however_late_the_generator_was() -> None:
    bad = Finding("generator", "event loop lag, p99", Verdict.FAIL, "1 s", "20 ms", 1)
    made = record()
    made.endpoints["GET /"].failures["wrong body: x"] = made.endpoints["GET /"].wrong = 1
    assert decide([bad], judge(made, PROFILE, BUDGETS)) is Exit.FAIL


def quiet() -> Recorder:
    recorder = Recorder()
    recorder.lag.add(0.001, 1000)
    recorder.late.add(0.001, 1000)
    recorder.phase(0).planned = 1200
    return recorder


def invalid(recorder: Recorder) -> set[str]:
    return {finding.check for finding in examine(recorder, PROFILE, PROFILE.phases, ALONE) if finding.verdict is Verdict.FAIL}


def test_a_quiet_generator_is_valid() -> None:
    assert not invalid(quiet())


def spoil_lag(recorder: Recorder) -> None:
    recorder.lag.add(0.05, 20)


def spoil_one_turn(recorder: Recorder) -> None:
    recorder.lag.add(2.0)


def spoil_arrivals(recorder: Recorder) -> None:
    recorder.late.add(0.05, 20)


def lose_a_worker(recorder: Recorder) -> None:
    recorder.lost_workers = 1


def set_the_clock(recorder: Recorder) -> None:
    recorder.clock_drift = 1.0


def send_too_little(recorder: Recorder) -> None:
    recorder.phase(0).planned = 900


@pytest.mark.parametrize(
    ("spoil", "check"),
    [
        (spoil_lag, "event loop lag, p99"),
        (spoil_one_turn, "event loop lag, worst"),
        (spoil_arrivals, "late arrivals, p99"),
        (lose_a_worker, "workers lost"),
        (set_the_clock, "clocks apart"),
        (send_too_little, "visits begun, phase load"),
    ],
)
def test_a_generator_that_was_in_trouble_makes_the_run_invalid(spoil: Callable[[Recorder], None], check: str) -> None:
    recorder = quiet()
    spoil(recorder)
    assert invalid(recorder) == {check}


def test_a_generator_that_recorded_nothing_is_invalid() -> None:
    assert {"event loop lag, p99", "late arrivals, p99", "visits begun, phase load"} <= invalid(Recorder())


def test_a_budget_that_the_base_exceeds_as_well_is_a_note_and_one_it_is_far_from_fails() -> None:
    slow, slower, frozen = (judge(record(1000, seconds), PROFILE, BUDGETS) for seconds in (0.006, 0.008, 0.5))
    assert not failed(against_base(slow, slower))
    assert ("GET /", "p50") in failed(against_base(slow, frozen))


def test_wrong_answers_are_never_excused_by_the_base() -> None:
    made = record()
    made.endpoints["GET /"].failures["wrong body: x"] = made.endpoints["GET /"].wrong = 1
    findings = judge(made, PROFILE, BUDGETS)
    assert ("GET /", "wrong answers") in failed(against_base(findings, findings))


def test_the_smoke_profile_measures_every_flow_that_has_a_budget() -> None:
    assert set(load_budgets().all()) <= called(load_profile("smoke"))
