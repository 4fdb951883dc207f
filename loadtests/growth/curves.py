"""What is measured, and the arithmetic of growth."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import log
from typing import Final

MICROSECONDS: Final = 1e6

#: Told what is measured next.
type Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Measure:
    """A figure of a curve.

    Attributes:
        key: Its name in ``Point.values``.
        title: As tables and plots call it, with its unit.
        form: How a value is written.
    """

    key: str
    title: str
    form: str = "{:,.0f}"


@dataclass(frozen=True, slots=True)
class Point:
    """What was measured at one size.

    Attributes:
        line: Which line of the curve it belongs to.
        size: How much there was of what grows.
        values: By the measure's key.
    """

    line: str
    size: int
    values: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Curve:
    """One curve, measured.

    Attributes:
        key: Its name.
        points: By line and size.
        facts: What was found besides: numbers that sentences use.
        where: The machine and the moment, by what tables call them.
    """

    key: str
    points: Sequence[Point]
    facts: Mapping[str, float] = field(default_factory=dict[str, float])
    where: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def lines(self) -> list[str]:
        """The lines, in the order in which they were measured."""
        return list(dict.fromkeys(point.line for point in self.points))

    def along(self, line: str) -> list[Point]:
        """Return a line's points by size."""
        return sorted((point for point in self.points if point.line == line), key=lambda point: point.size)

    def growth(self, line: str, *keys: str) -> "Growth":
        """Return how the sum of some measures grows along a line."""
        points = self.along(line)
        first, last = (sum(point.values[key] for key in keys) for point in (points[0], points[-1]))
        return Growth(line, points[0].size, points[-1].size, first, last)


@dataclass(frozen=True, slots=True)
class Growth:
    """A figure at the smallest and at the largest size of a line."""

    line: str
    smallest: int
    largest: int
    first: float
    last: float

    @property
    def factor(self) -> float:
        """The figure at the largest size over that at the smallest."""
        return self.last / self.first

    @property
    def logarithm(self) -> float:
        """What that factor would be if the figure grew as the logarithm of the size."""
        return log(self.largest) / log(self.smallest)

    @property
    def once(self) -> float:
        """What is spent once however large the size, where ``first`` and ``last`` are shares of one unit of size each."""
        return (self.first - self.each) * self.smallest

    @property
    def each(self) -> float:
        """What one more unit of size adds, where ``first`` and ``last`` are shares of one unit of size each."""
        if self.largest == self.smallest:
            return self.last
        return (self.last * self.largest - self.first * self.smallest) / (self.largest - self.smallest)
