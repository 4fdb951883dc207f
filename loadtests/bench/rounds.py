"""The requests, measured: servers take turns within each round, so that what the machine does besides hits all alike."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from loadtests.bench.errors import BenchError
from loadtests.bench.figures import Sample
from loadtests.bench.machine import cpu_seconds
from loadtests.bench.people import Person, Tables
from loadtests.bench.scenarios import SCENARIOS, Contender, Scenario, expecting
from loadtests.bench.verify import ask
from loadtests.closed_loop import Request, Tally, load

#: Until a compiler that learns at run time has learned, and before each later measurement.
FIRST_WARM_UP_SECONDS: Final = 3.0
WARM_UP_SECONDS: Final = 0.5


@dataclass(frozen=True, slots=True)
class Course:
    """What is run.

    Attributes:
        contenders: The servers.
        people: Who sends requests, a connection each.
        tables: Brought back after each measurement that wrote.
        postgres_pid: PostgreSQL's first process.
        seconds: Length of a measurement.
        rounds: How often each is repeated.
    """

    contenders: Sequence[Contender]
    people: Sequence[Person]
    tables: Tables
    postgres_pid: int
    seconds: float
    rounds: int

    @property
    def steps(self) -> int:
        """How many measurements there are."""
        return self.rounds * len(SCENARIOS) * len(self.contenders)


async def measure(course: Course, progress: Callable[[str], None]) -> list[Sample]:
    """Return a sample per round, scenario and server.

    Args:
        course: What is run.
        progress: Told before each measurement what it is.

    Raises:
        BenchError: if an answer is not the right one.
    """
    samples: list[Sample] = []
    for number in range(course.rounds):
        # Whoever is first in one round is last in the next.
        first = number % len(course.contenders)
        turns = [*course.contenders[first:], *course.contenders[:first]]
        for scenario in SCENARIOS:
            for contender in turns:
                progress(f"round {number + 1}: {scenario.name}, {contender.title}")
                samples.append(await _sample(course, scenario, contender, number))
    return samples


async def _sample(course: Course, scenario: Scenario, contender: Contender, number: int) -> Sample:
    requests = [expecting(scenario, person, ask(contender, scenario, person)) for person in course.people]
    await _checked(contender, scenario, requests, WARM_UP_SECONDS if number else FIRST_WARM_UP_SECONDS)
    if scenario.writes:
        await course.tables.restore()
    before = cpu_seconds(contender.pid), cpu_seconds(course.postgres_pid)
    tally = await _checked(contender, scenario, requests, course.seconds)
    after = cpu_seconds(contender.pid), cpu_seconds(course.postgres_pid)
    if scenario.writes:
        await _check_written(course.tables, contender, tally)
    server_cpu, postgres_cpu = (later - sooner for sooner, later in zip(before, after, strict=True))
    return Sample(
        server=contender.name,
        scenario=scenario.name,
        round=number,
        answered=tally.answered,
        seconds=tally.seconds,
        server_cpu=server_cpu,
        postgres_cpu=postgres_cpu,
        p50=tally.percentile(0.5),
        p99=tally.percentile(0.99),
    )


async def _checked(contender: Contender, scenario: Scenario, requests: list[Request], seconds: float) -> Tally:
    tally = await load(contender.port, requests, seconds=seconds)
    if tally.unexpected:
        raise BenchError(f"{contender.title}: {scenario.name}: {len(tally.unexpected)} answers with status {sorted(set(tally.unexpected))}")
    if tally.wrong:
        raise BenchError(f"{contender.title}: {scenario.name}: {len(tally.wrong)} wrong answers, such as {tally.wrong[0][:300]!r}")
    return tally


async def _check_written(tables: Tables, contender: Contender, tally: Tally) -> None:
    """Make sure that every item that was said to be made is there, its event with it."""
    announced = await tables.announced()
    made = await tables.restore()
    if not made == announced == tally.answered:
        raise BenchError(f"{contender.title}: {tally.answered} items were acknowledged, {made} made and {announced} announced")
