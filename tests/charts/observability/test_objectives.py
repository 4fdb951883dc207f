"""slo.yaml is complete, speaks of what is there, and is the one place that thresholds come from."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.utils import floatToGoString  # pyright: ignore[reportUnknownVariableType]

from app.core.config import Settings
from app.core.metrics import REQUEST_BUCKETS, WAIT_BUCKETS
from app.core.queues import QUEUES
from app.main import create_app
from tests.charts.helm import REPOSITORY, Values, nested, render, scenario
from tests.charts.objects import find
from tests.charts.observability.rules import SELECTOR, alert_files, dashboards_of, known_metrics, read, render_with, rules, series, slo

SECTIONS = ("objectives", "burn_rates", "traffic", "queues", "limits")
#: What belongs to a rule alone: a dashboard shows the threshold, not for how long it must be passed.
OF_RULES = {"for", "short", "severity"}


def routes() -> set[str]:
    document = create_app(Settings(_env_file=None, DATABASE_URL="postgresql://nowhere/nothing")).openapi()  # pyright: ignore[reportCallIssue, reportArgumentType]
    return {f"{method.upper()} {path}" for path, operations in document["paths"].items() for method in operations}


def test_every_route_has_a_budget_and_every_budget_a_route() -> None:
    assert slo()["endpoints"].keys() == routes()


def test_every_route_of_the_api_has_a_latency_objective_and_probes_have_none() -> None:
    assert {endpoint for endpoint, budget in slo()["endpoints"].items() if "within_seconds" in budget} == {
        route for route in routes() if route.split()[1].startswith("/api/v1/")
    }


@pytest.mark.parametrize(("name", "budget"), [*slo()["endpoints"].items(), *slo()["flows"].items()])
def test_a_budget_is_whole_and_in_order(name: str, budget: dict[str, Any]) -> None:
    assert 0 < budget["p50_ms"] < budget["p95_ms"] < budget["p99_ms"]
    assert 0 <= budget["error_rate"] <= 1 - slo()["objectives"]["availability"]["target"] + 1e-9
    assert budget["p99_ms"] <= 1000 * budget.get("within_seconds", float("inf")), "the gate would let through what misses the objective"


def test_a_threshold_of_durations_is_a_bound_of_its_histogram() -> None:
    within = {budget["within_seconds"] for budget in slo()["endpoints"].values() if "within_seconds" in budget}
    assert within <= set(REQUEST_BUCKETS)
    assert slo()["limits"]["database-pool-exhausted"]["seconds"] in WAIT_BUCKETS


def test_bounds_are_written_as_prometheus_writes_them() -> None:
    """Any other spelling would pick no series, and the alert would stay silent for ever."""
    known = {
        "http_request_duration_seconds_bucket": {floatToGoString(bound) for bound in (*REQUEST_BUCKETS, float("inf"))},
        "database_pool_wait_seconds_bucket": {floatToGoString(bound) for bound in WAIT_BUCKETS},
    }
    asked = {found for rule in rules() for found in re.findall(r"(\w+_bucket)\{[^`]*?le=\"([^\"]+)\"", rule["expr"])}
    assert {name for name, _ in asked} == known.keys()
    assert [each for each in asked if each[1] not in known[each[0]]] == []


def test_queues_and_flows_are_those_of_the_service() -> None:
    assert set(slo()["queues"]) == set(QUEUES)
    reference = (REPOSITORY / "docs" / "how-to" / "live-events.md").read_text()
    for flow in slo()["flows"].values():
        assert flow["from"] in slo()["endpoints"]
        assert f"`{flow['to']}`" in reference


def test_every_alert_with_a_threshold_has_its_limits_and_the_reverse() -> None:
    assert set(slo()["limits"]) == {file.stem for file in alert_files()} - {"availability-budget-burns", "latency-budget-burns"}


@pytest.mark.parametrize("file", alert_files(), ids=lambda path: path.stem)
def test_no_threshold_is_written_into_an_alert(file: Path) -> None:
    """0 and 1 are no thresholds: nothing, and the whole that a share is a part of; 5xx and 1013 are codes."""
    alert = read(file)
    without_facts = re.sub(r"@\{[^}]*\}", "", f"{alert['expr']} {alert['for']} {alert['summary']} {alert['description']}")
    assert set(re.findall(r"(?<![.\w])\d+", without_facts)) <= {"0", "1", "5", "1013"}


def marked(value: Any, numbers: dict[str, str], path: str = "") -> Any:
    """Return a part of slo.yaml with another value at each place, and note which."""
    if isinstance(value, dict):
        return {key: marked(each, numbers, f"{path}.{key}") for key, each in value.items()}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    if isinstance(value, list):
        return [marked(each, numbers, f"{path}.{number}") for number, each in enumerate(value)]  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    unique = 7001 + 2 * len(numbers)
    new = {"severity": f"urgent{unique}"}.get(path.rpartition(".")[2]) or (f"{unique}m" if isinstance(value, str) else unique / 100_000)
    numbers[path] = str(new)
    return new


def test_rules_and_dashboards_follow_every_value(tmp_path: Path) -> None:
    numbers: dict[str, str] = {}
    objectives = {**slo(), **{section: marked(slo()[section], numbers, section) for section in SECTIONS}}
    objects = render_with(tmp_path, objectives)
    rendered = json.dumps(find(objects, "PrometheusRule"))
    assert [path for path, value in numbers.items() if value not in rendered] == []
    shown = json.dumps(dashboards_of(objects))
    of_dashboards = {path: value for path, value in numbers.items() if path.rpartition(".")[2] not in OF_RULES and "traffic" not in path}
    assert [path for path, value in of_dashboards.items() if value not in shown] == []


def test_rules_follow_a_latency_objective_and_the_routes(tmp_path: Path) -> None:
    objectives = slo()
    objectives["endpoints"]["GET /api/v1/new/{id}"] = {"within_seconds": 5}
    recorded = {
        rule.get("record"): rule["expr"] for rule in find(render_with(tmp_path, objectives), "PrometheusRule")["spec"]["groups"][0]["rules"]
    }
    selector = f'{SELECTOR},method="GET",le="5.0",handler=~`/api/v1/new/\\{{id\\}}`'
    assert f"rate(http_request_duration_seconds_bucket{{{selector}}}[1h])" in recorded["job:slo_latency_errors:rate1h"]


def test_rules_follow_the_base_path_of_the_api() -> None:
    values: Values = nested("config.API_V1_STR", "/v2")
    text = json.dumps(find(render(scenario("production"), values), "PrometheusRule"))
    assert "/api/v1" not in text
    assert 'handler=~\\"/v2/.+\\"' in text
    assert "/v2/items/batch" in text


def test_a_placeholder_that_slo_yaml_does_not_fill_is_refused(tmp_path: Path) -> None:
    objectives = slo()
    del objectives["limits"]["outbox-parked"]["tasks"]
    with pytest.raises(Exception, match="non-zero") as refused:
        render_with(tmp_path, objectives)
    assert "slo.yaml has nothing for @{outbox-parked.tasks}" in str(getattr(refused.value, "stderr", ""))


def test_rules_ask_for_metrics_and_labels_that_exist() -> None:
    recorded: dict[str, set[str]] = {rule["record"]: set() for rule in rules() if "record" in rule}
    known = known_metrics() | recorded
    for rule in rules():
        asked = list(series(rule["expr"]))
        assert asked, rule
        for name, labels in asked:
            assert name in known, rule["expr"]
            assert labels <= known[name] | {"namespace", "job", "component"}, rule["expr"]


def test_every_rule_is_about_this_release_alone() -> None:
    for rule in rules():
        for name, matchers in re.findall(r"([a-zA-Z_:][\w:]*)\{(.*?)\}(?=[\[\s)/]|$)", rule["expr"]):
            foreign = name.startswith("kube_")
            own = 'namespace="platform",' in matchers and '=~"platform-fastapi-platform-(' in matchers
            assert own if foreign else matchers.startswith(SELECTOR), rule["expr"]
