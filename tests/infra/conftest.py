"""What tests of the program share: a moto of their own, and the stages."""

from collections.abc import Iterator

import pytest

from infra.registrations import Graph
from tests.infra import stages
from tests.infra.rehearsal.making.cloud import moto


@pytest.fixture(scope="session")
def moto_endpoint() -> Iterator[str]:
    """Where moto listens, on loopback."""
    with moto() as endpoint:
        yield endpoint


@pytest.fixture(params=stages.STAGES)
def recorded(request: pytest.FixtureRequest) -> Graph:
    """What each stage registers."""
    return stages.graph(request.param)
