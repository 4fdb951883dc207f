"""Two builds side by side: the same visits sent to one and to the other, in turns.

What differs between two runs a minute apart is mostly the machine. Here the two slices of a pair follow directly upon each
other, begin with the other build in turn, and are measured as one ratio; the test asks for a shift over all pairs.
"""

import tempfile
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from uuid import uuid4

from loadtests.gate.budgets import Budgets
from loadtests.gate.builds import CREDENTIALS, Build, serving, shared_servers
from loadtests.gate.counters import compare_counts, count, meet
from loadtests.gate.finding import Finding
from loadtests.gate.invariants import verify
from loadtests.gate.outcome import GateError
from loadtests.gate.pairing import BASE, CANDIDATE, conclude
from loadtests.gate.people import Credentials, Service
from loadtests.gate.plan import Phase, Plan, Profile
from loadtests.gate.recorder import Recorder
from loadtests.gate.result import Result
from loadtests.gate.run import Progress, new_run_id
from loadtests.gate.safety import ask_service, check_host
from loadtests.gate.sending import send
from loadtests.gate.stack import remote
from loadtests.scenarios.visit import Person

WARM_SECONDS: Final = 3.0


@dataclass(frozen=True, slots=True)
class Sides:
    """Two services that answer.

    Attributes:
        urls: Of base and candidate.
        pids: Their processes; none where they are elsewhere.
        credentials: Of a superuser of both.
    """

    urls: list[str]
    pids: list[list[int]]
    credentials: Credentials


@contextmanager
def sides_of(base: Build, candidate: Build, environment: Mapping[str, str]) -> Generator[Sides]:
    """Yield two builds that serve, on one database."""
    with serving(base, environment) as one, serving(candidate, environment) as other:
        yield Sides([one.url, other.url], [one.pids, other.pids], CREDENTIALS)


def slices(pairs: int, seconds: float) -> list[Phase]:
    """Return the phases of a comparison: a warm-up of each side, then pairs that begin with each side in turn."""
    found = [Phase(f"warm-up {side}", WARM_SECONDS, judged=False, target=side, alone=True) for side in (BASE, CANDIDATE)]
    for pair in range(pairs):
        order = (BASE, CANDIDATE) if pair % 2 == 0 else (CANDIDATE, BASE)
        found += [Phase(f"{pair + 1}{'bc'[side]}", seconds, target=side, alone=True, seed=pair) for side in order]
    return found


def is_url(name: str) -> bool:
    """Say whether a side is a service elsewhere."""
    return name.startswith(("http://", "https://"))


def compare_hosts(base: str, candidate: str, profile: Profile, budgets: Budgets, pairs: int, progress: Progress) -> Result:
    """Compare two services on one database elsewhere; neither counts nor processor time are known of them.

    Raises:
        GateError: if only one is a service.
    """
    if not (is_url(base) and is_url(candidate)):
        raise GateError("Give two URLs, or two commits or folders.")
    for url in (base, candidate):
        check_host(url, profile)
    return compare(Sides([base, candidate], [[], []], remote(candidate).credentials), profile, budgets, [], pairs, progress)


def compare_builds(  # two sides, what to send, what to hold it against
    base: Build, candidate: Build, profile: Profile, budgets: Budgets, pairs: int, accepted: frozenset[str], progress: Progress
) -> Result:
    """Compare two builds on this machine, on a PostgreSQL and a Valkey of their own."""
    progress.step("starting PostgreSQL and Valkey")
    with shared_servers() as environment:
        progress.step("counting statements, commands and bytes")
        person = meet(base, environment)
        counts = compare_counts(count(base, environment, person), count(candidate, environment, person), accepted)
        progress.step("starting both builds")
        with sides_of(base, candidate, environment) as sides:
            return compare(sides, profile, budgets, counts, pairs, progress)


def compare(sides: Sides, profile: Profile, budgets: Budgets, counts: Sequence[Finding], pairs: int, progress: Progress) -> Result:
    """Compare two services.

    Args:
        sides: The two.
        profile: The journeys; the length of its one phase is that of a slice.
        budgets: Held against both; what the candidate exceeds and the base keeps is a regression.
        counts: Of ``counters``, if they were taken.
        pairs: How many.
        progress: Told how far it is.
    """
    began, started_at, run = time.monotonic(), datetime.now(UTC).isoformat(timespec="seconds"), new_run_id()
    urls = [check_host(url, profile) for url in sides.urls]
    abouts = [ask_service(url) for url in urls]
    sliced = replace(profile, phases=slices(pairs, profile.phases[0].seconds))
    service = Service(urls[BASE], sides.credentials)  # what is wrong with the candidate is for the load to show
    try:
        people = service.make_all(run, profile.people, profile.email_domain, lambda number: progress.step(f"making people: {number}"))
        recorder = _send(sliced, urls, sides.pids, run, people, service, progress)
        progress.step("looking at what was acknowledged")
        invariants = verify(service, people, recorder.acknowledged, None)
        service.remove_all(run, people)
    finally:
        service.close()
    result = conclude(recorder, sliced, budgets, [*counts, *invariants], measured=all(sides.pids))
    about = abouts[CANDIDATE]
    result.run, result.started_at, result.seconds = run, started_at, time.monotonic() - began
    result.url, result.environment, result.version = " against ".join(reversed(urls)), about.environment, about.version
    return result


def _send(
    profile: Profile, urls: list[str], pids: list[list[int]], run: str, people: list[Person], service: Service, progress: Progress
) -> Recorder:
    plan = Plan(
        run=run,
        seed=uuid4().int % 2**32,
        targets=urls,
        phases=list(profile.phases),
        journeys=dict(profile.journeys),
        users=profile.users,
        email_domain=profile.email_domain,
        people=people,
        superuser=service.sign_in_superuser(),
        pids=pids,
    )
    with tempfile.TemporaryDirectory(prefix="platform-load-") as folder:
        return send([plan], Path(folder), lambda facts: progress.load(profile.phases, facts))
