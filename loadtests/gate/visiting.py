"""Visits as Locust's users make them, in the processes that send load."""

import json
import random
import time
from collections.abc import Callable, Mapping
from itertools import count
from typing import Any, Final

import websocket

from loadtests.gate.budgets import flow_name
from loadtests.gate.plan import Plan
from loadtests.gate.recorder import Recorder
from loadtests.scenarios.visit import API, Answer, BrokenError, Check, Person

OPEN_SECONDS: Final = 10
_numbers = count()


class Locusts:
    """One journey of one person, through one user's connections.

    Args:
        plan: Of the run.
        recorder: What becomes of it.
        client: The user's connections.
        phase: Number of the phase in which the visit was to begin.
        intended: When it was to begin, on the monotonic clock.
        origin: When the run began.
        chance: For the visit's choices.
    """

    def __init__(  # all that a visit depends on
        self, plan: Plan, recorder: Recorder, client: Any, phase: int, intended: float, origin: float, chance: random.Random
    ) -> None:
        self.chance = chance
        self.person: Person = chance.choice(plan.people)
        self.superuser = plan.superuser
        self.base = plan.targets[plan.phases[phase].target]
        self._plan, self._recorder, self._client, self._phase = plan, recorder, client, phase
        self._origin = origin
        self._intended: float | None = intended
        self._flows: dict[str, float] = {}
        self._last = ""

    def _begins(self) -> float:
        """Return when what begins now was to begin: the visit's first step at its intended start, others now."""
        begins, self._intended = self._intended or time.monotonic(), None
        return begins

    def ask(  # noqa: PLR0913  # as ``Visit`` has it
        self,
        route: str,
        path: str | None = None,
        *,
        expect: int = 200,
        tolerate: tuple[int, ...] = (),
        token: str | None = None,
        headers: Mapping[str, str] | None = None,
        json: Any = None,
        data: bytes | None = None,
        check: Check | None = None,
    ) -> Answer:
        """Send a request; see ``Visit``."""
        method, _, template = route.partition(" ")
        self._last = route
        begins = self._begins()
        sent = dict(headers or {})
        if bearer := self.person.token if token is None else token:
            sent["Authorization"] = f"Bearer {bearer}"
        body: Any = {} if json is None else {"json": json}
        if data is not None:
            body = {"data": data}
        with self._client.request(
            method, self.base + (path or template), name=route, headers=sent, catch_response=True, allow_redirects=False, **body
        ) as response:
            status, content = response.status_code, response.content
            seconds = time.monotonic() - begins
            fault, value, wrong = _judge(response, content, expect, check)
            if fault is None:
                self._succeed(route, begins, seconds)
                return Answer(status, dict(response.headers or {}), value)
            if status in tolerate:
                response.success()
                raise BrokenError
            response.failure(fault)
        self._fail(route, fault, begins, wrong=wrong)
        raise BrokenError

    def listen(self, ticket: str) -> "Socket":
        """Open a socket; see ``Visit``."""
        address = f"{self.base.replace('http', 'ws', 1)}{API}/ws?ticket={ticket}"
        try:
            opened = websocket.create_connection(address, timeout=OPEN_SECONDS, suppress_origin=True, http_no_proxy=["*"])
        except (OSError, websocket.WebSocketException) as error:
            self._fail(self._last, f"no socket: {type(error).__name__}", time.monotonic())
            raise BrokenError from None
        return Socket(opened, self)

    def begin_flow(self, name: str) -> None:
        """Begin to measure a flow; see ``Visit``."""
        self._flows[name] = self._intended or time.monotonic()

    def end_flow(self, name: str, fault: str | None = None) -> None:
        """Record a flow; see ``Visit``. One that came to a good end may still fail for what came after."""
        begins = self._flows.pop(name, time.monotonic())
        if fault is None:
            self._recorder.phase(self._phase).endpoint(flow_name(name)).successes.add(time.monotonic() - begins)
        else:
            self._fail(flow_name(name), fault, begins, wrong=True)

    def break_off(self, fault: str) -> None:
        """Record the flows that are under way as failed.

        Raises:
            BrokenError: always.
        """
        for name in list(self._flows):
            begins = self._flows.pop(name)
            self._fail(flow_name(name), fault, begins)
        raise BrokenError

    def stumble(self, error: Exception) -> None:
        """Record that the journey could not read an answer: its body lacks what the route documents."""
        self._fail(self._last, f"wrong body: {type(error).__name__} {error}", time.monotonic(), wrong=True)

    def leave(self) -> None:
        """Record flows that were begun and not ended as failed."""
        for name in list(self._flows):
            self._fail(flow_name(name), "a request before its end failed", self._flows.pop(name))

    def made(self, item_id: int, title: str) -> None:
        """Note an item."""
        self._recorder.acknowledged.made.append((item_id, title, self.person.id))

    def removed(self, item_id: int) -> None:
        """Note a deletion."""
        self._recorder.acknowledged.removed.append(item_id)

    def accepted(self, job_id: int, title: str, rows: int, *, cancelled: bool = False) -> None:
        """Note a job."""
        self._recorder.acknowledged.jobs.append((job_id, title, rows, self.person.id, cancelled))

    def name(self) -> str:
        """Return a text of this visit alone."""
        return f"load-{self._plan.run}-{self._plan.number}-{next(_numbers)}"

    def address(self) -> str:
        """Return a fresh e-mail address."""
        return f"{self.name()}@{self._plan.email_domain}"

    def _succeed(self, route: str, begins: float, seconds: float) -> None:
        self._recorder.phase(self._phase).endpoint(route).successes.add(seconds)
        second = int(begins - self._origin)
        if second not in self._recorder.seconds:
            self._recorder.seconds[second] = type(self._recorder.lag)()
        self._recorder.seconds[second].add(seconds)

    def _fail(self, route: str, fault: str, begins: float, *, wrong: bool = False) -> None:
        record = self._recorder.phase(self._phase).endpoint(route)
        record.failures[fault] += 1
        record.wrong += wrong
        self._recorder.failures[int(begins - self._origin)] += 1


class Socket:
    """A socket of live events.

    Args:
        opened: The connection.
        visit: Whose flows fail if it does.
    """

    def __init__(self, opened: Any, visit: Locusts) -> None:
        self._opened = opened
        self._visit = visit

    def wait_for(self, accept: Callable[[Mapping[str, Any]], bool], seconds: float) -> Mapping[str, Any]:
        """Return the first frame that ``accept`` takes; see ``Frames``."""
        ends = time.monotonic() + seconds
        while (left := ends - time.monotonic()) > 0:
            self._opened.settimeout(left)
            try:
                frame: dict[str, Any] = json.loads(self._opened.recv())
            except (OSError, ValueError, websocket.WebSocketException) as error:
                self._visit.break_off(f"the socket ended: {type(error).__name__}")
                raise
            if accept(frame):
                return frame
        self._visit.break_off(f"no event within {seconds:g} s")
        raise AssertionError

    def close(self) -> None:
        """Close it without waiting for the other side."""
        self._opened.close(timeout=0)


def _judge(response: Any, content: bytes, expect: int, check: Check | None) -> tuple[str | None, Any, bool]:
    """Return what is wrong with an answer, what it holds, and whether it is the body alone that is wrong."""
    if response.status_code == 0:
        return f"no answer: {type(response.error).__name__}", None, False
    if response.status_code != expect:
        return f"status {response.status_code} instead of {expect}", None, False
    try:
        value: Any = json.loads(content) if content else None
        fault = check(value) if check else None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        fault, value = f"{type(error).__name__} {error}", None
    return (f"wrong body: {fault}", None, True) if fault else (None, value, False)
