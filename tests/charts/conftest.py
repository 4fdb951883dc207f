"""The chart's tests: ``helm template`` of both majors, no cluster."""

import pytest

from tests.charts.helm import Object, render, scenario, scenarios


@pytest.fixture(params=scenarios())
def scenario_name(request: pytest.FixtureRequest) -> str:
    """Each scenario of the chart's ci folder in turn."""
    return request.param


@pytest.fixture
def objects(scenario_name: str) -> list[Object]:
    """What the chart makes of each scenario."""
    return render(scenario(scenario_name))
