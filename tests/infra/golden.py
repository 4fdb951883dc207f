"""URNs of a stage, as they were when somebody last looked: a resource that changes its URN is another resource to the engine."""

from pathlib import Path
from typing import Final

from infra.registrations import Graph

FOLDER: Final = Path(__file__).with_name("golden")


def urns(graph: Graph) -> list[str]:
    """Return a stage's URNs, without what is the same in all."""
    return sorted(resource.urn.split("::", 2)[2] for resource in graph.resources)


def kept(stage: str) -> list[str]:
    """Return the URNs in the golden file of a stage."""
    return (FOLDER / f"{stage}.txt").read_text().splitlines()


def keep(stage: str, graph: Graph) -> None:
    """Write the golden file of a stage anew."""
    (FOLDER / f"{stage}.txt").write_text("\n".join(urns(graph)) + "\n")


def compare(stage: str, graph: Graph) -> list[str]:
    """Return a sentence for each URN that came or went without an alias."""
    before, now = set(kept(stage)), urns(graph)
    former = {alias.split("::", 2)[2] for resource in graph.resources for alias in resource.aliases}
    gone = [f"{urn} is gone: the engine would delete it; add an alias to what it became." for urn in sorted(before - set(now) - former)]
    return gone + [f"{urn} is new." for urn in now if urn not in before]
