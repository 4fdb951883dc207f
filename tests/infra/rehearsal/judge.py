"""What must be true of the state and of what exists, whatever was done before."""

import json
from dataclasses import dataclass, field
from fnmatch import fnmatch
from typing import Any

from tests.infra.rehearsal.changes import Expected
from tests.infra.rehearsal.engine import Engine, Outcome
from tests.infra.rehearsal.world import World

#: Shorter ones would be found in words.
SECRET_LENGTH = 8


@dataclass(slots=True)
class Report:
    """Figures and faults of a rehearsal."""

    figures: dict[str, int] = field(default_factory=dict[str, int])
    faults: list[str] = field(default_factory=list[str])

    def expect(self, true: object, fault: str) -> None:
        """Note a fault unless something is true."""
        if not true:
            self.faults.append(fault)

    def count(self, figure: str, number: int = 1) -> None:
        """Add to a figure."""
        self.figures[figure] = self.figures.get(figure, 0) + number


def succeeded(report: Report, what: str, outcome: Outcome) -> bool:
    """Note a run that failed, with what it said last."""
    report.expect(not outcome.failed, f"{what} failed: {outcome.output.partition('Diagnostics:')[2] or outcome.output[-2000:]}")
    return not outcome.failed


def as_expected(report: Report, what: str, outcome: Outcome, expected: Expected) -> None:
    """Note every operation that was not expected, and that nothing happened where something was."""
    changed = outcome.changed()
    for urn, operation in changed.items():
        allowed = [operations for pattern, operations in expected.items() if fnmatch(called(urn), pattern)]
        report.expect(
            any(operation in operations for operations in allowed), f"{what}: {operation} of {called(urn)}, by {outcome.differing[urn]}"
        )
    report.expect(changed or not expected, f"{what}: nothing happened")


def called(urn: str) -> str:
    """Return the type and the name in an URN."""
    *_, types, name = urn.split("::", 3)
    return f"{types.rsplit('$', 1)[-1]} {name}"


def same_as_state(report: Report, what: str, engine: Engine, world: World) -> None:
    """Hold what exists against what the state says exists: nothing is lost, nothing is there twice, nothing is still pending."""
    deployment = engine.deployment()
    managed = [one for one in deployment.get("resources", []) if one["custom"] and not one["type"].startswith("pulumi:")]
    known = {(one["urn"], one["id"]) for one in managed}
    there = {(thing.urn, thing.id) for thing in world.all()}
    for urn, id_ in sorted(known - there):
        report.faults.append(f"{what}: the state has {called(urn)} ({id_}), which does not exist")
    for urn, id_ in sorted(there - known):
        report.faults.append(f"{what}: {called(urn)} ({id_}) exists, and the state does not know")
    report.expect(not deployment.get("pending_operations"), f"{what}: operations are still pending")


def in_order(report: Report, resources: list[dict[str, Any]], world: World) -> None:
    """Hold the order of making against the dependencies in the state."""
    made = {step.urn: place for place, step in enumerate(world.steps) if step.action == "create"}
    for resource in resources:
        needs = {*resource.get("dependencies", []), *(urn for urns in resource.get("propertyDependencies", {}).values() for urn in urns)}
        for needed in needs & made.keys():
            report.count("dependencies checked")
            report.expect(
                resource["urn"] not in made or made[needed] < made[resource["urn"]],
                f"{called(resource['urn'])} was made before {called(needed)}, which it depends on",
            )


def no_secret(report: Report, what: str, secrets: set[str], *texts: str) -> None:
    """Look for every secret in texts, as it is and as JSON would write it."""
    wanted = {form for secret in secrets if len(secret) >= SECRET_LENGTH for form in (secret, json.dumps(secret)[1:-1])}
    report.figures["secrets looked for"] = len(secrets)
    found = sum(form in text for form in wanted for text in texts)
    report.expect(not found, f"{what}: {found} secrets are readable")
