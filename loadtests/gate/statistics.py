"""The statistics of the gate: what chance may do, and what it may not."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

#: Standard normal deviate of a two-sided 95 % interval.
Z = 1.959964


def _probability(successes: int, tries: int, share: float) -> float:
    """Return the probability of that many successes in ``tries`` of probability ``share``, above 0 and below 1."""
    ways = math.lgamma(tries + 1) - math.lgamma(successes + 1) - math.lgamma(tries - successes + 1)
    return math.exp(ways + successes * math.log(share) + (tries - successes) * math.log1p(-share))


def binomial_tail(least: int, tries: int, share: float) -> float:
    """Return the probability of ``least`` or more successes in ``tries`` of probability ``share``."""
    if least <= 0 or share >= 1:
        return 1.0
    if share <= 0 or least > tries:
        return 0.0
    return max(0.0, 1.0 - math.fsum(_probability(successes, tries, share) for successes in range(least)))


def allowed(tries: int, share: float, risk: float = 0.01) -> int:
    """Return how many failures of ``tries`` chance explains where ``share`` of all may fail.

    Args:
        tries: Requests.
        share: Share that may fail.
        risk: Probability with which more than that number fail although no more than ``share`` do.
    """
    if share <= 0 or not tries:
        return 0
    number, above = 0, 1.0 - _probability(0, tries, share)
    while above > risk:
        number += 1
        above -= _probability(number, tries, share)
    return number


def quantile_ranks(count: int, share: float) -> tuple[int, int]:
    """Return the ranks between which a quantile lies with 95 % probability, of ``count`` sorted values."""
    spread = Z * math.sqrt(count * share * (1 - share))
    return max(1, math.floor(count * share - spread)), min(count, math.ceil(count * share + spread) + 1)


@dataclass(frozen=True, slots=True)
class Shift:
    """By how much paired values differ.

    Attributes:
        estimate: The Hodges-Lehmann estimate: the median of the means of all pairs of differences.
        low: Lower end of its interval of 95 %.
        high: Upper end.
        p_value: One-sided, of Wilcoxon's signed-rank test: how likely differences this high are where there is no shift.
    """

    estimate: float
    low: float
    high: float
    p_value: float


def shift(differences: Sequence[float]) -> Shift:
    """Return by how much differences are away from zero.

    Raises:
        ValueError: if there are none.
    """
    count = len(differences)
    walsh = sorted((differences[i] + differences[j]) / 2 for i in range(count) for j in range(i, count))
    if not walsh:
        raise ValueError("no differences")
    cut = _interval_cut(count)
    return Shift(median(walsh), walsh[cut], walsh[len(walsh) - 1 - cut], wilcoxon(differences))


def wilcoxon(differences: Sequence[float]) -> float:
    """Return the exact one-sided p-value of the signed-rank test against "not above zero"; ties share their ranks, zeros do not count."""
    kept = sorted((value for value in differences if value), key=abs)
    ranks = _doubled_ranks([abs(value) for value in kept])
    observed = sum(rank for rank, value in zip(ranks, kept, strict=True) if value > 0)
    return sum(ways for total, ways in _sums(ranks).items() if total >= observed) / 2 ** len(ranks)


def _doubled_ranks(sizes: Sequence[float]) -> list[int]:
    """Return twice the ranks of sorted values, so that shared ones are whole numbers, too."""
    return [sizes.index(size) + len(sizes) - sizes[::-1].index(size) + 1 for size in sizes]


def _sums(ranks: Sequence[int]) -> dict[int, int]:
    """Return in how many ways each sum can be made of some of the ranks."""
    ways: dict[int, int] = {0: 1}
    for rank in ranks:
        for total, count in sorted(ways.items(), reverse=True):
            ways[total + rank] = ways.get(total + rank, 0) + count
    return ways


def _interval_cut(count: int) -> int:
    """Return how many of the smallest and of the largest Walsh averages lie outside of the 95 % interval."""
    ways, tail, cut = _sums(range(1, count + 1)), 0, 0
    for total in sorted(ways):
        tail += ways[total]
        if tail / 2**count > 0.025:  # noqa: PLR2004  # half of 5 %
            break
        cut = total + 1
    return min(cut, (count * (count + 1) // 2 - 1) // 2)


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Return p-values adjusted for that many tests (Holm 1979): of all hypotheses together, 5 % are wrongly rejected."""
    adjusted: dict[str, float] = {}
    highest = 0.0
    for position, (name, p_value) in enumerate(sorted(p_values.items(), key=lambda entry: entry[1])):
        highest = max(highest, min(1.0, p_value * (len(p_values) - position)))
        adjusted[name] = highest
    return adjusted
