"""One stage, from the first preview to the end."""

import gc
import random
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatch

from tests.infra import stages
from tests.infra.rehearsal import engine as engines
from tests.infra.rehearsal import judge
from tests.infra.rehearsal.changes import REPLACED, Change, Subject
from tests.infra.rehearsal.engine import Engine, Outcome, Program
from tests.infra.rehearsal.interruptions import choose, interrupt, recover
from tests.infra.rehearsal.judge import Report
from tests.infra.rehearsal.making.cloud import RECIPES, Cloud
from tests.infra.rehearsal.provider import Provider, serving
from tests.infra.rehearsal.world import World

#: Seconds that a change takes at most, so that what may happen in any order does.
JITTER = 0.03
#: What is kept in prod, and has network interfaces.
IN_THE_NETWORK = ("aws:rds/instance:Instance", "aws:elasticache/replicationGroup:ReplicationGroup")

type Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """A stack with nothing in it, and what stands in for AWS.

    Args:
        stage: The stack's name.
        engine: The engine, with an empty state.
        provider: The stand-in.
        chance: Chooses delays and interruptions.
        report: What was found.
        say: Told of what goes on.
    """

    stage: str
    engine: Engine
    provider: Provider
    chance: random.Random
    report: Report
    say: Say

    @property
    def world(self) -> World:
        """What exists."""
        return self.provider.world


@contextmanager
def rehearsal(stage: str, cloud: Cloud, chance: random.Random, report: Report, say: Say) -> Generator[Rehearsal]:
    """Give an empty account and an empty stack."""
    gc.collect()
    cloud.forget()
    provider = Provider(World(cloud), cloud.configure, jitter(chance))
    with serving(provider) as providers, engines.folder() as folder:
        engine = Engine(folder, stage, providers, stages.SECRETS)
        yield Rehearsal(stage, engine, provider, chance, report, say)


def rehearse(subject: Subject, cloud: Cloud, seed: int, interruptions: int, say: Say) -> Report:
    """Rehearse the whole life of a stack.

    Args:
        subject: Its program, now and later.
        cloud: An account in moto.
        seed: Chooses delays and interruptions.
        interruptions: How often `up` is killed.
        say: Told of what goes on.
    """
    chance, report = random.Random(seed), Report()
    with rehearsal(subject.name, cloud, chance, report, say) as whole:
        if not _first(whole, subject.program):
            return report
        changes = len(whole.world.steps)
        for change in subject.changes:
            _change(whole, change)
        _refusals(whole, subject)
        _end(whole)
        report.count("changes on AWS, from the first preview to the end", len(whole.world.steps))
    for number in range(1, interruptions + 1):
        say(f"interruption {number} of {interruptions}")
        with rehearsal(subject.name, cloud, chance, report, say) as broken:
            _interrupted(broken, subject.program, changes)
            report.count("changes on AWS, with interruptions", len(broken.world.steps))
    return report


def _first(it: Rehearsal, program: Program) -> bool:
    """Preview, make everything, and do it again, which must change nothing."""
    report = it.report
    it.say("preview")
    preview = it.engine.preview(program)
    if not judge.succeeded(report, "the first preview", preview):
        return False
    report.expect(not it.world.all(), "a preview made something")
    it.say("up")
    up = it.engine.up(program)
    if not judge.succeeded(report, "the first up", up):
        return False
    report.expect(preview.operations == up.operations, "the first up did something else than its preview said")
    report.count("resources", len(up.operations))
    report.count("changes on AWS, first up", len(it.world.steps))
    report.count("of them made in moto", sum(thing.token in RECIPES for thing in it.world.all()))
    it.say("up, a second time")
    again = it.engine.up(program)
    judge.as_expected(report, "a second up", again, {})
    resources = it.engine.resources()
    report.expect(
        not any("::default" in one["urn"] for one in resources if one["type"] == "pulumi:providers:aws"), "a resource has no provider"
    )
    judge.same_as_state(report, "after up", it.engine, it.world)
    judge.in_order(report, resources, it.world)
    _secrets(it, "after up", preview.output, up.output, again.output)
    return True


def _change(it: Rehearsal, change: Change) -> None:
    """Make a planned change: nothing else may happen, and a second run must change nothing."""
    it.say(change.name)
    before = len(it.world.steps)
    preview = it.engine.preview(change.program)
    judge.as_expected(it.report, f"preview of {change.name}", preview, change.expected)
    early = [one["urn"] for one in it.engine.resources() if change.first and fnmatch(judge.called(one["urn"]), change.first)]
    if early:
        judge.succeeded(it.report, f"the first part of {change.name}", it.engine.up(change.program, target=early))
        it.report.count("planned changes in two parts")
    up = it.engine.up(change.program)
    if not judge.succeeded(it.report, change.name, up):
        return
    judge.as_expected(it.report, change.name, up, change.expected)
    if REPLACED in change.expected.values():
        actions = [step.action for step in it.world.steps[before:]]
        it.report.expect(actions == ["create", "delete"], f"{change.name}: the new one is not made before the old one goes: {actions}")
    again = it.engine.up(change.program)
    judge.as_expected(it.report, f"a second up after {change.name}", again, {})
    judge.same_as_state(it.report, f"after {change.name}", it.engine, it.world)
    _secrets(it, change.name, preview.output, up.output, again.output)
    it.report.count("planned changes")


def _refusals(it: Rehearsal, subject: Subject) -> None:
    """Try to replace each protected resource, by order and by mistake, and to destroy the stack: nothing of it may happen."""
    protected = {one["urn"] for one in it.engine.resources() if one.get("protect")}
    it.report.expect(protected, "nothing is protected")
    for urn in sorted(protected):
        what = f"replacement of {judge.called(urn)}"
        _refused(it, what, protected, lambda urn=urn: it.engine.up(subject.last, replace=[urn]))
    for what, program in subject.mistakes.items():
        _refused(it, what, protected, lambda program=program: it.engine.up(program))
    judge.succeeded(it.report, "up after the refusals", it.engine.up(subject.last))
    judge.same_as_state(it.report, "after the refusals", it.engine, it.world)
    _mistaken_destroy(it, subject.last, protected)


def _mistaken_destroy(it: Rehearsal, program: Program, protected: set[str]) -> None:
    """Destroy what must not be destroyed: nothing protected goes. The engine deletes the rest even so, and `up` has to bring it back."""
    retained = _retained(it)
    before = len(it.world.steps)
    _refused(it, "destroy", protected, it.engine.destroy)
    it.report.figures["deleted by the refused destroy"] = len(it.world.steps) - before
    known = {(one["urn"], one["id"]) for one in it.engine.resources() if one["custom"]}
    for thing in it.world.all():
        if thing.urn in retained and (thing.urn, thing.id) not in known:
            it.world.delete(thing.token, thing.id)  # it is kept for people, and nobody's any more
    judge.same_as_state(it.report, "after the refused destroy", it.engine, it.world)
    it.say("up after it")
    if judge.succeeded(it.report, "up after the refused destroy", it.engine.up(program)):
        judge.as_expected(it.report, "a second up after the refused destroy", it.engine.up(program), {})
        judge.same_as_state(it.report, "after the recovery from destroy", it.engine, it.world)


def _retained(it: Rehearsal) -> set[str]:
    """Return what outlives its deletion from the stack."""
    return {one["urn"] for one in it.engine.resources() if one.get("retainOnDelete")}


def _refused(it: Rehearsal, what: str, protected: set[str], act: Callable[[], Outcome]) -> None:
    """Do something that must be refused for the sake of what is protected, and look whether any of that was touched."""
    it.say(f"{what}, refused")
    before = len(it.world.steps)
    outcome = act()
    it.report.expect(outcome.failed and "protect" in outcome.output, f"{what} was not refused: {outcome.output[-1000:]}")
    touched = sorted({judge.called(step.urn) for step in it.world.steps[before:] if step.urn in protected})
    it.report.expect(not touched, f"{what} was refused, and touched {touched}")
    it.report.count("replacements and deletions refused")


def _end(it: Rehearsal) -> None:
    """Destroy the stack as the runbook says: protection is taken from each resource, and AWS's own from the database and the cluster."""
    it.say("destroy")
    retained = _retained(it)
    it.engine.command("state", "unprotect", "--all", "--yes")
    it.world.lift_protection()
    outcome = it.engine.destroy()
    if outcome.failed and retained:
        # What is kept stands in subnets and security groups, which cannot go before it: destroy stops there, and a person decides.
        for thing in it.world.of(*IN_THE_NETWORK):
            it.report.expect(thing.urn in retained, f"destroy stopped before {judge.called(thing.urn)}")
            it.world.delete(thing.token, thing.id)
            it.report.count("kept by destroy, in the network: deleted by hand")
        outcome = it.engine.destroy()
    if not judge.succeeded(it.report, "destroy", outcome):
        return
    left = {thing.urn for thing in it.world.all()}
    it.report.count("kept by destroy", len(left))
    for urn in sorted(left - retained):
        it.report.faults.append(f"after destroy: {judge.called(urn)} is left")
    lost = {urn for urn in retained - left if not any(token in urn for token in IN_THE_NETWORK)}
    it.report.expect(not lost, f"destroy deleted what it should have kept: {[judge.called(urn) for urn in lost]}")


def _interrupted(it: Rehearsal, program: Program, changes: int) -> None:
    """Kill `up` at one of its changes, recover, run it again, and look whether it converged."""
    interruption = choose(it.chance, changes)
    it.report.count(f"killed when a change was {interruption.moment}")
    interrupt(it.engine, it.provider, program, interruption)
    for found, number in recover(it.engine, it.provider).items():
        it.report.count(found, number)
    what = f"up after {interruption.step} changes, killed when the next was {interruption.moment}"
    if judge.succeeded(it.report, what, it.engine.up(program)):
        again = it.engine.up(program)
        judge.as_expected(it.report, f"a second {what}", again, {})
        judge.same_as_state(it.report, what, it.engine, it.world)
        _secrets(it, what, again.output)
        it.report.count("converged", int(interruption.happened))


def _secrets(it: Rehearsal, what: str, *outputs: str) -> None:
    """Look for secrets in what was printed, and in every file of the state, backups and history included."""
    files = [file.read_text(encoding="utf-8") for file in it.engine.state.rglob("*") if file.is_file()]
    judge.no_secret(it.report, f"output of {what}", it.provider.secrets, *outputs)
    judge.no_secret(it.report, f"state at {what}", it.provider.secrets, *files)


def jitter(chance: random.Random) -> Callable[[], None]:
    """Return what makes a change take its time."""
    lock = threading.Lock()

    def pause() -> None:
        with lock:
            seconds = chance.uniform(0, JITTER)
        time.sleep(seconds)

    return pause
