"""Kill the engine in the middle of `up`, do what Pulumi's handbook says, run it again: it must converge, and nothing may be left over."""

import random
import threading
from collections import Counter
from typing import Any, Final

from tests.infra.rehearsal.engine import Engine, Outcome, Program, kill, repair
from tests.infra.rehearsal.provider import Provider, nobody

#: A change is asked for, done, and answered. Killed at the first, AWS never hears of it; at the second, the engine never hears that it
#: was done; after the third, the engine knows and may not have written it down.
MOMENTS: Final = ("asked", "done", "answered")


class Killed(Exception):  # noqa: N818  # what happened
    """The engine is gone, and so is whom to answer."""


class Interruption:
    """Kills the engine once.

    Args:
        step: At which change, counted from 1.
        moment: At which moment of it.
    """

    def __init__(self, step: int, moment: str) -> None:
        self.step, self.moment = step, moment
        self._lock = threading.Lock()
        self._seen = 0
        self.happened = False

    def __call__(self, moment: str) -> None:
        """Watch a change."""
        with self._lock:
            if self.happened and moment == "asked":
                raise Killed
            if moment != self.moment or self.happened:
                return
            self._seen += 1
            if self._seen < self.step:
                return
            self.happened = True
        kill()
        if moment != "answered":
            raise Killed


def interrupt(engine: Engine, provider: Provider, program: Program, interruption: Interruption) -> Outcome:
    """Run `up` until it is killed."""
    provider.watch = interruption
    try:
        return engine.up(program)
    finally:
        provider.wait_until_quiet()
        provider.watch = nobody


def recover(engine: Engine, provider: Provider) -> Counter[str]:
    """Do what the handbook says: mend a broken state, cancel, look what became of each pending creation, note it in the state, and refresh.

    `refresh --import-pending-creates` would be shorter; of the engine that this was written against (3.259.0), it drops the creation
    from the state and leaves what was made to nobody. The state is edited instead: docs/how-to/rehearse-infrastructure.md.

    Returns:
        How many pending operations there were, and what became of the creations.
    """
    # Before anything else: not even `cancel` goes on beside a half-written file.
    found = Counter({"half-written files beside the state, deleted": repair(engine.state)})
    engine.command("cancel", "--yes")
    deployment = engine.deployment()
    pending: list[dict[str, Any]] = deployment.pop("pending_operations", None) or []
    resources: list[dict[str, Any]] = deployment.setdefault("resources", [])
    there = {resource["urn"] for resource in resources}
    for operation in pending:
        found[f"pending: {operation['type']}"] += 1
        if operation["type"] != "creating":
            continue  # refresh looks what became of it, and the next run does it again
        urn = operation["resource"]["urn"]
        known = {resource.get("id") for resource in resources if resource["urn"] == urn}
        for thing in [thing for thing in provider.world.all() if thing.urn == urn and thing.id not in known]:
            if urn in there or thing.token.startswith("random:"):
                # Made beside what it shall replace, or nowhere but in the engine's memory: easier deleted than adopted.
                provider.world.delete(thing.token, thing.id)
                found["made without the engine knowing, deleted"] += 1
            else:
                resources.append({**operation["resource"], "id": thing.id})
                found["made without the engine knowing, adopted"] += 1
    if pending:
        engine.replace(deployment)
        engine.command("refresh", "--yes", "--skip-preview")
    return found


def choose(chance: random.Random, changes: int) -> Interruption:
    """Choose a moment.

    Args:
        chance: Chooses.
        changes: How many changes the run would make.
    """
    return Interruption(chance.randint(1, max(1, changes)), chance.choice(MOMENTS))
