"""What a request asks of PostgreSQL and Redis, and how many bytes it answers: counts without noise, where one more is one too many."""

import re
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

import httpx

from loadtests.gate.builds import CREDENTIALS, Build, serving
from loadtests.gate.finding import Finding, Verdict
from loadtests.gate.outcome import GateError
from loadtests.gate.people import Service
from loadtests.gate.run import new_run_id
from loadtests.gate.taps import Tap, tapped
from loadtests.scenarios.visit import API, Person

#: A step is done this often; the first times fill caches, and of the rest the least counts.
WARM: Final = 2
TIMES: Final = 3
#: What a request still causes after its answer, such as waking the relay, comes within this.
SETTLE_SECONDS: Final = 0.06
#: How long a process without clients is watched for what it asks by itself.
IDLE_SECONDS: Final = 3
#: A number, or a fraction of a second: ids grow and PostgreSQL leaves out zeros, so their length is chance.
NUMBER: Final = re.compile(rb"(?<=[:\[,])\d+(?=[,}\]])|\.\d+(?=Z|\+)")


@dataclass(slots=True)
class Counts:
    """What one request costs, without noise.

    Attributes:
        answer_bytes: Length of the body, every number in it counting as one digit.
    """

    statements: Counter[str] = field(default_factory=Counter[str])
    commands: Counter[str] = field(default_factory=Counter[str])
    answer_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Subject:
    """Somebody to send requests as."""

    service: Service
    token: str
    admin: str
    user_id: int
    item_id: int

    def send(self, expect: int, method: str, path: str, token: str | None = None, **options: Any) -> httpx.Response:
        """Send a request as the person, or with another token."""
        return self.service.send(expect, method, path, token or self.token, **options)


type Step = Callable[[Subject], httpx.Response]


def _item(subject: Subject, expect: int, method: str, **options: Any) -> httpx.Response:
    return subject.send(expect, method, f"/items/{subject.item_id}", **options)


STEPS: Final[Mapping[str, Step]] = {
    "GET /health/live": lambda subject: subject.service.get("/health/live"),
    f"GET {API}/items/{{item_id}}": lambda subject: _item(subject, 200, "GET"),
    f"GET {API}/items/": lambda subject: subject.send(200, "GET", "/items/?limit=20&sort=created_at"),
    f"GET {API}/items/?attributes": lambda subject: subject.send(
        200, "GET", '/items/?limit=20&sort=created_at&attributes={"colour":"red"}'
    ),
    f"POST {API}/items/": lambda subject: subject.send(201, "POST", "/items/", json={"title": "counted"}),
    f"POST {API}/items/batch": lambda subject: subject.send(201, "POST", "/items/batch", json=[{"title": "counted"}] * 5),
    f"PATCH {API}/items/{{item_id}}": lambda subject: _item(subject, 200, "PATCH", json={"description": "counted"}),
    f"GET {API}/users/me": lambda subject: subject.send(200, "GET", "/users/me"),
    f"GET {API}/users/{{user_id}}": lambda subject: subject.send(200, "GET", f"/users/{subject.user_id}"),
    f"GET {API}/users/": lambda subject: subject.send(200, "GET", "/users/?limit=20", subject.admin),
    f"PATCH {API}/users/{{user_id}}": lambda subject: subject.send(
        200, "PATCH", f"/users/{subject.user_id}", subject.admin, json={"is_active": True}
    ),
    f"GET {API}/auth/sessions": lambda subject: subject.send(200, "GET", "/auth/sessions"),
    f"POST {API}/ws/tickets": lambda subject: subject.send(201, "POST", "/ws/tickets"),
    f"GET {API}/jobs/": lambda subject: subject.send(200, "GET", "/jobs/?limit=20"),
}


def meet(build: Build, environment: Mapping[str, str]) -> Person:
    """Return somebody to count with. Builds are asked by the same person for the same things, or the bytes would differ."""
    with serving(build, environment) as served:
        service = Service(served.url, CREDENTIALS)
        try:
            return service.make(new_run_id(), 0, "example.com")
        finally:
            service.close()


def count(build: Build, environment: Mapping[str, str], person: Person) -> dict[str, Counts]:
    """Return what every step costs a build.

    Args:
        build: What to run.
        environment: Of the servers it is to use.
        person: From ``meet``.
    """
    urls = {name: environment[name] for name in ("DATABASE_URL", "REDIS_URL")}
    with tapped(urls) as taps, serving(build, {**environment, **{name: tap.url for name, tap in taps.items()}}) as served:
        service = Service(served.url, CREDENTIALS)
        try:
            return _count(service, person, taps)
        finally:
            service.close()


def _count(service: Service, person: Person, taps: Mapping[str, Tap]) -> dict[str, Counts]:
    subject = Subject(service, person.token, service.superuser.token, person.id, person.items[0][0])
    for _ in range(WARM):
        for step in STEPS.values():
            with suppress(GateError):
                step(subject)
    time.sleep(SETTLE_SECONDS)
    before = {name: tap.counts.copy() for name, tap in taps.items()}
    time.sleep(IDLE_SECONDS)
    by_itself = {name: set(tap.counts - before[name]) for name, tap in taps.items()}
    return {name: _least([_once(step, subject, taps, by_itself) for _ in range(TIMES)]) for name, step in STEPS.items()}


def _once(step: Step, subject: Subject, taps: Mapping[str, Tap], by_itself: Mapping[str, set[str]]) -> Counts:
    before = {name: tap.counts.copy() for name, tap in taps.items()}
    try:
        response = step(subject)
    except GateError:  # a failure now and then is for the load to judge; one that stays comes again
        before = {name: tap.counts.copy() for name, tap in taps.items()}
        response = step(subject)
    time.sleep(SETTLE_SECONDS)
    found = {
        name: Counter({key: number for key, number in (tap.counts - before[name]).items() if key not in by_itself[name]})
        for name, tap in taps.items()
    }
    return Counts(found["DATABASE_URL"], found["REDIS_URL"], len(NUMBER.sub(b"0", response.content)))


def _least(tries: list[Counts]) -> Counts:
    """Return the least of several counts, as leases and caches are renewed in one of them or in none."""
    return Counts(
        min((each.statements for each in tries), key=lambda counts: counts.total()),
        min((each.commands for each in tries), key=lambda counts: counts.total()),
        min(each.answer_bytes for each in tries),
    )


def compare_counts(base: Mapping[str, Counts], candidate: Mapping[str, Counts], accepted: frozenset[str]) -> list[Finding]:
    """Return a finding for every count; more than the base has fails, unless the endpoint's are accepted.

    Args:
        base: Of the base.
        candidate: Of the candidate.
        accepted: Endpoints that may cost more: the change is meant to.
    """
    findings: list[Finding] = []
    for name, now in candidate.items():
        then = base[name]
        findings += [
            _finding(name, "SQL statements", then.statements.total(), now.statements.total(), now.statements - then.statements, accepted),
            _finding(name, "Redis commands", then.commands.total(), now.commands.total(), now.commands - then.commands, accepted),
            _finding(name, "bytes answered", then.answer_bytes, now.answer_bytes, Counter[str](), accepted),
        ]
    return findings


def _finding(name: str, check: str, then: int, now: int, more: Counter[str], accepted: frozenset[str]) -> Finding:
    verdict, sentence = Verdict.PASS, ""
    if now != then:
        verdict = Verdict.FAIL if now > then and name not in accepted else Verdict.NOTE
        sentence = (
            "; ".join(f"{number} more of: {' '.join(text.split())[:120]}" for text, number in more.items()) or "It differs from the base."
        )
    return Finding(name, check, verdict, str(now), f"{then} of the base", TIMES, sentence, certain=True)
