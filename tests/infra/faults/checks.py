"""Everything that looks at a stage before AWS does, over one that has a mistake in it."""

from dataclasses import dataclass
from functools import cache
from typing import Final

from infra import policies
from infra.config import InvalidConfig
from infra.registrations import Graph, Refused
from tests.infra import golden, plan, stages
from tests.infra.creation import create
from tests.infra.faults.model import Fault, configured, register, sound
from tests.infra.lint import lint

CREATION: Final = "creation in moto"
LINT: Final = "cfn-lint"
PLAN: Final = "the engine's protection"
GOLDEN: Final = "golden URNs"


@dataclass(frozen=True, slots=True)
class Catch:
    """What a check said."""

    check: str
    said: str


@dataclass(frozen=True, slots=True)
class Result:
    """A mistake, and what caught it."""

    fault: Fault
    catches: tuple[Catch, ...]

    @property
    def checks(self) -> list[str]:
        """The names of the checks, each once."""
        return list(dict.fromkeys(catch.check for catch in self.catches))


def run(fault: Fault, endpoint: str) -> Result:
    """Make a mistake, and let every check look at it.

    Args:
        fault: The mistake.
        endpoint: Of moto, which is asked where nothing else found anything: it takes seconds.
    """
    if said := _between_stages(fault):
        return Result(fault, (Catch("configuration", said),))
    try:
        graph = register(fault)
    except InvalidConfig as error:
        return Result(fault, tuple(Catch("configuration", problem) for problem in error.problems))
    except Refused as error:
        return Result(fault, (Catch("the run of the program", str(error)),))
    catches = _look(fault, graph)
    if not catches:
        catches = [Catch(CREATION, problem) for problem in _created(graph, endpoint)]
    return Result(fault, tuple(catches))


def _between_stages(fault: Fault) -> str:
    """Return what stages must not have in common: `test_config` says so of the files as they are."""
    raw = configured(fault)
    others = [stages.raw(stage) for stage in stages.STAGES if stage != fault.stage]
    return "Two stages have one account." if raw.get("account") in [other["account"] for other in others] else ""


def _look(fault: Fault, graph: Graph) -> list[Catch]:
    before = sound(fault)
    expected = golden.compare(fault.stage, before)
    catches = [Catch(f"policy `{found.policy}`", found.sentence) for found in policies.check(graph, production=fault.stage == "prod")]
    catches += [Catch(LINT, problem) for problem in lint(graph, _changed(before, graph))]
    catches += [Catch(PLAN, f"refuses to {step}") for step in plan.refused(before, graph)]
    catches += [Catch(GOLDEN, sentence) for sentence in golden.compare(fault.stage, graph) if sentence not in expected]
    return catches


def _changed(before: Graph, after: Graph) -> list[str]:
    """Return the URNs of what is not as it was: nothing else is worth cfn-lint's time."""
    return [it.urn for it in after.custom if it.urn not in before or before[it.urn].inputs != it.inputs]


@cache
def _known(stage: str, endpoint: str) -> frozenset[str]:
    return frozenset(create(stages.graph(stage), endpoint, reverse=True)[1])


def _created(graph: Graph, endpoint: str) -> list[str]:
    """Return what moto refuses now and did not refuse before."""
    known = _known(graph.stack, endpoint)
    return [problem for problem in create(graph, endpoint, reverse=True)[1] if problem not in known]
