"""What the engine would do from one graph to another: what it creates, deletes and replaces, and what it refuses.

The engine itself is asked by the rehearsal, where there is one. The table of properties that force replacement is the same.
"""

from dataclasses import dataclass
from typing import Final, Literal

from infra.registrations import Graph, Resource
from tests.infra.rehearsal.kinds import kind
from tests.infra.rehearsal.values import differences

type Action = Literal["create", "update", "replace", "delete"]
DESTRUCTIVE: Final = ("replace", "delete")


@dataclass(frozen=True, slots=True)
class Step:
    """What happens to a resource, and why."""

    action: Action
    urn: str
    reason: str = ""

    def __str__(self) -> str:
        return f"{self.action} {self.urn.rpartition('$')[2]}{f' ({self.reason})' if self.reason else ''}"


def plan(before: Graph, after: Graph) -> list[Step]:
    """Return what the engine would do, without what stays as it is.

    Args:
        before: What there is.
        after: What the program registers now.
    """
    known = {resource.urn: resource for resource in before.custom}
    found: list[Step] = []
    for resource in after.custom:
        former = next((known.pop(urn) for urn in (resource.urn, *resource.aliases) if urn in known), None)
        found += [Step("create", resource.urn)] if former is None else _change(former, resource)
    return found + [Step("delete", urn, "the program does not register it any more") for urn in known]


def _change(former: Resource, resource: Resource) -> list[Step]:
    changed = [path for path in differences(dict(former.inputs), dict(resource.inputs)) if path not in resource.ignore_changes]
    if not changed:
        return []
    replacing = sorted({path for path in changed if kind(resource.type).replaces(path)})
    # The state's URN: what is refused is what is there, whatever the program calls it now.
    return [Step("replace", former.urn, ", ".join(replacing)) if replacing else Step("update", former.urn, ", ".join(sorted(set(changed))))]


def refused(before: Graph, after: Graph) -> list[Step]:
    """Return what the engine refuses to do: to delete or replace what is protected in the state."""
    return [step for step in plan(before, after) if step.action in DESTRUCTIVE and before[step.urn].protect]
