"""What the switches of ``observability`` make, and how Prometheus and Grafana find it."""

from typing import Any

import pytest

from tests.charts.helm import nested, render, scenario
from tests.charts.objects import find, of_kind, pods, selects

PRODUCTION = scenario("production")
KINDS = {"podMonitor": "PodMonitor", "prometheusRule": "PrometheusRule", "dashboards": "ConfigMap"}


def observing(objects: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [each for each in of_kind(objects, kind) if each["metadata"]["labels"]["app.kubernetes.io/component"] == "observability"]


@pytest.mark.parametrize(("switch", "kind"), KINDS.items())
def test_each_switch_makes_its_kind_alone(switch: str, kind: str) -> None:
    made, without = (render(PRODUCTION, nested(f"observability.{switch}.enabled", on)) for on in (True, False))
    assert observing(made, kind)
    assert not observing(without, kind)
    assert len(made) - len(without) == len(observing(made, kind))


def test_nothing_is_made_by_default() -> None:
    made = render(scenario("staging"))
    assert not [each for kind in KINDS.values() for each in observing(made, kind)]


@pytest.mark.parametrize("switch", KINDS)
def test_objects_have_the_labels_that_their_operator_looks_for(switch: str) -> None:
    made = observing(render(PRODUCTION, nested(f"observability.{switch}.labels", {"found": "by-this"})), KINDS[switch])
    for each in made:
        assert each["metadata"]["labels"]["found"] == "by-this"
        assert each["metadata"]["labels"]["app.kubernetes.io/name"] == "fastapi-platform"


def test_dashboards_say_which_folder_they_belong_in() -> None:
    for each in observing(render(PRODUCTION), "ConfigMap"):
        assert each["metadata"]["annotations"] == {"grafana_folder": "FastAPI Platform"}
        assert len(each["data"]) == 1


def test_the_monitor_reads_the_pods_of_the_api_and_of_every_worker() -> None:
    objects = render(PRODUCTION, nested("workers.mail", {"queues": ["main-queue"], "concurrency": 1, "longestTaskSeconds": 90}))
    monitor = find(objects, "PodMonitor")
    deployments = dict(pods(of_kind(objects, "Deployment")))
    picked = {name for name, pod in deployments.items() if selects(monitor["spec"]["selector"], pod["metadata"]["labels"])}
    prefix = "Deployment/platform-fastapi-platform"
    assert picked == {f"{prefix}-api", f"{prefix}-worker-bulk", f"{prefix}-worker-main", f"{prefix}-worker-mail"}
    for name in picked:
        assert "metrics" in [port["name"] for port in deployments[name]["spec"]["containers"][0]["ports"]]


def test_the_monitor_labels_series_as_alerts_pick_them() -> None:
    monitor = find(render(PRODUCTION, nested("observability.podMonitor.intervalSeconds", 5)), "PodMonitor")
    [endpoint] = monitor["spec"]["podMetricsEndpoints"]
    assert endpoint["port"] == "metrics"
    assert (endpoint["interval"], endpoint["scrapeTimeout"]) == ("5s", "5s")
    assert {"targetLabel": "job", "replacement": "platform-fastapi-platform"} in endpoint["relabelings"]
    component = {"sourceLabels": ["__meta_kubernetes_pod_label_app_kubernetes_io_component"], "targetLabel": "component"}
    assert component in endpoint["relabelings"]


def test_a_worker_of_ones_own_has_its_alert_and_one_switched_off_has_none() -> None:
    values = nested("workers", {"bulk": {"enabled": False}, "mail": {"queues": ["main-queue"], "concurrency": 1, "longestTaskSeconds": 90}})
    groups = find(render(PRODUCTION, values), "PrometheusRule")["spec"]["groups"]
    watched = [rule["labels"]["component"] for group in groups for rule in group["rules"] if rule.get("alert") == "WorkerDown"]
    assert watched == ["worker-mail", "worker-main"]
