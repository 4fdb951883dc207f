"""Histograms of durations: within 0.1 % of every value, small, and made to be added to one another.

A value is a whole number of microseconds. Up to 2047 each has a bucket of its own; above, every doubling is cut into 1024
buckets, so that a bucket is never wider than a thousandth of what it holds. Locust's own statistics round to two digits
(1049 ms reads 1000), which is more than most regressions.
"""

import math
from collections.abc import Iterable
from typing import Final, Self

SUB_BUCKET_BITS: Final = 10
EXACT: Final = 2 << SUB_BUCKET_BITS

type Encoded = list[list[int]]


def bucket_of(microseconds: int) -> int:
    """Return the number of the bucket a value falls into."""
    if microseconds < EXACT:
        return microseconds
    shift = microseconds.bit_length() - SUB_BUCKET_BITS - 1
    return (shift << SUB_BUCKET_BITS) + (microseconds >> shift)


def highest_of(bucket: int) -> int:
    """Return the highest value that falls into a bucket, in microseconds."""
    if bucket < EXACT:
        return bucket
    shift = (bucket >> SUB_BUCKET_BITS) - 1
    return (((bucket & ((1 << SUB_BUCKET_BITS) - 1)) + (1 << SUB_BUCKET_BITS) + 1) << shift) - 1


class Histogram:
    """Counts of durations by bucket."""

    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.counts: dict[int, int] = {}
        self.total = 0

    def add(self, seconds: float, count: int = 1) -> None:
        """Count a duration; one below zero, which only a broken clock gives, counts as zero."""
        bucket = bucket_of(max(0, round(seconds * 1e6)))
        self.counts[bucket] = self.counts.get(bucket, 0) + count
        self.total += count

    def merge(self, other: "Histogram") -> Self:
        """Add another histogram's counts to this one's and return this one."""
        for bucket, count in other.counts.items():
            self.counts[bucket] = self.counts.get(bucket, 0) + count
        self.total += other.total
        return self

    def quantile(self, share: float) -> float:
        """Return the smallest value that at least ``share`` of all values do not exceed, in seconds.

        Raises:
            ValueError: if there are no values.
        """
        if not self.total:
            raise ValueError("an empty histogram has no quantiles")
        return self.at_rank(math.ceil(share * self.total))

    def at_rank(self, rank: int) -> float:
        """Return the value at a rank in ascending order, in seconds; ranks beyond the ends are the ends."""
        rank = min(max(rank, 1), self.total)
        seen = 0
        for bucket in sorted(self.counts):
            seen += self.counts[bucket]
            if seen >= rank:
                return highest_of(bucket) / 1e6
        raise ValueError("an empty histogram has no ranks")

    def above(self, seconds: float) -> int:
        """Return how many values are above a limit, a limit within a bucket counting as that bucket's end."""
        limit = bucket_of(round(seconds * 1e6))
        return sum(count for bucket, count in self.counts.items() if bucket > limit)

    def mean(self) -> float:
        """Return the mean in seconds, 0 where there are no values."""
        return sum(highest_of(bucket) * count for bucket, count in self.counts.items()) / 1e6 / self.total if self.total else 0.0

    def encode(self) -> Encoded:
        """Return pairs of bucket and count, as JSON and Locust's messages carry them."""
        return [[bucket, count] for bucket, count in sorted(self.counts.items())]

    @classmethod
    def decode(cls, encoded: Iterable[tuple[int, int]]) -> Self:
        """Return the histogram that ``encode`` wrote."""
        made = cls()
        made.counts = dict(encoded)
        made.total = sum(made.counts.values())
        return made

    @classmethod
    def merged(cls, histograms: Iterable["Histogram"]) -> Self:
        """Return the sum of histograms."""
        made = cls()
        for histogram in histograms:
            made.merge(histogram)
        return made


def samples_needed(share: float) -> int:
    """Return from how many values on a quantile says something: 30 of them are then above it."""
    return math.ceil(30 / (1 - share) - 1e-9)
