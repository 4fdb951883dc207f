"""The arithmetic: what a round gave, what rounds give together, and the targets."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Final, Literal

OURS: Final = "ours"
#: What the targets compare; health is there to show the floor.
COMPARED: Final = ("item", "list of 50", "create")

NODE_RATIO: Final = 1.0
GO_RATIO: Final = 0.6
TEXTBOOK_RATIO: Final = 6.0
TOTAL_CPU_RATIO: Final = 1.0
MORE_MEMORY_MIB: Final = 30.0
DELIVERY_US: Final = 15.0
IMPORT_ROWS_PER_SECOND: Final = 10_000.0
TASK_US: Final = 1500.0

MICROSECONDS: Final = 1e6

type Outcome = Literal["met", "missed", "not measured"]


@dataclass(frozen=True, slots=True)
class Sample:
    """One server's answers to one scenario in one round.

    Attributes:
        server: ``ours`` or a peer's name.
        scenario: As tables call it.
        round: Counted from 0.
        answered: Requests answered, every one of them right.
        seconds: How long it took.
        server_cpu: CPU seconds of the server's processes.
        postgres_cpu: CPU seconds of PostgreSQL's.
        p50: Median latency in seconds.
        p99: 99th percentile in seconds.
    """

    server: str
    scenario: str
    round: int
    answered: int
    seconds: float
    server_cpu: float
    postgres_cpu: float
    p50: float
    p99: float

    @property
    def server_us(self) -> float:
        """CPU microseconds of the server per request."""
        return self.server_cpu / self.answered * MICROSECONDS

    @property
    def postgres_us(self) -> float:
        """CPU microseconds of PostgreSQL per request."""
        return self.postgres_cpu / self.answered * MICROSECONDS

    @property
    def total_us(self) -> float:
        """CPU microseconds of both per request."""
        return self.server_us + self.postgres_us

    @property
    def per_second(self) -> float:
        """Requests per second."""
        return self.answered / self.seconds

    @property
    def per_cpu_second(self) -> float:
        """Requests per CPU second of the server."""
        return self.answered / self.server_cpu


@dataclass(frozen=True, slots=True)
class Spread:
    """A figure over several rounds: its median, and how far it went."""

    middle: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Iterable[float]) -> "Spread":
        """Return the spread of values, of which there must be one at least."""
        found = sorted(values)
        return cls(median(found), found[0], found[-1])


@dataclass(frozen=True, slots=True)
class Fanout:
    """Events delivered to sockets: CPU microseconds of the API per delivery, and deliveries per second."""

    sockets: int
    microseconds: Spread
    per_second: Spread


@dataclass(frozen=True, slots=True)
class Import:
    """Rows of an import per second, and CPU microseconds per row of the worker and of PostgreSQL."""

    rows: int
    per_second: Spread
    worker_us: Spread
    postgres_us: Spread


@dataclass(frozen=True, slots=True)
class Tasks:
    """CPU microseconds per task that does nothing: all that it costs, and the shares of workers, PostgreSQL and Valkey."""

    count: int
    microseconds: Spread
    workers_us: Spread
    postgres_us: Spread
    valkey_us: Spread
    per_second: Spread


@dataclass(frozen=True, slots=True)
class Results:
    """Everything one run measured.

    Attributes:
        samples: Of all servers, scenarios and rounds.
        memory: Resident memory in MiB of the process that answers, by server.
        fanout: Live events, ``None`` where that was left out.
        imported: Imports, ``None`` where that was left out.
        tasks: Tasks, ``None`` where that was left out.
    """

    samples: Sequence[Sample] = ()
    memory: dict[str, float] = field(default_factory=dict[str, float])
    fanout: Fanout | None = None
    imported: Import | None = None
    tasks: Tasks | None = None

    @property
    def servers(self) -> list[str]:
        """The servers measured, in the order in which they were."""
        return list(dict.fromkeys(sample.server for sample in self.samples))

    @property
    def scenarios(self) -> list[str]:
        """The scenarios measured."""
        return list(dict.fromkeys(sample.scenario for sample in self.samples))

    def spread(self, server: str, scenario: str, figure: Callable[[Sample], float]) -> Spread:
        """Return a figure of a server's samples over the rounds."""
        return Spread.of(figure(sample) for sample in self._of(server, scenario))

    def ratio(self, peer: str, scenario: str, figure: Callable[[Sample], float]) -> Spread | None:
        """Return ours over a peer's figure; each round is compared with itself. ``None`` where the peer was not measured."""
        theirs = {sample.round: figure(sample) for sample in self._of(peer, scenario)}
        ratios = [figure(sample) / theirs[sample.round] for sample in self._of(OURS, scenario) if sample.round in theirs]
        return Spread.of(ratios) if ratios else None

    def _of(self, server: str, scenario: str) -> list[Sample]:
        return [sample for sample in self.samples if (sample.server, sample.scenario) == (server, scenario)]


@dataclass(frozen=True, slots=True)
class Target:
    """Something the service is to reach.

    Attributes:
        name: What is to be reached, with its bound.
        measured: What was, as text.
        outcome: Whether that is enough.
    """

    name: str
    measured: str
    outcome: Outcome


def targets(results: Results) -> list[Target]:
    """Return every target with what was measured."""
    found = [
        _at_least(f"{scenario}: requests per CPU second, ours / {title} ≥ {bound:g}", results.ratio(peer, scenario, _per_cpu), bound)
        for peer, title, bound in (
            ("node", "Node.js", NODE_RATIO),
            ("go", "Go", GO_RATIO),
            ("textbook", "textbook FastAPI", TEXTBOOK_RATIO),
        )
        for scenario in COMPARED
    ]
    found += [
        _at_most(
            f"{scenario}: CPU of server and PostgreSQL, ours / Node.js ≤ {TOTAL_CPU_RATIO:g}",
            results.ratio("node", scenario, _total),
            TOTAL_CPU_RATIO,
        )
        for scenario in COMPARED
    ]
    more = None
    if OURS in results.memory and "node" in results.memory:
        more = Spread.of([results.memory[OURS] - results.memory["node"]])
    per_delivery = results.fanout and results.fanout.microseconds
    rows = results.imported and results.imported.per_second
    per_task = results.tasks and results.tasks.microseconds
    return [
        *found,
        _at_most(f"memory per process, ours - Node.js ≤ {MORE_MEMORY_MIB:g} MiB", more, MORE_MEMORY_MIB, "{:+.0f} MiB"),
        _at_most(f"live events: CPU per delivery ≤ {DELIVERY_US:g} µs", per_delivery, DELIVERY_US, "{:.1f} µs"),
        _at_least(f"import ≥ {IMPORT_ROWS_PER_SECOND:,.0f} rows/s", rows, IMPORT_ROWS_PER_SECOND, "{:,.0f} rows/s"),
        _at_most(f"a task that does nothing: CPU ≤ {TASK_US / 1000:g} ms", per_task, TASK_US, "{:.0f} µs"),
    ]


def _per_cpu(sample: Sample) -> float:
    return sample.per_cpu_second


def _total(sample: Sample) -> float:
    return sample.total_us


def _at_least(name: str, spread: Spread | None, bound: float, form: str = "{:.2f}") -> Target:
    return _target(name, spread, form, met=spread is not None and spread.middle >= bound)


def _at_most(name: str, spread: Spread | None, bound: float, form: str = "{:.2f}") -> Target:
    return _target(name, spread, form, met=spread is not None and spread.middle <= bound)


def _target(name: str, spread: Spread | None, form: str, *, met: bool) -> Target:
    if spread is None:
        return Target(name, "-", "not measured")
    return Target(name, written(spread, form), "met" if met else "missed")


def written(spread: Spread, form: str = "{:.2f}") -> str:
    """Return a spread as text: the median, and the ends behind it where they differ."""
    middle, low, high = (form.format(value) for value in (spread.middle, spread.low, spread.high))
    return middle if low == high else f"{middle} ({low} to {high})"
