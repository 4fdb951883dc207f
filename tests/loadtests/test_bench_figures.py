"""The benchmark's arithmetic."""

import pytest

from loadtests.bench.figures import OURS, Fanout, Import, Results, Sample, Spread, Tasks, targets, written


def sample(server: str, round_: int, server_cpu: float, *, postgres_cpu: float = 0.5, scenario: str = "item") -> Sample:
    return Sample(server, scenario, round_, 1000, 2.0, server_cpu, postgres_cpu, 0.001, 0.002)


def outcome(results: Results, start: str) -> str:
    (target,) = [target for target in targets(results) if target.name.startswith(start)]
    return target.outcome


def test_a_sample_counts_cpu_per_request_and_requests_per_cpu_second() -> None:
    found = sample(OURS, 0, 0.25)
    assert (found.server_us, found.postgres_us, found.total_us) == (250, 500, 750)
    assert (found.per_cpu_second, found.per_second) == (4000, 500)


def test_a_spread_is_the_median_and_the_ends() -> None:
    assert Spread.of([5, 1, 2]) == Spread(2, 1, 5)
    assert Spread.of([4, 2]) == Spread(3, 2, 4)


def test_a_ratio_compares_each_round_with_itself() -> None:
    # The machine was twice as slow in round 1, for both.
    results = Results([sample(OURS, 0, 0.1), sample("node", 0, 0.2), sample(OURS, 1, 0.2), sample("node", 1, 0.4)])
    assert results.ratio("node", "item", lambda each: each.per_cpu_second) == Spread(2, 2, 2)


def test_a_ratio_leaves_out_a_round_that_the_peer_has_not() -> None:
    results = Results([sample(OURS, 0, 0.1), sample(OURS, 1, 9.0), sample("node", 0, 0.3)])
    ratio = results.ratio("node", "item", lambda each: each.per_cpu_second)
    assert ratio is not None
    assert ratio.middle == pytest.approx(3)
    assert results.ratio("go", "item", lambda each: each.per_cpu_second) is None


def test_other_scenarios_and_servers_stay_out_of_a_spread() -> None:
    results = Results([sample(OURS, 0, 0.1), sample(OURS, 0, 0.7, scenario="create"), sample("go", 0, 0.9)])
    assert results.spread(OURS, "item", lambda each: each.server_cpu) == Spread(0.1, 0.1, 0.1)
    assert results.servers == [OURS, "go"]
    assert results.scenarios == ["item", "create"]


@pytest.mark.parametrize(("ours", "expected"), [(0.10, "met"), (0.11, "missed")])
def test_as_many_requests_per_cpu_second_as_node_are_enough(ours: float, expected: str) -> None:
    results = Results([sample(OURS, 0, ours), sample("node", 0, 0.10)])
    assert outcome(results, "item: requests per CPU second, ours / Node.js") == expected


@pytest.mark.parametrize(("ours", "expected"), [(0.10, "met"), (0.11, "missed")])
def test_go_may_be_faster_by_two_thirds(ours: float, expected: str) -> None:
    results = Results([sample(OURS, 0, ours), sample("go", 0, 0.0601)])
    assert outcome(results, "item: requests per CPU second, ours / Go") == expected


def test_the_total_counts_postgresql_too() -> None:
    results = Results([sample(OURS, 0, 0.1, postgres_cpu=0.4), sample("node", 0, 0.2, postgres_cpu=0.2)])
    assert outcome(results, "item: requests per CPU second, ours / Node.js") == "met"
    assert outcome(results, "item: CPU of server and PostgreSQL") == "missed"


@pytest.mark.parametrize(("ours", "expected"), [(130.0, "met"), (131.0, "missed")])
def test_a_process_may_take_30_mib_more_than_node(ours: float, expected: str) -> None:
    assert outcome(Results(memory={OURS: ours, "node": 100.0}), "memory per process") == expected


def test_the_other_work_has_its_bounds() -> None:
    one = Spread(1, 1, 1)
    good = Results(fanout=Fanout(1000, Spread(15, 9, 20), one), imported=Import(1, Spread(10_000, 1, 2), one, one))
    slow = Results(fanout=Fanout(1000, Spread(15.1, 9, 20), one), imported=Import(1, Spread(9_999, 1, 2), one, one))
    for name in ("live events", "import"):
        assert (outcome(good, name), outcome(slow, name)) == ("met", "missed")
    assert outcome(Results(tasks=Tasks(1, Spread(1500, 1, 2), one, one, one, one)), "a task") == "met"
    assert outcome(Results(tasks=Tasks(1, Spread(1501, 1, 2), one, one, one, one)), "a task") == "missed"


def test_what_was_not_measured_is_neither_met_nor_missed() -> None:
    assert {target.outcome for target in targets(Results())} == {"not measured"}
    assert len(targets(Results())) == 16


def test_a_spread_is_written_with_its_ends_where_they_differ() -> None:
    assert written(Spread(1.234, 1.1, 1.5)) == "1.23 (1.10 to 1.50)"
    assert written(Spread(1.2, 1.2, 1.2)) == "1.20"
    assert written(Spread(12_345, 12_000, 13_000), "{:,.0f}") == "12,345 (12,000 to 13,000)"
