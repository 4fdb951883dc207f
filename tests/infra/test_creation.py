"""moto makes each stage, in whichever order its dependencies allow."""

import pytest

from infra.registrations import Graph
from tests.infra import creation, stages
from tests.infra.faults.model import Fault, option, register


@pytest.mark.parametrize("reverse", [False, True], ids=["first to last", "last to first"])
def test_a_stage_is_created(recorded: Graph, moto_endpoint: str, *, reverse: bool) -> None:
    world, problems = creation.create(recorded, moto_endpoint, reverse=reverse)
    assert problems == []
    assert len(world.all()) == len(list(recorded.custom))


def test_orders_keep_dependencies_and_are_each_other_s_reverse_elsewhere() -> None:
    graph = stages.graph("dev")
    there = [resource.urn for resource in creation.ordered(graph, reverse=False)]
    back = [resource.urn for resource in creation.ordered(graph, reverse=True)]
    assert sorted(there) == sorted(back)
    for order in (there, back):
        assert all(order.index(needed) < order.index(urn) for urn in order for needed in graph[urn].dependencies)
    assert there[0] != back[0]


def test_most_is_made_by_moto_and_the_rest_in_memory() -> None:
    made, total = creation.in_moto(stages.graph("prod"))
    assert made / total > 0.75


def test_a_missing_dependency_is_seen_in_one_of_the_orders(moto_endpoint: str) -> None:
    graph = register(Fault("", stage="dev", edits={("eks.NodeGroup", "system"): option(depends_on=[])}))
    problems = (found for reverse in (True, False) for found in creation.create(graph, moto_endpoint, reverse=reverse)[1])
    assert any("NodeGroup::system" in found for found in problems)
