"""The rules, dashboards and objectives of the chart, as tests ask for them."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from prometheus_client.metrics import MetricWrapperBase

from app.core import metrics
from tests.charts.helm import APIS, CHART, Object, Values, merged, need, parse, render, scenario
from tests.charts.objects import find, of_kind

ALERTS = CHART / "alerts"
DASHBOARDS = CHART / "dashboards"
RUNBOOKS = CHART.parents[1] / "docs" / "runbooks"
#: What the labels of the release's series begin with.
SELECTOR = 'namespace="platform",job="platform-fastapi-platform"'
#: Metrics that Prometheus, kube-state-metrics and the kubelet give, by their labels.
FOREIGN: dict[str, set[str]] = {
    "up": set(),
    "ALERTS": {"alertstate"},
    "kube_deployment_status_replicas_unavailable": {"deployment"},
    "kube_pod_container_status_restarts_total": {"pod"},
    "container_memory_working_set_bytes": {"pod", "container"},
    "container_cpu_usage_seconds_total": {"pod", "container"},
}
_SERIES = re.compile(r"([a-zA-Z_:][\w:]*)\{(.*?)\}(?=[\[\s)/]|$)")
_LABEL = re.compile(r"([a-z_]+)=~?[\"`]")


def slo() -> dict[str, Any]:
    """Return slo.yaml."""
    return read(CHART / "slo.yaml")


def read(file: Path) -> dict[str, Any]:
    """Return what a file of YAML says."""
    return yaml.safe_load(file.read_text())


@cache
def rule_groups() -> list[dict[str, Any]]:
    """Return the groups of rules that the chart makes in production."""
    return find(render(scenario("production")), "PrometheusRule")["spec"]["groups"]


def rules() -> list[dict[str, Any]]:
    """Return every rule."""
    return [rule for group in rule_groups() for rule in group["rules"]]


def alerts() -> list[dict[str, Any]]:
    """Return every rule that alerts."""
    return [rule for rule in rules() if "alert" in rule]


def rules_behind(alert: str) -> list[dict[str, Any]]:
    """Return the rules of an alert, after the recordings that they are made from, in the order of the chart."""
    needed: list[dict[str, Any]] = []
    for rule in reversed(rules()):
        recorded = rule.get("record", "an alert")
        if rule.get("alert") == alert or any(f"{recorded}{{" in other["expr"] for other in needed):
            needed.insert(0, rule)
    return needed


def alert_files() -> list[Path]:
    """Return the files of alerts."""
    return sorted(ALERTS.glob("*.yaml"))


@cache
def dashboards() -> dict[str, dict[str, Any]]:
    """Return the dashboards as they are rendered, by their file's name."""
    return dashboards_of(render(scenario("production")))


def dashboards_of(objects: Iterable[Object]) -> dict[str, dict[str, Any]]:
    """Return the dashboards among objects."""
    made = [each for each in of_kind(objects, "ConfigMap") if "grafana_dashboard" in each["metadata"]["labels"]]
    found = [json.loads(text) for each in made for text in each["data"].values()]
    return {each["uid"].partition("-")[2]: each for each in found}


def panels(dashboard: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the panels that show something."""
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def expressions(dashboard: dict[str, Any]) -> Iterator[str]:
    """Yield what a dashboard asks Prometheus, with a range for Grafana's own."""
    asked = [target["expr"] for panel in panels(dashboard) for target in panel["targets"]]
    asked += [each["expr"] for each in dashboard["annotations"]["list"]]
    return (each.replace("$__rate_interval", "1m") for each in asked)


def series(expression: str) -> Iterator[tuple[str, set[str]]]:
    """Yield the metrics of an expression, each with the labels that it is picked by."""
    return ((name, set(_LABEL.findall(matchers))) for name, matchers in _SERIES.findall(expression))


def known_metrics() -> dict[str, set[str]]:
    """Return the labels of every series of the service, and of those of others that may be used."""
    known = {name: set(labels) for name, labels in FOREIGN.items()}
    for metric in vars(metrics).values():
        if isinstance(metric, MetricWrapperBase):
            described: Any = metric
            for suffix in ("_total", "_bucket", "_count", "_sum", ""):
                known[described.describe()[0].name + suffix] = {*described._labelnames, "le"}
    return known


def render_with(folder: Path, objectives: dict[str, Any], *layers: Values) -> list[Object]:
    """Return what a copy of the chart renders that has other objectives."""
    chart = folder / "chart"
    shutil.copytree(CHART, chart, dirs_exist_ok=True)
    (chart / "slo.yaml").write_text(yaml.safe_dump(objectives))
    values = folder / "values.yaml"
    values.write_text(yaml.safe_dump(merged(scenario("production"), *layers)))
    known = [f"--api-versions={api}" for api in APIS]
    where = ("--namespace", "platform", "--kube-version", "1.34.0")
    command = [need("helm4"), "template", "platform", chart, "--values", values, *where, *known]
    return list(parse(subprocess.run(command, capture_output=True, text=True, check=True).stdout))


def promtool(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run promtool."""
    return subprocess.run([need("promtool"), *arguments], capture_output=True, text=True, check=False)
