"""The dashboards are valid, ask for what exists, and have the panel that each alert leads to."""

import json
import re
from collections import Counter
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.charts.helm import nested, render, scenario
from tests.charts.objects import find
from tests.charts.observability.rules import (
    DASHBOARDS,
    SELECTOR,
    alert_files,
    alerts,
    dashboards,
    dashboards_of,
    expressions,
    known_metrics,
    panels,
    promtool,
    read,
    rules,
    series,
)

NAMES = sorted(path.stem for path in DASHBOARDS.glob("*.json"))


@pytest.mark.parametrize("name", NAMES)
def test_the_file_and_what_is_rendered_of_it_are_json_of_the_same_shape(name: str) -> None:
    source = json.loads((DASHBOARDS / f"{name}.json").read_text())
    assert shape(source) == shape(dashboards()[name])


def shape(value: Any) -> Any:
    """Return the keys of an object and its lists' lengths."""
    if isinstance(value, dict):
        return {key: shape(each) for key, each in value.items()}  # pyright: ignore[reportUnknownVariableType]
    return [shape(each) for each in value] if isinstance(value, list) else None  # pyright: ignore[reportUnknownVariableType]


def test_every_dashboard_is_rendered() -> None:
    assert sorted(dashboards()) == NAMES


def test_uids_are_stable_differ_between_releases_and_fit() -> None:
    again, elsewhere = (dashboards_of(render(scenario("production"), release=release)) for release in ("platform", "a" * 50))
    for name in NAMES:
        uid = dashboards()[name]["uid"]
        assert uid == again[name]["uid"] != elsewhere[name]["uid"]
        assert re.fullmatch(r"[a-z0-9-]{1,40}", uid)


@pytest.mark.parametrize("name", NAMES)
def test_panels_have_ids_and_titles_of_their_own_and_do_not_overlap(name: str) -> None:
    every = dashboards()[name]["panels"]
    for key in ("id", "title"):
        assert [value for value, count in Counter(panel[key] for panel in every).items() if count > 1] == []
    for one, other in combinations([panel["gridPos"] for panel in every], 2):
        apart = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        assert apart or one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert one["x"] + one["w"] <= 24


@pytest.mark.parametrize("name", NAMES)
def test_prometheus_is_a_variable_that_every_panel_uses(name: str) -> None:
    variables = {each["name"]: each for each in dashboards()[name]["templating"]["list"]}
    assert variables["datasource"]["query"] == "prometheus"
    for panel in panels(dashboards()[name]):
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        assert panel["description"], panel["title"]


@pytest.mark.parametrize("name", NAMES)
def test_thresholds_are_numbers_and_rise(name: str) -> None:
    for panel in panels(dashboards()[name]):
        config = panel["fieldConfig"]
        properties = [each["value"] for override in config["overrides"] for each in override["properties"]]
        for thresholds in (*properties, config["defaults"].get("thresholds", {"steps": [{"value": None}]})):
            first, *steps = [step["value"] for step in thresholds["steps"]]
            assert first is None
            assert all(isinstance(step, int | float) for step in steps), panel["title"]
            assert steps == sorted(steps)


@pytest.mark.parametrize("name", NAMES)
def test_legends_are_left_to_grafana(name: str) -> None:
    legends = [target["legendFormat"] for panel in panels(dashboards()[name]) for target in panel["targets"]]
    assert [legend for legend in legends if "@{" in legend or not legend] == []
    assert any(legend.startswith("{{") for legend in legends)


@pytest.mark.parametrize("name", NAMES)
def test_panels_ask_for_metrics_and_labels_that_exist(name: str) -> None:
    known = known_metrics() | {rule["record"]: {"handler", "method"} for rule in rules() if "record" in rule}
    for expression in expressions(dashboards()[name]):
        asked = list(series(expression))
        assert asked, expression
        assert [metric for metric, labels in asked if metric not in known or not labels <= known[metric] | {"namespace", "job"}] == []
        assert SELECTOR in expression or 'namespace="platform",' in expression


@pytest.mark.parametrize("name", NAMES)
def test_what_panels_ask_is_valid(name: str, tmp_path: Path) -> None:
    asked = [{"record": f"panel:expression:{number}", "expr": each} for number, each in enumerate(expressions(dashboards()[name]))]
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump({"groups": [{"name": name, "rules": asked}]}))
    done = promtool("check", "rules", tmp_path / "rules.yaml")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("file", alert_files(), ids=lambda path: path.stem)
def test_an_alert_leads_to_a_panel_that_shows_what_it_watches(file: Path) -> None:
    alert = read(file)
    dashboard = dashboards()[alert["dashboard"]]
    panel = next(panel for panel in panels(dashboard) if panel["title"] == alert["panel"])
    shown = {name for target in panel["targets"] for name, _ in series(target["expr"])}
    for rule in (rule for rule in alerts() if rule["alert"] == alert["alert"]):
        assert rule["annotations"]["dashboard_url"] == f"https://grafana.example.com/d/{dashboard['uid']}?viewPanel={panel['id']}"
        assert shown & {name for name, _ in series(rule["expr"])}


def test_alerts_have_no_link_where_nobody_said_where_grafana_is() -> None:
    made = find(render(scenario("production"), nested("observability.grafanaUrl", "")), "PrometheusRule")
    assert "dashboard_url" not in json.dumps(made)
