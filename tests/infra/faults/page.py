"""The table of mistakes and of what caught each: docs/reference/seeded-faults.md."""

from pathlib import Path
from typing import Final

from tests.infra.faults import access, data, network
from tests.infra.faults.checks import Result
from tests.infra.faults.model import Fault

PAGE: Final = Path(__file__).parents[3] / "docs/reference/seeded-faults.md"
SECTIONS: Final[dict[str, tuple[Fault, ...]]] = {
    "Networks and configuration": network.FAULTS,
    "Databases, caches, files, keys and secrets": data.FAULTS,
    "The cluster, rights, state and alarms": access.FAULTS,
}
FAULTS: Final = tuple(fault for faults in SECTIONS.values() for fault in faults)
HEAD: Final = """# Seeded faults of the Pulumi program

Made by `python -m tests.infra.faults`; tests compare each line with what the checks say today.

Each line is a mistake that somebody could make in `infra/`, made on purpose: in a stage's configuration, in a resource's arguments or
options, or by leaving a resource out. The stage is registered with it and every check looks at it. The checks stand here in the order in
which they are asked:

- **configuration**: the stage's configuration is refused, before anything is registered
- **the run of the program**: the program stops where the engine would stop it
- **policies**: functions of `infra/policies/`, by name
- **cfn-lint**: AWS's own schemas, over the resources translated to CloudFormation
- **the engine's protection**: what is protected would be deleted or replaced, which the engine refuses
- **golden URNs**: a resource came or went, and somebody has to say so in `tests/infra/golden/`
- **creation in moto**: AWS's stand-in refuses it, or what AWS wants to be there first is not; asked where nothing else found anything

"""


def row(result: Result) -> str:
    """Return the line of a mistake."""
    if not result.catches:
        return f"| {result.fault.says} | **nothing**: {result.fault.would_be_caught_by} |"
    return f"| {result.fault.says} | {', '.join(result.checks)} |"


def summary(results: list[Result]) -> str:
    """Return how many were caught, and by what."""
    caught = [result for result in results if result.catches]
    kinds = (
        "configuration",
        "the run of the program",
        "policies",
        "cfn-lint",
        "the engine's protection",
        "golden URNs",
        "creation in moto",
    )
    counts = {kind: sum(kind in _kinds(result) for result in caught) for kind in kinds}
    alone = sum(_kinds(result) == {"golden URNs"} for result in caught)
    by_kind = ", ".join(f"{kind} {count}" for kind, count in counts.items())
    return (
        f"**{len(caught)} of {len(results)} are caught: {len(caught) / len(results):.0%}.** "
        f"By kind of check, some by several: {by_kind}. By golden URNs alone: {alone}.\n"
    )


def _kinds(result: Result) -> set[str]:
    return {"policies" if check.startswith("policy ") else check for check in result.checks}


def page(results: list[Result]) -> str:
    """Return the whole page."""
    rows = {result.fault.says: row(result) for result in results}
    sections = [
        f"## {title}\n\n| Mistake | Caught by |\n|---|---|\n" + "\n".join(rows[fault.says] for fault in faults) + "\n"
        for title, faults in SECTIONS.items()
    ]
    return HEAD + summary(results) + "\n" + "\n".join(sections)
