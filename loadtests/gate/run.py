"""A run: one service, one profile, one verdict."""

import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Protocol
from uuid import uuid4

from loadtests.gate import validity
from loadtests.gate.budgets import Budgets
from loadtests.gate.finding import Finding, Verdict
from loadtests.gate.invariants import verify
from loadtests.gate.judging import decide, judge
from loadtests.gate.outcome import GateError
from loadtests.gate.people import Service
from loadtests.gate.plan import Phase, Plan, Profile
from loadtests.gate.recorder import PhaseRecord, Recorder
from loadtests.gate.result import Result, endpoint_figures, phase_figures, series
from loadtests.gate.safety import About, ask_service, check_host
from loadtests.gate.sending import parts_of, send
from loadtests.gate.stack import Target, local_stack, remote
from loadtests.scenarios.visit import Person

RUN_ID_LETTERS: Final = 6


class Progress(Protocol):
    """Told how far a run is."""

    def step(self, text: str) -> None:
        """Say what happens now."""
        ...

    def load(self, phases: Sequence[Phase], facts: dict[str, Any]) -> None:
        """Say how far the load is."""
        ...


@dataclass(frozen=True, slots=True)
class Options:
    """How a run is to be.

    Attributes:
        host: Base URL; the local stack unless given.
        local_dir: Where the local stack is.
        workers: Processes that send.
        bind: Address and port for workers that come from elsewhere, ``None`` to start them here.
        seed: Of the arrivals; a random one unless given.
        keep: Leave people and items where they are.
    """

    host: str | None = None
    local_dir: str = ".local"
    workers: int = 1
    bind: str | None = None
    seed: int | None = None
    keep: bool = False


def new_run_id() -> str:
    """Return an id for a run: short, as it is in every title and address."""
    return uuid4().hex[:RUN_ID_LETTERS]


def perform(profile: Profile, budgets: Budgets, options: Options, progress: Progress, *, partial: bool = False) -> Result:
    """Send a profile's load and judge what comes back.

    Args:
        profile: What to send.
        budgets: What to hold it against.
        options: Where to, and how.
        progress: Told how far it is.
        partial: Whether the profile may leave endpoints out.

    Raises:
        GateError: if there is nothing to judge: refused, unreachable, a process that failed.
    """
    began, started_at = time.monotonic(), datetime.now(UTC).isoformat(timespec="seconds")
    with ExitStack() as held:
        target = _target(options, profile, progress, held)
        url = check_host(target.url, profile)
        about = ask_service(url)
        service = Service(url, target.credentials)
        held.callback(service.close)
        run = new_run_id()
        people: list[Person] = []
        if not options.keep:
            held.callback(_remove, service, run, people, progress)
        people += service.make_all(
            run, profile.people, profile.email_domain, lambda count: progress.step(f"making people: {count} of {profile.people}")
        )
        recorder = _load(profile, options, progress, service, run, people, url)
        progress.step("looking at what was acknowledged")
        invariants = verify(service, people, recorder.acknowledged, target.database_url)
    result = conclude(recorder, profile, budgets, invariants, about, partial=partial)
    result.run, result.url, result.started_at, result.seconds = run, url, started_at, time.monotonic() - began
    return result


def _target(options: Options, profile: Profile, progress: Progress, held: ExitStack) -> Target:
    if options.host is not None:
        check_host(options.host, profile)
        return remote(options.host)
    progress.step("taking the local stack, or starting it")
    return held.enter_context(local_stack(options.local_dir))


def _load(profile: Profile, options: Options, progress: Progress, service: Service, run: str, people: list[Person], url: str) -> Recorder:
    superusers = [service.sign_in_superuser() for _ in range(options.workers)]
    plan = Plan(
        run=run,
        seed=options.seed if options.seed is not None else uuid4().int % 2**32,
        targets=[url],
        phases=list(profile.phases),
        journeys=dict(profile.journeys),
        users=profile.users,
        email_domain=profile.email_domain,
        people=people,
        superuser=superusers[0],
    )
    if options.bind is not None:
        progress.step(f"waiting for {options.workers} workers at {options.bind}")
    with tempfile.TemporaryDirectory(prefix="platform-load-") as folder:
        return send(
            parts_of(plan, superusers),
            Path(folder),
            lambda facts: progress.load(profile.phases, facts),
            bind=options.bind,
            spawn=options.bind is None,
        )


def _remove(service: Service, run: str, people: list[Person], progress: Progress) -> None:
    """Delete the run's people; that it could not is worth a line, and does not change what was found."""
    progress.step("deleting the people of the run")
    try:
        service.remove_all(run, people)
    except GateError as error:
        progress.step(f"people of run {run} are left there: {error}")


def conclude(
    recorder: Recorder, profile: Profile, budgets: Budgets, invariants: Sequence[Finding], about: About, *, partial: bool = False
) -> Result:
    """Judge what was recorded."""
    judged = [recorder.phase(number) for number, phase in enumerate(profile.phases) if phase.judged]
    together = PhaseRecord()
    for record in judged:
        together.merge(record)
    findings = [*judge(together, profile, budgets, whole=not partial), *_wrong_elsewhere(recorder, profile), *invariants]
    examined = validity.examine(recorder, profile, profile.phases, validity.ALONE)
    return Result(
        run="",
        kind="run",
        profile=profile.name,
        url="",
        environment=about.environment,
        version=about.version,
        started_at="",
        seconds=0.0,
        exit=decide(examined, findings),
        validity=examined,
        findings=findings,
        endpoints=endpoint_figures(together, budgets, findings),
        phases=phase_figures(recorder, profile.phases),
        series=series(recorder),
        waited=recorder.waited,
    )


def _wrong_elsewhere(recorder: Recorder, profile: Profile) -> list[Finding]:
    """Look for wrong answers in the phases whose durations do not count: they are wrong at any load."""
    found: list[Finding] = []
    for number, phase in enumerate(profile.phases):
        wrong = sum(each.wrong for each in recorder.phase(number).endpoints.values())
        if not phase.judged and wrong:
            check, sentence = f"wrong answers, phase {phase.name}", "Answers are to be right at any load."
            found.append(Finding("all requests", check, Verdict.FAIL, str(wrong), "0", wrong, sentence, certain=True))
    return found
