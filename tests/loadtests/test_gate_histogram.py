"""Histograms keep every value to a thousandth, and add up."""

import json
import random

from hypothesis import given
from hypothesis import strategies as st

from loadtests.gate.histogram import Histogram, bucket_of, highest_of, samples_needed

MICROSECONDS = st.integers(min_value=0, max_value=3_600_000_000)


@given(MICROSECONDS)
def test_a_bucket_is_never_wider_than_a_thousandth_of_its_values(value: int) -> None:
    highest = highest_of(bucket_of(value))
    assert value <= highest <= value * 1.001


@given(MICROSECONDS)
def test_buckets_follow_each_other_without_gap(value: int) -> None:
    highest = highest_of(bucket_of(value))
    assert bucket_of(highest) == bucket_of(value)
    assert bucket_of(highest + 1) == bucket_of(value) + 1


def test_a_duration_that_lies_between_two_round_ones_is_not_rounded() -> None:
    histogram = Histogram()
    histogram.add(1.049)
    assert abs(histogram.quantile(0.5) - 1.049) < 0.001


def test_quantiles_are_those_of_the_sorted_values() -> None:
    chance = random.Random(1)
    values = sorted(chance.lognormvariate(-5, 1) for _ in range(5000))
    histogram = Histogram()
    for value in values:
        histogram.add(value)
    for share in (0.01, 0.5, 0.95, 0.99, 1.0):
        exact = values[max(0, -(-int(share * 5000 * 1000) // 1000) - 1)]
        assert abs(histogram.quantile(share) / exact - 1) < 0.002, share


def test_merging_is_the_same_as_counting_everything_in_one() -> None:
    chance = random.Random(2)
    parts, together = [Histogram() for _ in range(3)], Histogram()
    for _ in range(3000):
        value = chance.expovariate(100)
        chance.choice(parts).add(value)
        together.add(value)
    merged = Histogram.merged(parts)
    assert (merged.counts, merged.total) == (together.counts, together.total)


def test_a_histogram_survives_json() -> None:
    histogram = Histogram()
    for value in (0.0, 0.001, 0.5, 70.0):
        histogram.add(value)
    read = Histogram.decode(json.loads(json.dumps(histogram.encode())))
    assert (read.counts, read.total) == (histogram.counts, 4)


def test_values_above_a_limit_are_counted_and_those_at_it_are_not() -> None:
    histogram = Histogram()
    for value in (0.010, 0.025, 0.0251, 2.0):
        histogram.add(value)
    assert histogram.above(0.025) == 2


def test_a_quantile_needs_thirty_values_above_it() -> None:
    assert [samples_needed(share) for share in (0.5, 0.95, 0.99)] == [60, 600, 3000]
