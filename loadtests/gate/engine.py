"""The arrivals: visits begin when a Poisson process says so, whether or not the service has answered the ones before.

Users that wait for their answer before they go on send less while a service stands still, and so hide that it did. Here
a visit's first request is measured from the moment at which it was to begin.
"""

import random
import time
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import gevent
from gevent.queue import SimpleQueue
from locust import FastHttpUser, task

from loadtests.gate.cpu import cpu_seconds
from loadtests.gate.plan import Phase, Plan
from loadtests.gate.recorder import Recorder
from loadtests.gate.renewal import renew_tokens
from loadtests.gate.visiting import Locusts
from loadtests.scenarios import JOURNEYS
from loadtests.scenarios.visit import BrokenError

TURN_SECONDS: Final = 0.01
#: How long visits may still take after the last arrival.
DRAIN_SECONDS: Final = 30


@dataclass(frozen=True, slots=True)
class Arrival:
    """A visit that is to begin."""

    intended: float
    journey: str
    phase: int
    seed: float


class Visitor(FastHttpUser):
    """Takes arrivals, one after the other, and makes the visit."""

    host = "http://127.0.0.1"  # every request names its target
    network_timeout = 60.0
    insecure = False
    connection_timeout = 10.0
    engine: ClassVar["Engine | None"] = None

    @task
    def visit(self) -> None:
        """Make the visit that waits longest, or wait for one."""
        if Visitor.engine is None:
            gevent.sleep(TURN_SECONDS)
        else:
            Visitor.engine.visit(self.client)


class Engine:
    """Makes arrivals and records visits, in one process.

    Args:
        plan: What to send.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.recorder = Recorder()
        self.phase = 0
        self.origin = time.monotonic()
        self._queue: Any = SimpleQueue()
        self._idle = 0
        self._under_way = 0

    def visit(self, client: Any) -> None:
        """Wait for an arrival and make its visit."""
        self._idle += 1
        try:
            arrival: Arrival = self._queue.get()
        finally:
            self._idle -= 1
        self._under_way += 1
        visit = Locusts(
            self.plan,
            self.recorder,
            client,
            arrival.phase,
            arrival.intended,
            self.origin,
            random.Random(arrival.seed),  # noqa: S311  # repeatable, not secret
        )
        try:
            JOURNEYS[arrival.journey].run(visit)
        except BrokenError:
            pass
        except Exception as error:  # noqa: BLE001  # whatever a journey trips over in an answer is the answer's fault
            visit.stumble(error)
        finally:
            visit.leave()
            self._under_way -= 1
            self.recorder.phase(arrival.phase).ended += 1

    def run(self) -> None:
        """Go through the plan's phases."""
        beside: list[Any] = [gevent.spawn(self._watch), gevent.spawn(renew_tokens, self.plan)]
        wall = time.time() - time.monotonic()
        self.origin = begins = time.monotonic()
        for number, phase in enumerate(self.plan.phases):
            self.phase = number
            if phase.alone:
                self._drain()
                begins = time.monotonic()
            before = self._cpu(phase)
            self._arrive(number, phase, begins)
            begins += phase.seconds
            if phase.alone:
                self._drain()
            self.recorder.phase(number).cpu_seconds = self._cpu(phase) - before
        self._drain()
        self.recorder.clock_drift = abs(time.time() - time.monotonic() - wall)
        gevent.killall(beside)

    def _arrive(self, number: int, phase: Phase, begins: float) -> None:
        """Send the visits of a phase on their way, each at its time."""
        chance = random.Random(f"{self.plan.seed}-{self.plan.number}-{number if phase.seed is None else phase.seed}")  # noqa: S311  # repeatable, not secret
        names, rates = list(self.plan.journeys), list(self.plan.journeys.values())
        rate = sum(rates) * phase.factor / self.plan.share
        due, ends = begins + chance.expovariate(rate), begins + phase.seconds
        while due < ends:
            if (early := due - time.monotonic()) > 0:
                gevent.sleep(early)
            self.recorder.late.add(time.monotonic() - due)
            self.recorder.waited += self._idle == 0
            self.recorder.phase(number).planned += 1  # not kept in a variable: a report may have begun a new record meanwhile
            self._queue.put(Arrival(due, chance.choices(names, rates)[0], number, chance.random()))
            due += chance.expovariate(rate)
        if (left := ends - time.monotonic()) > 0:
            gevent.sleep(left)

    def _drain(self) -> None:
        """Wait until every visit has ended."""
        ends = time.monotonic() + DRAIN_SECONDS
        while (self._under_way or not self._queue.empty()) and time.monotonic() < ends:
            gevent.sleep(TURN_SECONDS)

    def _cpu(self, phase: Phase) -> float:
        """Return the processor time of a phase's target so far, in seconds."""
        pids = self.plan.pids[phase.target] if self.plan.pids and phase.alone else []
        return sum(map(cpu_seconds, pids))

    def _watch(self) -> None:
        """Note by how much the event loop is late, over and over."""
        while True:
            before = time.monotonic()
            gevent.sleep(TURN_SECONDS)
            self.recorder.lag.add(time.monotonic() - before - TURN_SECONDS)
