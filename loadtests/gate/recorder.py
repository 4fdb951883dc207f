"""What a run saw: made by each process that sends load, added up by one."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Self

from loadtests.gate.histogram import Histogram


@dataclass(slots=True)
class EndpointRecord:
    """What became of the requests to an endpoint, or of the passes of a flow.

    Attributes:
        successes: Durations of those that were as they should be.
        failures: Counts of the others by what went wrong.
        wrong: Of the failures, those whose status was right and whose body was not.
    """

    successes: Histogram = field(default_factory=Histogram)
    failures: Counter[str] = field(default_factory=Counter[str])
    wrong: int = 0

    def merge(self, other: "EndpointRecord") -> Self:
        """Add another record to this one and return this one."""
        self.successes.merge(other.successes)
        self.failures += other.failures
        self.wrong += other.wrong
        return self

    @property
    def failed(self) -> int:
        """How many failed."""
        return self.failures.total()

    @property
    def total(self) -> int:
        """How many there were."""
        return self.successes.total + self.failed

    def encode(self) -> dict[str, Any]:
        """Return JSON."""
        return {"successes": self.successes.encode(), "failures": dict(self.failures), "wrong": self.wrong}

    @classmethod
    def decode(cls, encoded: Any) -> Self:
        """Return what ``encode`` wrote."""
        return cls(Histogram.decode(encoded["successes"]), Counter(encoded["failures"]), encoded["wrong"])


@dataclass(slots=True)
class PhaseRecord:
    """What happened to the visits that were to begin in a phase.

    Attributes:
        planned: Visits that were to begin.
        ended: Visits that came to an end, good or bad.
        cpu_seconds: Processor time of the target's processes over the phase; 0 where they are not known.
    """

    endpoints: dict[str, EndpointRecord] = field(default_factory=dict[str, EndpointRecord])
    planned: int = 0
    ended: int = 0
    cpu_seconds: float = 0.0

    def endpoint(self, name: str) -> EndpointRecord:
        """Return the record of an endpoint, made if need be."""
        return self.endpoints.setdefault(name, EndpointRecord())

    def merge(self, other: "PhaseRecord") -> Self:
        """Add another record to this one and return this one."""
        for name, endpoint in other.endpoints.items():
            self.endpoint(name).merge(endpoint)
        self.planned += other.planned
        self.ended += other.ended
        self.cpu_seconds += other.cpu_seconds
        return self

    @property
    def requests(self) -> int:
        """How many requests were sent; flows are none."""
        return sum(endpoint.total for name, endpoint in self.endpoints.items() if not name.startswith("flow "))

    def encode(self) -> dict[str, Any]:
        """Return JSON."""
        endpoints = {name: endpoint.encode() for name, endpoint in self.endpoints.items()}
        return {"endpoints": endpoints, "planned": self.planned, "ended": self.ended, "cpu_seconds": self.cpu_seconds}

    @classmethod
    def decode(cls, encoded: Any) -> Self:
        """Return what ``encode`` wrote."""
        endpoints = {name: EndpointRecord.decode(each) for name, each in encoded["endpoints"].items()}
        return cls(endpoints, encoded["planned"], encoded["ended"], encoded["cpu_seconds"])


@dataclass(slots=True)
class Acknowledged:
    """What the service said yes to, to be looked for afterwards.

    Attributes:
        made: Items: id, title, id of the owner.
        removed: Ids of items that were deleted.
        jobs: Imports: id, beginning of the titles, rows, id of the owner, whether it was cancelled.
    """

    made: list[tuple[int, str, int]] = field(default_factory=list[tuple[int, str, int]])
    removed: list[int] = field(default_factory=list[int])
    jobs: list[tuple[int, str, int, int, bool]] = field(default_factory=list[tuple[int, str, int, int, bool]])

    def encode(self) -> dict[str, Any]:
        """Return JSON."""
        return {"made": self.made, "removed": self.removed, "jobs": self.jobs}

    def absorb(self, encoded: Any) -> None:
        """Add what another process's ``encode`` wrote."""
        self.made += [(item, title, owner) for item, title, owner in encoded["made"]]
        self.removed += encoded["removed"]
        self.jobs += [(job, title, rows, owner, cancelled) for job, title, rows, owner, cancelled in encoded["jobs"]]


@dataclass(slots=True)
class Recorder:
    """Everything of a run.

    Attributes:
        phases: By number.
        seconds: Durations of all successful requests, by the second of the run in which they should have begun.
        failures: Counts of failed requests, likewise.
        lag: By how much the generator's event loop was late when it had nothing to do but turn.
        late: By how much arrivals were sent on their way after their time.
        waited: Visits that found nobody free and had to wait; the wait is part of their duration.
        clock_drift: Seconds by which wall clock and monotonic clock parted.
        lost_workers: Generators that went away during the run.
    """

    phases: dict[int, PhaseRecord] = field(default_factory=dict[int, PhaseRecord])
    seconds: dict[int, Histogram] = field(default_factory=dict[int, Histogram])
    failures: Counter[int] = field(default_factory=Counter[int])
    lag: Histogram = field(default_factory=Histogram)
    late: Histogram = field(default_factory=Histogram)
    waited: int = 0
    clock_drift: float = 0.0
    lost_workers: int = 0
    acknowledged: Acknowledged = field(default_factory=Acknowledged)

    def phase(self, number: int) -> PhaseRecord:
        """Return the record of a phase, made if need be."""
        return self.phases.setdefault(number, PhaseRecord())

    def encode(self) -> dict[str, Any]:
        """Return JSON; keys that are numbers become text."""
        return {
            "phases": {str(number): phase.encode() for number, phase in self.phases.items()},
            "seconds": {str(second): histogram.encode() for second, histogram in self.seconds.items()},
            "failures": {str(second): count for second, count in self.failures.items()},
            "lag": self.lag.encode(),
            "late": self.late.encode(),
            "waited": self.waited,
            "clock_drift": self.clock_drift,
            "lost_workers": self.lost_workers,
            "acknowledged": self.acknowledged.encode(),
        }

    def absorb(self, encoded: Any) -> Self:
        """Add what another process's ``encode`` wrote and return this one."""
        for number, phase in encoded["phases"].items():
            self.phase(int(number)).merge(PhaseRecord.decode(phase))
        for second, histogram in encoded["seconds"].items():
            self.seconds.setdefault(int(second), Histogram()).merge(Histogram.decode(histogram))
        self.failures += Counter({int(second): count for second, count in encoded["failures"].items()})
        self.lag.merge(Histogram.decode(encoded["lag"]))
        self.late.merge(Histogram.decode(encoded["late"]))
        self.waited += encoded["waited"]
        self.clock_drift = max(self.clock_drift, encoded["clock_drift"])
        self.lost_workers += encoded["lost_workers"]
        self.acknowledged.absorb(encoded["acknowledged"])
        return self

    def take(self) -> dict[str, Any]:
        """Return ``encode``'s answer and begin anew: what a worker sends to its master every few seconds."""
        taken = self.encode()
        fresh = Recorder()
        for name in self.__slots__:  # pyright: ignore[reportUnknownVariableType,reportUnknownMemberType,reportAttributeAccessIssue]  # the dataclass makes them
            setattr(self, name, getattr(fresh, name))  # pyright: ignore[reportUnknownArgumentType]
        return taken
