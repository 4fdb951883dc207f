"""What the chart refuses: each promise from both sides of its boundary, and values that nobody can have meant."""

from typing import Any

import pytest

from tests.charts.helm import MAJORS, Values, merged, nested, refusal, render, scenario

PRODUCTION = scenario("production")
DEV = scenario("dev")

#: A promise: what is valid by a hair, what is not, and the words of the refusal. A value is set over production's.
BOUNDARIES: dict[str, tuple[Values, Values, tuple[str, ...]]] = {
    "keep-alive above the load balancer's idle timeout": (
        {"api": {"keepAliveSeconds": 61, "loadBalancerIdleTimeoutSeconds": 60}},
        {"api": {"keepAliveSeconds": 60, "loadBalancerIdleTimeoutSeconds": 60}},
        ("api.keepAliveSeconds (60)", "api.loadBalancerIdleTimeoutSeconds (60)", "raise the first or lower the second"),
    ),
    "deregistration delay below preStop": (
        {"api": {"shutdown": {"deregistrationDelaySeconds": 19, "preStopSeconds": 20}}},
        {"api": {"shutdown": {"deregistrationDelaySeconds": 20, "preStopSeconds": 20}}},
        ("api.shutdown.preStopSeconds (20)", "deregistrationDelaySeconds (20)", "raise the first or lower the second"),
    ),
    "a pod's end within its grace period": (
        {"api": {"shutdown": {"preStopSeconds": 20, "drainSeconds": 5, "gracefulTimeoutSeconds": 30, "gracePeriodSeconds": 60}}},
        {"api": {"shutdown": {"preStopSeconds": 20, "drainSeconds": 5, "gracefulTimeoutSeconds": 30, "gracePeriodSeconds": 59}}},
        ("api.shutdown.gracePeriodSeconds (59)", "must be 60 or more", "raise it or shorten one of the three"),
    ),
    "a worker's grace period above 15": (
        {"workerDefaults": {"gracePeriodSeconds": 16}},
        {"workerDefaults": {"gracePeriodSeconds": 15}},
        ("workers.bulk.gracePeriodSeconds (15)", "workers.main.gracePeriodSeconds (15)", "above 15", "raise it"),
    ),
    "one worker's grace period above 15": (
        {"workers": {"main": {"gracePeriodSeconds": 16}}},
        {"workers": {"main": {"gracePeriodSeconds": 15}}},
        ("workers.main.gracePeriodSeconds (15)", "above 15", "raise it"),
    ),
    "visibility timeout above the longest task and its grace": (
        {"broker": {"visibilityTimeoutSeconds": 3691}},
        {"broker": {"visibilityTimeoutSeconds": 3690}},
        ("broker.visibilityTimeoutSeconds (3690)", "workers.bulk", "longestTaskSeconds (3630)", "gracePeriodSeconds (60)", "raise it"),
    ),
    "the connection budget": (
        # api (12 + 3) x 10, main (5 + 1) x (7 + 4 x 4), bulk (2 + 1) x (7 + 2 x 4), migration, test
        {"database": {"maxConnections": 365, "reservedConnections": 30}},
        {"database": {"maxConnections": 364, "reservedConnections": 30}},
        ("database.maxConnections (364)", "334 connections", "335", "api 150", "worker-main 138", "worker-bulk 45", "lower pools"),
    ),
    "the reserved connections": (
        {"database": {"maxConnections": 400, "reservedConnections": 65}},
        {"database": {"maxConnections": 400, "reservedConnections": 66}},
        ("reservedConnections (66)", "take a larger database"),
    ),
    "two pods where a budget protects": (
        {"api": {"autoscaling": {"minReplicas": 2}}},
        {"api": {"autoscaling": {"minReplicas": 1}}},
        ("api.autoscaling.minReplicas is 1", "have 2 or more", "api.disruptionBudget.enabled"),
    ),
    "two pods where a budget protects, without autoscaling": (
        {"api": {"autoscaling": {"enabled": False}, "replicas": 2}},
        {"api": {"autoscaling": {"enabled": False}, "replicas": 1}},
        ("api.replicas is 1", "have 2 or more"),
    ),
    "as many pods at most as at least": (
        {"api": {"autoscaling": {"minReplicas": 12}}},
        {"api": {"autoscaling": {"minReplicas": 13}}},
        ("api.autoscaling.minReplicas (13)", "maxReplicas (12)", "lower the first or raise the second"),
    ),
    "as many worker pods at most as at least": (
        {"workers": {"main": {"autoscaling": {"minReplicas": 5}}}},
        {"workers": {"main": {"autoscaling": {"minReplicas": 6}}}},
        ("workers.main.autoscaling.minReplicas (6)", "maxReplicas (5)"),
    ),
    "the migration within the release's timeout": (
        {"migrate": {"activeDeadlineSeconds": 599, "releaseTimeoutSeconds": 600}},
        {"migrate": {"activeDeadlineSeconds": 600, "releaseTimeoutSeconds": 600}},
        ("migrate.activeDeadlineSeconds (600)", "migrate.releaseTimeoutSeconds (600)", "--timeout"),
    ),
    "a source for the application's secrets": (
        {},
        {"secrets": {"app": {"existingSecret": ""}}},
        ("secrets.app has no source", "existingSecret", "remoteKey"),
    ),
    "a single source for the application's secrets": (
        {"secrets": {"app": {"existingSecret": "", "remoteKey": "entry"}, "store": {"name": "store"}}},
        {"secrets": {"app": {"remoteKey": "entry"}, "store": {"name": "store"}}},
        ("secrets.app has 2 sources (existingSecret, remoteKey)", "keep one"),
    ),
    "a source for the migration's secrets": (
        {},
        {"secrets": {"migration": {"existingSecret": ""}}},
        ("secrets.migration has no source",),
    ),
    "a single source for the migration's secrets": (
        {"environment": "staging", "secrets": {"migration": {"existingSecret": "", "inline": {"MIGRATION_DATABASE_URL": "x"}}}},
        {"environment": "staging", "secrets": {"migration": {"inline": {"MIGRATION_DATABASE_URL": "x"}}}},
        ("secrets.migration has 2 sources (existingSecret, inline)", "keep one"),
    ),
    "a store to read entries from": (
        {"secrets": {"app": {"existingSecret": "", "remoteKey": "entry"}, "store": {"name": "store"}}},
        {"secrets": {"app": {"existingSecret": "", "remoteKey": "entry"}}},
        ("secrets.app.remoteKey needs secrets.store.name",),
    ),
    "no inline secrets in production": (
        {"environment": "staging", "secrets": {"migration": {"existingSecret": "", "inline": {"MIGRATION_DATABASE_URL": "x"}}}},
        {"secrets": {"migration": {"existingSecret": "", "inline": {"MIGRATION_DATABASE_URL": "x"}}}},
        ("secrets.migration.inline", "release's history", "existingSecret or remoteKey"),
    ),
    "a host for the ingress": (
        {"ingress": {"hosts": ["api.example.com"]}},
        {"ingress": {"hosts": []}, "config": {"PUBLIC_URL": "https://api.example.com"}},
        ("ingress.hosts is empty", "api.example.com"),
    ),
    "somebody who may call the API": (
        {"networkPolicy": {"ingressController": {"cidrs": [], "podLabels": {"app": "traefik"}}}},
        {"networkPolicy": {"ingressController": {"cidrs": []}}},
        ("networkPolicy.ingressController is empty", "cidrs"),
    ),
    "gateways and hosts for a route": (
        {"httpRoute": {"enabled": True, "parentRefs": [{"name": "public"}], "hostnames": ["api.example.com"]}},
        {"httpRoute": {"enabled": True, "hostnames": ["api.example.com"]}},
        ("httpRoute needs parentRefs",),
    ),
    "an address that clients use": (
        {"ingress": {"enabled": False}, "config": {"PUBLIC_URL": "https://api.example.com"}},
        {"ingress": {"enabled": False}},
        ("config.PUBLIC_URL is missing", "https://api.example.com"),
    ),
}

#: Development, told nothing of secrets.
SECRETLESS = {name: value for name, value in DEV.items() if name != "secrets"}
#: Values set over those of development without secrets that contradict each other.
CONTRADICTIONS: dict[str, tuple[Values, tuple[str, ...]]] = {
    "a database in the chart and another": (
        nested("secrets.app.inline", {"SECRET_KEY": "key", "DATABASE_URL": "postgresql://elsewhere/platform"}),
        ("secrets.app.inline.DATABASE_URL contradicts postgresql.enabled", "remove one of the two"),
    ),
    "a Valkey in the chart and another": (
        nested("secrets.app.inline", {"SECRET_KEY": "key", "REDIS_URL": "redis://elsewhere"}),
        ("secrets.app.inline.REDIS_URL contradicts valkey.enabled", "remove one of the two"),
    ),
    "an owner of the schema in the chart and another": (
        {"secrets": {"app": {"inline": {"SECRET_KEY": "key"}}, "migration": {"existingSecret": "owner"}}},
        ("secrets.migration contradicts postgresql.enabled", "remove one of the two"),
    ),
    "databases in the chart and a Secret that cannot know them": (
        nested("secrets.app.existingSecret", "app"),
        ("postgresql.enabled and valkey.enabled", "set secrets.app.inline.SECRET_KEY instead"),
    ),
    "no key to sign with": (
        nested("secrets.app.inline.SMTP_PASSWORD", "password"),
        ("secrets.app.inline.SECRET_KEY is missing",),
    ),
}

#: Values that the schema refuses, and what the refusal names: the place, and the value or what is wrong with it.
WRONG: list[tuple[str, Any, tuple[str, ...]]] = [
    ("api.repicas", 3, ("api", "repicas")),
    ("worker", {}, ("worker",)),
    ("api.replicas", "two", ("api", "replicas", "integer")),
    ("api.replicas", 2.5, ("api", "replicas", "integer")),
    ("api.replicas", 0, ("api", "replicas", "1")),
    ("api.autoscaling.enabled", "yes", ("autoscaling", "enabled", "boolean")),
    ("api.resources.limits.memory", "512MB", ("resources", "limits", "memory")),
    ("api.probes.startup.path", "/", ("startup", "path")),
    ("api.pods.tolerance", [], ("pods", "tolerance")),
    ("api.service.port", 70000, ("service", "port")),
    ("environment", "prod", ("environment", "production")),
    ("image.digest", "sha256:short", ("image", "digest")),
    ("image.pullPolicy", "Sometimes", ("pullPolicy", "IfNotPresent")),
    ("config.LOG_LEVL", "INFO", ("config", "LOG_LEVL")),
    ("config.LOG_LEVEL", "LOUD", ("config", "LOG_LEVEL", "WARNING")),
    ("config.TASK_MAX_ATTEMPTS", 0, ("config", "TASK_MAX_ATTEMPTS", "1")),
    ("secrets.app.inline.SECRET", "x", ("secrets", "inline", "SECRET")),
    ("secrets.store.refreshInterval", "hourly", ("store", "refreshInterval")),
    ("workers.main.queues", [], ("workers", "main", "queues")),
    ("workers.main.queues", ["main-quue"], ("workers", "main", "queues", "bulk-queue")),
    ("workers.main.autoscaling.kind", "vpa", ("main", "autoscaling", "kind", "keda")),
    ("workers.mail", {"concurrency": 1, "longestTaskSeconds": 60}, ("workers", "mail", "queues")),
    ("workers.Mail", {"queues": ["main-queue"], "concurrency": 1, "longestTaskSeconds": 60}, ("Mail",)),
    ("workers.name-longer-than-15", {"queues": ["main-queue"], "concurrency": 1, "longestTaskSeconds": 60}, ("name-longer-than-15",)),
    ("networkPolicy.egress.database", [{"cidr": "10.0.0.0/8"}], ("egress", "database", "ports")),
    ("networkPolicy.egress.database", [{"ports": [5432]}], ("egress", "database")),
    ("networkPolicy.ingressController.cidrs", ["10.0.0.1"], ("ingressController", "cidrs")),
    ("observability.grafanaUrl", "grafana.example.com", ("grafanaUrl",)),
    ("postgresql.password", "slash/at@colon:", ("postgresql", "password")),
    ("extraObjects", [{"kind": "ConfigMap"}], ("extraObjects", "apiVersion")),
    ("api.replicas", None, ("api", "replicas")),
]

RENAMED: dict[str, tuple[Any, str]] = {
    "replicaCount": (3, "api.replicas"),
    "autoscaling": ({"enabled": True}, "api.autoscaling"),
    "resources": ({}, "api.resources"),
    "env": ({}, "config"),
    "imagePullSecrets": ([], "image.pullSecrets"),
    "podAnnotations": ({}, "pods.annotations"),
    "nodeSelector": ({}, "pods.nodeSelector"),
    "redis": ({}, "valkey"),
}


@pytest.mark.parametrize("promise", BOUNDARIES)
def test_the_chart_keeps_a_promise_to_the_last_value(promise: str) -> None:
    valid, invalid, words = BOUNDARIES[promise]
    assert render(PRODUCTION, valid)
    told = refusal(PRODUCTION, invalid)
    assert [word for word in words if word not in told] == []
    # Nothing else is wrong with it.
    assert told.count("\n  - ") == len([line for line in told.splitlines() if any(word in line for word in words)])


@pytest.mark.parametrize("contradiction", CONTRADICTIONS)
def test_values_that_contradict_each_other_are_refused(contradiction: str) -> None:
    values, words = CONTRADICTIONS[contradiction]
    told = refusal(SECRETLESS, values)
    assert [word for word in words if word not in told] == []


@pytest.mark.parametrize("environment", ["test", "staging", "production"])
def test_a_database_in_the_chart_is_for_development(environment: str) -> None:
    told = refusal(DEV, {"environment": environment})
    for name in ("postgresql", "valkey"):
        assert f"{name}.enabled is for development" in told
    assert "set environment to local" in told


@pytest.mark.parametrize("helm", MAJORS)
@pytest.mark.parametrize(("path", "value", "words"), WRONG, ids=[f"{path}={value}"[:60] for path, value, _ in WRONG])
def test_a_value_that_the_schema_does_not_know_is_refused_by_its_name(path: str, value: Any, words: tuple[str, ...], helm: str) -> None:
    told = refusal(PRODUCTION, nested(path, value), helm=helm)
    assert "meet the specifications of the schema" in told
    assert [word for word in words if word not in told] == []


@pytest.mark.parametrize("old", RENAMED)
def test_a_value_as_other_charts_call_it_is_refused_with_its_name_here(old: str) -> None:
    value, new = RENAMED[old]
    assert f"{old} is called {new} here" in refusal(PRODUCTION, {old: value})


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("PORT", "api.service.port"),
        ("KEEP_ALIVE", "api.keepAliveSeconds"),
        ("WEB_CONCURRENCY", "api.replicas"),
        ("ENVIRONMENT", "environment"),
    ],
)
def test_a_setting_that_the_chart_computes_is_refused_with_what_to_set_instead(name: str, remedy: str) -> None:
    told = refusal(PRODUCTION, {"config": {name: "1"}})
    assert f"config.{name} is computed by the chart" in told
    assert remedy in told


@pytest.mark.parametrize("name", ["DATABASE_URL", "SECRET_KEY", "S3_ACCESS_KEY_ID"])
def test_a_secret_among_the_settings_is_refused_with_where_it_belongs(name: str) -> None:
    told = refusal(PRODUCTION, {"config": {name: "postgresql://app:secret@db/platform"}})
    assert f"config.{name}" in told
    assert "secrets.app" in told


@pytest.mark.parametrize("helm", MAJORS)
@pytest.mark.parametrize("version", ["1.30.0", "1.37.0"])
def test_a_kubernetes_that_is_not_supported_is_refused(version: str, helm: str) -> None:
    told = refusal(DEV, kube_version=version, helm=helm)
    assert version in told
    assert "1.31" in told


@pytest.mark.parametrize("version", ["1.31.0", "1.31.4-eks-1a2b3c4", "1.36.9"])
def test_every_supported_kubernetes_gets_the_same_objects(version: str) -> None:
    assert render(DEV, kube_version=version) == render(DEV)


def test_a_kind_that_the_cluster_does_not_know_is_refused_with_what_needs_it() -> None:
    told = refusal(scenario("staging"), apis=())
    for value in ("httpRoute.enabled", "secrets.app.remoteKey", "secrets.migration.remoteKey", "workers.main.autoscaling.kind keda"):
        assert f"{value} needs" in told
    told = refusal(PRODUCTION, apis=())
    for value in ("observability.podMonitor.enabled", "observability.prometheusRule.enabled"):
        assert f"{value} needs" in told


def test_every_problem_is_told_at_once() -> None:
    told = refusal(merged(PRODUCTION, *(BOUNDARIES[name][1] for name in list(BOUNDARIES)[:4])))
    assert told.count("\n  - ") >= 5


def test_the_values_alone_are_refused_with_what_to_add() -> None:
    told = refusal()
    assert "secrets.app has no source" in told
    assert "secrets.migration has no source" in told
    assert "config.PUBLIC_URL is missing" in told
