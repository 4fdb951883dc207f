"""The statistics are those of the books, and err as rarely as they say."""

import math
import random
from collections.abc import Sequence
from typing import Any

import pytest
from scipy import stats as scipy_stats

from loadtests.gate.finding import Verdict
from loadtests.gate.pairing import BASE, CANDIDATE, compare_pairs
from loadtests.gate.plan import Phase
from loadtests.gate.recorder import Recorder
from loadtests.gate.result import Pairs
from loadtests.gate.statistics import allowed, binomial_tail, holm, quantile_ranks, shift, wilcoxon
from loadtests.gate.trial import interval

stats: Any = scipy_stats
PAIRS = 12
REQUESTS = 150
TRIALS = 60


@pytest.mark.parametrize("seed", range(20))
def test_the_signed_rank_test_is_scipys_exact_one(seed: int) -> None:
    chance = random.Random(seed)
    differences = [chance.gauss(0.3, 1) for _ in range(chance.randrange(5, 16))]
    expected = stats.wilcoxon(differences, alternative="greater", method="exact")
    assert wilcoxon(differences) == pytest.approx(expected.pvalue, rel=1e-9)


def test_differences_of_zero_are_for_nobody() -> None:
    assert wilcoxon([0.0] * 10) == 1.0


def test_tied_differences_share_their_ranks() -> None:
    assert wilcoxon([1.0, 1.0, -1.0, 2.0]) == pytest.approx(4 / 16)  # of 16 patterns of signs, 4 reach the ranks 2 + 2 + 4


def test_the_estimate_is_the_median_of_the_pairwise_means_and_its_interval_covers_as_often_as_it_says() -> None:
    assert shift([1.0, 2.0, 10.0]).estimate == pytest.approx((2.0 + 5.5) / 2)
    chance = random.Random(3)
    covered = 0
    for _ in range(400):
        found = shift([chance.gauss(0.5, 1) for _ in range(12)])
        covered += found.low <= 0.5 <= found.high
    assert covered >= 0.93 * 400


@pytest.mark.parametrize(("least", "tries", "share"), [(1, 100, 0.001), (3, 500, 0.01), (40, 600, 0.05), (0, 5, 0.1), (6, 5, 0.5)])
def test_the_binomial_tail_is_scipys(least: int, tries: int, share: float) -> None:
    expected = stats.binom.sf(least - 1, tries, share)
    assert binomial_tail(least, tries, share) == pytest.approx(expected, abs=1e-9)


def test_what_chance_explains_is_allowed_and_one_more_is_not() -> None:
    for tries, share in ((100, 0.001), (5000, 0.001), (3000, 0.01), (50, 0.0)):
        most = allowed(tries, share)
        assert binomial_tail(most + 1, tries, share) <= 0.01
        assert most == 0 or binomial_tail(most, tries, share) > 0.01


def test_holm_multiplies_the_smallest_by_all_and_never_falls() -> None:
    assert holm({"a": 0.01, "b": 0.04, "c": 0.03}) == pytest.approx({"a": 0.03, "b": 0.06, "c": 0.06})


def test_the_interval_of_a_share_is_that_of_clopper_and_pearson() -> None:
    for hits, tries in ((0, 20), (20, 20), (3, 40)):
        expected = stats.binomtest(hits, tries).proportion_ci(method="exact")
        assert interval(hits, tries) == pytest.approx((expected.low, expected.high), abs=1e-6)


def test_a_quantile_lies_between_its_ranks() -> None:
    low, high = quantile_ranks(1000, 0.95)
    assert 930 < low < 950 < high < 970


def simulate(chance: random.Random, *, slower: float = 1.0, more_cpu: float = 1.0, tail: float = 0.0) -> list[Pairs]:
    """Return what is told of two builds whose noise is a usual machine's: 10 % from slice to slice, 3 % of the processor time."""
    recorder, phases = Recorder(), list[Phase]()
    for pair in range(PAIRS):
        drift = chance.gauss(0, 0.1)
        for side in (BASE, CANDIDATE):
            record = recorder.phase(len(phases))
            phases.append(Phase(str(pair), 3, target=side, alone=True, seed=pair))
            record.cpu_seconds = REQUESTS * 0.001 * math.exp(chance.gauss(0, 0.03)) * (more_cpu if side else 1)
            level = math.exp(drift + chance.gauss(0, 0.03))
            for _ in range(REQUESTS):
                seconds = 0.004 * level * chance.lognormvariate(0, 0.5) * (slower if side else 1)
                late = 0.15 if side and chance.random() < tail else 0.0
                record.endpoint("GET /").successes.add(seconds + late)
    return compare_pairs(recorder, phases, measured=True)


def flagged(found: Sequence[Pairs]) -> set[str]:
    return {pairs.name for pairs in found if pairs.verdict is Verdict.FAIL}


def test_identical_builds_are_flagged_in_one_of_twenty_at_most() -> None:
    chance = random.Random(4)
    assert sum(bool(flagged(simulate(chance))) for _ in range(TRIALS)) <= 0.05 * TRIALS


@pytest.mark.parametrize(
    ("fault", "figure"),
    [
        ({"more_cpu": 1.10}, "processor time per request"),
        ({"slower": 1.25}, "median duration"),
        ({"tail": 0.02}, "share above the common p99"),
    ],
)
def test_a_fault_is_caught_in_nineteen_of_twenty_at_least(fault: dict[str, float], figure: str) -> None:
    chance = random.Random(5)
    assert sum(figure in flagged(simulate(chance, **fault)) for _ in range(TRIALS)) >= 0.95 * TRIALS


def test_a_slower_tail_does_not_move_the_median() -> None:
    assert "median duration" not in flagged(simulate(random.Random(6), tail=0.02))


def test_a_figure_that_is_too_noisy_to_tell_is_no_pass() -> None:
    recorder, phases, chance = Recorder(), list[Phase](), random.Random(7)
    for pair in range(PAIRS):
        for side in (BASE, CANDIDATE):
            record = recorder.phase(len(phases))
            phases.append(Phase(str(pair), 3, target=side, alone=True, seed=pair))
            record.cpu_seconds = math.exp(chance.gauss(0, 0.5))
            record.endpoint("GET /").successes.add(0.004)
    found = {pairs.name: pairs.verdict for pairs in compare_pairs(recorder, phases, measured=True)}
    assert found["processor time per request"] is Verdict.INCONCLUSIVE
