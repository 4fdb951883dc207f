"""Requests, measured on the API alone: the closed loop of the benchmark, with questions of a curve's own."""

from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Final

from loadtests.bench.errors import BenchError
from loadtests.bench.figures import Sample
from loadtests.bench.machine import cpu_seconds
from loadtests.bench.people import Person
from loadtests.bench.scenarios import Contender, Scenario, expecting
from loadtests.bench.stack import Stack
from loadtests.bench.verify import ask
from loadtests.closed_loop import Request, Tally, anything, load

type Check = Callable[[bytes], bool]

WARM_UP_SECONDS: Final = 0.5
#: What all connections may wait together for one answer each: an answer that takes seconds is asked for by few.
PATIENCE_SECONDS: Final = 3


async def measure(
    stack: Stack, scenario: Scenario, people: Sequence[Person], seconds: float, check: Check = anything
) -> tuple[Sample, int]:
    """Return what a request costs, and how many of it were sent beforehand to learn what a right answer is.

    Args:
        stack: With the API running.
        scenario: The request.
        people: Who sends it, a connection each.
        seconds: For how long.
        check: Tells whether a first answer is right; all others are compared with that.

    Raises:
        BenchError: if an answer is wrong.
    """
    contender = Contender("ours", "ours", stack.plan.api_port, stack.pid("api"))
    requests = _requests(contender, scenario, people, check)
    if not scenario.writes:  # what is written must be counted
        _check(scenario, await load(contender.port, requests, seconds=min(WARM_UP_SECONDS, seconds)))
    pids = contender.pid, stack.pid("postgres")
    before = [cpu_seconds(pid) for pid in pids]
    tally = await load(contender.port, requests, seconds=seconds)
    server, postgres = (cpu_seconds(pid) - sooner for pid, sooner in zip(pids, before, strict=True))
    _check(scenario, tally)
    p50, p99 = tally.percentile(0.5), tally.percentile(0.99)
    return Sample("ours", scenario.name, 0, tally.answered, tally.seconds, server, postgres, p50, p99), len(requests)


def _requests(contender: Contender, scenario: Scenario, people: Sequence[Person], check: Check) -> list[Request]:
    found: list[Request] = []
    for person in people:
        started = perf_counter()
        body = ask(contender, scenario, person)
        if not check(body):
            raise BenchError(f"{scenario.name}: a wrong answer, {body[:300]!r}")
        found.append(expecting(scenario, person, body))
        if (perf_counter() - started) * (len(found) + 1) > PATIENCE_SECONDS:
            break
    return found


def _check(scenario: Scenario, tally: Tally) -> None:
    if tally.unexpected:
        raise BenchError(f"{scenario.name}: {len(tally.unexpected)} answers with status {sorted(set(tally.unexpected))}")
    if tally.wrong:
        raise BenchError(f"{scenario.name}: {len(tally.wrong)} wrong answers, such as {tally.wrong[0][:300]!r}")
