"""Every value does something: another one changes what is rendered."""

from fnmatch import fnmatchcase
from typing import Any, cast

import pytest
import yaml

from charts.values_file import Value, read_values
from tests.charts.helm import CHART, Values, merged, nested, run, scenario
from tests.charts.test_refusals import BOUNDARIES

DEFAULTS: Values = yaml.safe_load((CHART / "values.yaml").read_text())
PRODUCTION, STAGING, DEV = (scenario(name) for name in ("production", "staging", "dev"))
ADDRESS = {"config": {"PUBLIC_URL": "https://api.example.com"}}
DESTINATION = [{"cidr": "192.0.2.1/32", "ports": [1]}]

#: Where a value has its effect, by the pattern of its name; the first that matches. Everything else has it in production.
PLACES: dict[str, Values] = {
    "ingress.enabled": merged(PRODUCTION, ADDRESS),
    "httpRoute.enabled": merged(STAGING, ADDRESS),
    "api.replicas": merged(PRODUCTION, {"api": {"autoscaling": {"enabled": False}}}),
    "workers.main.replicas": STAGING | {"workerDefaults": {}},
    "workerDefaults.replicas": merged(PRODUCTION, {"workers": {"main": {"autoscaling": {"kind": "none"}}}}),
    "*.autoscaling.targetTasks": STAGING,
    "workerDefaults.autoscaling.targetCPUUtilization": merged(STAGING, {"workerDefaults": {"autoscaling": {"kind": "hpa"}}}),
    "workerDefaults.autoscaling.*": STAGING,
    "image.tag": STAGING,
    "secrets.app.inline": DEV,
    "secrets.migration.inline": merged(
        STAGING, {"secrets": {"migration": {"remoteKey": "", "inline": {"MIGRATION_DATABASE_URL": "postgresql://one/platform"}}}}
    ),
    "secrets.*.remoteKey": STAGING,
    "secrets.store.*": STAGING,
    "httpRoute.*": STAGING,
    "postgresql.storageClassName": merged(DEV, {"postgresql": {"storage": "1Gi"}}),
    "postgresql.*": DEV,
    "valkey.*": DEV,
}

#: Another valid value, by the pattern of a name. Truth is turned, and numbers grow by one, where nothing is said here.
OTHERS: dict[str, Any] = {
    "*nnotations": {"example.com/other": "yes"},
    "*abels": {"other": "yes"},
    "*.nodeSelector": {"pool": "other"},
    "*.tolerations": [{"key": "other", "operator": "Exists"}],
    "*.affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}},
    "*.topologySpread": ["other"],
    "*.priorityClassName": "other",
    "*.extraEnv": [{"name": "OTHER", "value": "yes"}],
    "*.extraVolumes": [{"name": "other", "emptyDir": {}}],
    "*.extraVolumeMounts": [{"name": "tmp", "mountPath": "/other"}],
    "*.serviceAccount.name": "other",
    "*.maxSurge": "50%",
    "*.cpu": "333m",
    "*.resources.*": "777Mi",
    "*.cidrs": ["192.0.2.0/24"],
    "networkPolicy.egress.*": DESTINATION,
    "networkPolicy.extraIngress": [{"from": [{"podSelector": {}}]}],
    "networkPolicy.extraEgress": [{"to": [{"podSelector": {}}]}],
    "*verride": "other",
    "environment": "staging",
    "image.repository": "registry.example.com/other",
    "image.tag": "9.9.9",
    "image.digest": "sha256:" + "0" * 64,
    "image.pullPolicy": "Always",
    "image.pullSecrets": ["other"],
    "config": {"LOG_LEVEL": "DEBUG"},
    "secrets.app.inline": {"SMTP_PASSWORD": "other"},
    "secrets.migration.inline": {"MIGRATION_DATABASE_URL": "postgresql://other/platform"},
    "secrets.store.kind": "SecretStore",
    "secrets.store.refreshInterval": "5m",
    "secrets.*": "other",
    "api.service.type": "NodePort",
    "workers.*.queues": ["main-queue", "bulk-queue"],
    "*.autoscaling.kind": "none",
    "ingress.className": "other",
    "ingress.hosts": ["other.example.com"],
    "ingress.tls": [{"secretName": "other", "hosts": ["api.example.com"]}],
    "ingress.alb.scheme": "internal",
    "ingress.alb.certificateArn": "arn:aws:acm:eu-central-1:111122223333:certificate/other",
    "ingress.alb.sslPolicy": "ELBSecurityPolicy-TLS13-1-3-2021-06",
    "ingress.alb.groupName": "other",
    "httpRoute.parentRefs": [{"name": "other"}],
    "httpRoute.hostnames": ["other.example.com"],
    "observability.*Url": "https://other.example.com",
    "tests.existingSecret": "other",
    "tests.emailDomain": "other.example.com",
    "*.image": "registry.example.com/other:1",
    "*.password": "other",
    "postgresql.storage": "2Gi",
    "postgresql.storageClassName": "other",
    "extraObjects": [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "other"}}],
}

COMPONENTS = ("api", "workerDefaults", "scheduler", "migrate")
#: Values that are compared with others and never rendered; `test_refusals.py` has both sides of each.
COMPARED = {"migrate.releaseTimeoutSeconds", "workers.main.longestTaskSeconds", "workers.bulk.longestTaskSeconds"}
#: Values that are not tried alone, and why.
EXCEPTIONS = {
    "postgresql.enabled": "goes with another source of secrets; test_a_database_in_the_chart_comes_and_goes",
    "valkey.enabled": "goes with another source of secrets; test_a_database_in_the_chart_comes_and_goes",
}


def _leaves() -> dict[str, Value]:
    """Return every value that is none but itself, those under the keys of ``pods`` and of a worker included."""
    root = read_values(CHART / "values.yaml")
    found: dict[str, Value] = {value.name: value for value in _ends(root)}
    inherited = {name: value for name, value in found.items() if name.startswith(("pods.", "workerDefaults."))}
    for name, value in inherited.items():
        if name.startswith("pods."):
            found |= {f"{component}.{name}": value for component in COMPONENTS}
        elif name != "workerDefaults.pods":
            found[name.replace("workerDefaults", "workers.main")] = value
    return {name: value for name, value in found.items() if name not in {f"{component}.pods" for component in COMPONENTS}}


def _ends(value: Value) -> list[Value]:
    if not value.children or value.name.endswith("abels"):
        return [value]
    return [end for child in value.children for end in _ends(child)]


LEAVES = _leaves()


def _first(table: dict[str, Any], name: str, otherwise: Any) -> Any:
    return next((value for pattern, value in table.items() if fnmatchcase(name, pattern)), otherwise)


def _at(values: Values, name: str, otherwise: Any) -> Any:
    found: Any = values
    for key in name.split("."):
        if not isinstance(found, dict) or key not in found:
            return otherwise
        found = cast("Any", found[key])
    return found


def _another(name: str, present: Any) -> Any:
    if isinstance(present, bool):
        return not present
    if isinstance(present, int):
        return present + 1
    return _first(OTHERS, name, None)


@pytest.mark.parametrize("name", sorted(LEAVES.keys() - COMPARED - EXCEPTIONS.keys()))
def test_another_value_changes_the_render(name: str) -> None:
    place = _first(PLACES, name, PRODUCTION)
    present = _at(merged(DEFAULTS, place), name, LEAVES[name].default)
    other = _another(name, present)
    assert other is not None, f"say in OTHERS what {name} may be as well"
    assert run(place) != run(place, nested(name, other))


@pytest.mark.parametrize("name", sorted(COMPARED))
def test_a_value_that_is_only_compared_has_its_boundary_tested(name: str) -> None:
    assert name in LEAVES
    assert [told for _, _, words in BOUNDARIES.values() for told in words if name.rpartition(".")[2] in told]


def test_a_database_in_the_chart_comes_and_goes() -> None:
    elsewhere = {"SECRET_KEY": "key", "DATABASE_URL": "postgresql://elsewhere/platform", "REDIS_URL": "redis://elsewhere"}
    without: Values = {
        "postgresql": {"enabled": False},
        "valkey": {"enabled": False},
        "secrets": {"app": {"inline": elsewhere}, "migration": {"existingSecret": "owner"}},
    }
    for component in ("postgresql", "valkey"):
        assert f"app.kubernetes.io/component: {component}" in run(DEV)
        assert f"app.kubernetes.io/component: {component}" not in run(DEV, without)


def test_no_exception_is_stale() -> None:
    assert LEAVES.keys() >= EXCEPTIONS.keys()
    for name in (*PLACES, *OTHERS):
        assert [leaf for leaf in LEAVES if fnmatchcase(leaf, name)], name
