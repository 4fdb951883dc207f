"""No policy has anything against a stage, and each of them can."""

from pathlib import Path

import pytest

from infra import policies
from infra.registrations import Graph
from tests.infra.faults.page import PAGE

POLICIES = (*policies.RESOURCE_POLICIES, *policies.GRAPH_POLICIES)
FOLDER = Path(policies.__file__).parent


def test_no_policy_has_anything_against_a_stage(recorded: Graph) -> None:
    assert [str(found) for found in policies.check(recorded, production=recorded.stack == "prod")] == []


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: policy.__name__)
def test_every_policy_catches_a_seeded_fault(policy: policies.ResourcePolicy | policies.GraphPolicy) -> None:
    assert f"`{policy.__name__}`" in PAGE.read_text()


def test_every_policy_that_is_written_is_asked() -> None:
    asked = {policy.__name__ for policy in POLICIES}
    written = {
        line.removeprefix("def ").partition("(")[0]
        for file in FOLDER.glob("*.py")
        for line in file.read_text().splitlines()
        if line.startswith("def ") and "-> Iterator[" in line and not line.startswith("def _")
    }
    assert written == asked


def test_every_policy_says_why_it_is_there() -> None:
    assert [policy.__name__ for policy in POLICIES if not policy.__doc__] == []
