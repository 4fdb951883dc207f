"""What the chart renders: the same with both majors of Helm, and as the golden files say."""

import os
from pathlib import Path

from tests.charts.helm import APIS, CHART, MAJORS, run, scenario, scenarios

GOLDEN = Path(__file__).parent / "golden"


def test_both_majors_of_helm_render_the_same(scenario_name: str) -> None:
    old, new = (run(scenario(scenario_name), helm=major) for major in MAJORS)
    assert old == new


def test_rendering_twice_renders_the_same(scenario_name: str) -> None:
    values = scenario(scenario_name)
    assert run(values) == run(values, apis=tuple(reversed(APIS)))


def test_the_render_is_the_golden_file(scenario_name: str) -> None:
    golden = GOLDEN / f"{scenario_name}.yaml"
    rendered = run(scenario(scenario_name))
    if os.environ.get("UPDATE_GOLDEN"):
        golden.write_text(rendered)
    assert golden.exists(), f"review and keep it: UPDATE_GOLDEN=1 pytest {__file__}"
    assert rendered.splitlines() == golden.read_text().splitlines(), f"review the change, then: UPDATE_GOLDEN=1 pytest {__file__}"


def test_every_golden_file_has_its_scenario() -> None:
    assert sorted(path.stem for path in GOLDEN.glob("*.yaml")) == scenarios()


def test_nothing_random_or_of_the_clock_is_in_a_template() -> None:
    """A render that changes by itself restarts pods for nothing, and shows secrets that nobody knows."""
    functions = ("rand", "genPrivateKey", "genSelfSignedCert", "genCA", "uuidv4", "now ", "lookup ", "htpasswd", "bcrypt")
    for template in (CHART / "templates").rglob("*"):
        if template.is_file():
            expressions = [part.partition("}}")[0] for part in template.read_text().split("{{")[1:]]
            assert not [each for each in expressions for function in functions if function in each.split("/*")[0]], template
