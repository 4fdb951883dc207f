"""What the chart and the code say of each other."""

import ast
import os
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from app.core.config import Settings
from app.core.queues import QUEUES
from charts.schema import LOCAL_ONLY, MIGRATION, chart_schema, definition, secret_settings
from charts.values_file import Value, read_values
from tests.charts.helm import CHART, REPOSITORY, Object, Values, refusal, render, scenario, scenarios
from tests.charts.objects import containers, environment, find, is_ours, of_kind, pods

#: Variables that are no settings, and who reads them.
OTHERS = {
    "REMAP_SIGTERM": "Celery: which signal ends a worker gently",
    "SMOKE_EMAIL_DOMAIN": "read by `python -m app smoke`, for the address of the account that it makes",
    "SMOKE_EMAIL": "app smoke: the account of the round trip",
    "SMOKE_PASSWORD": "app smoke: its password",
}
#: What a Secret of a real installation holds at least.
SECRETS = {
    "SECRET_KEY": "a-key-that-is-long-enough-for-a-signature",
    "DATABASE_URL": "postgresql://app:secret@db.example.com/platform?ssl=verify-full",
    "REDIS_URL": "rediss://:secret@redis.example.com:6379/0",
}
#: Settings that the chart computes, and the values to set instead.
COMPUTED = definition("computedSettings")


def service_containers(objects: list[Object]) -> Iterator[tuple[str, Object]]:
    """Return every container of the service's image, with the title of its owner."""
    for name, pod in pods(objects):
        yield from ((name, container) for container in containers(pod) if is_ours(container))


@pytest.fixture
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment without any setting."""
    for name in Settings.model_fields.keys() & os.environ.keys():
        monkeypatch.delenv(name)
    return monkeypatch


def settings_of(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]) -> Settings:
    """Return the settings that a process reads from its environment."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return Settings(_env_file=None)  # pyright: ignore[reportCallIssue]


def test_every_variable_that_the_chart_sets_is_a_setting_or_has_its_reader(objects: list[Object]) -> None:
    for name, container in service_containers(objects):
        unknown = environment(objects, container).keys() - Settings.model_fields.keys() - OTHERS.keys()
        assert not unknown, name


def test_every_reader_of_another_variable_is_still_told() -> None:
    values: Values = {"tests": {"existingSecret": "smoke"}}
    objects = render(scenario("production"), values)
    told = {name for _, container in service_containers(objects) for name in environment(objects, container)}
    assert OTHERS.keys() <= told


def test_every_process_starts_with_what_the_chart_tells_it(objects: list[Object], clean_environment: pytest.MonkeyPatch) -> None:
    """The settings are checked as a whole, as a process checks them, with the secrets of a real installation."""
    for name, container in service_containers(objects):
        if "migrate" in name:
            continue  # reads one address alone, which is in a Secret
        with clean_environment.context() as monkeypatch:
            variables = environment(objects, container)
            settings = settings_of(monkeypatch, SECRETS | variables)
            assert variables["ENVIRONMENT"] == settings.ENVIRONMENT, name


@pytest.mark.parametrize("name", scenarios())
def test_the_api_reads_the_values_that_the_chart_computes(name: str, clean_environment: pytest.MonkeyPatch) -> None:
    objects = render(scenario(name))
    container = containers(find(objects, "Deployment", "-api")["spec"]["template"])[-1]
    settings = settings_of(clean_environment, SECRETS | environment(objects, container))
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ("0.0.0.0", ports["http"], ports["metrics"]) == (settings.HOST, settings.PORT, settings.METRICS_PORT)
    assert settings.WEB_CONCURRENCY == 1
    shutdown = scenario(name).get("api", {}).get("shutdown", {"drainSeconds": 5, "gracefulTimeoutSeconds": 25})
    assert (shutdown["drainSeconds"], shutdown["gracefulTimeoutSeconds"]) == (settings.DRAIN_SECONDS, settings.GRACEFUL_TIMEOUT)


def test_a_worker_gives_tasks_back_15_seconds_before_it_is_killed() -> None:
    objects = render(scenario("production"), {"workers": {"bulk": {"gracePeriodSeconds": 100}}})
    pod = find(objects, "Deployment", "-worker-bulk")["spec"]["template"]
    assert pod["spec"]["terminationGracePeriodSeconds"] == 100
    assert environment(objects, containers(pod)[-1])["WORKER_SOFT_SHUTDOWN_SECONDS"] == "85"


def test_every_setting_can_be_set_through_the_chart() -> None:
    """In ``config``, as a secret, or by the value that the chart computes it from."""
    config = set(_schema()["properties"]["config"]["properties"])
    secrets = _schema()["properties"]["secrets"]["properties"]
    inline = {name for kind in ("app", "migration") for name in secrets[kind]["properties"]["inline"]["properties"]}
    assert Settings.model_fields.keys() - LOCAL_ONLY == (config - inline) | inline
    assert config & LOCAL_ONLY == set()


def test_everything_that_the_chart_computes_or_keeps_secret_is_a_setting() -> None:
    assert COMPUTED.keys() <= Settings.model_fields.keys()
    assert definition("secretSettings").keys() == secret_settings()
    assert {name for name, place in definition("secretSettings").items() if place == "secrets.migration"} == MIGRATION


def test_every_computed_setting_is_told_to_some_process() -> None:
    objects = render(scenario("production"))
    told = {name for _, container in service_containers(objects) for name in environment(objects, container)}
    assert COMPUTED.keys() <= told


def test_settings_of_every_type_arrive_as_they_were_given(clean_environment: pytest.MonkeyPatch) -> None:
    config = {
        "IMPORT_MAX_BODY_BYTES": 20_000_000,
        "DATABASE_POOL_TIMEOUT": 2.5,
        "DATABASE_TRANSACTION_POOLING": True,
        "ALLOWED_ORIGINS": ["https://a.example.com", "https://b.example.com"],
        "TRUSTED_PROXIES": "10.0.0.0/8,192.168.0.0/16",
        "SMTP_HOST": "smtp.example.com",
    }
    objects = render(scenario("production"), {"config": config})
    data = find(objects, "ConfigMap", "-settings")["data"]
    assert all(isinstance(value, str) for value in data.values())
    settings = settings_of(clean_environment, SECRETS | data)
    assert settings.model_dump(include={*config}) == config | {"TRUSTED_PROXIES": ["10.0.0.0/8", "192.168.0.0/16"]}


def test_connections_of_workers_are_counted_as_the_code_opens_them() -> None:
    """The chart repeats three sizes of the code: two pools of the relay and its listener, and two pools of each child."""
    values: Values = {"workers": {"main": {"concurrency": 1}, "bulk": {"enabled": False}}, "workerDefaults": {"replicas": 1}}
    relay, child = (_constant(path, "POOL_SIZE") for path in ("app/tasks/relay.py", "app/core/worker/child.py"))
    counted = _counted(values)
    assert counted == 2 * (relay * 2 + 1 + child * 2)
    more = _counted(values | {"workers": {"main": {"concurrency": 2}, "bulk": {"enabled": False}}})
    assert more - counted == 2 * child * 2


def _constant(path: str, name: str) -> int:
    """Return a constant of a module that cannot be imported without settings."""
    for statement in ast.parse((REPOSITORY / path).read_text()).body:
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name) and statement.target.id == name:
            return ast.literal_eval(ast.unparse(statement.value)) if statement.value else 0
    raise LookupError(f"{path} has no {name}")


def _counted(values: Values) -> int:
    """Return how many connections of workers the chart counts, from the words by which it refuses them."""
    told = refusal(scenario("dev"), values, {"database": {"maxConnections": 10, "reservedConnections": 5}})
    return int(told.partition("worker-main ")[2].partition(")")[0].partition(",")[0])


def test_every_queue_of_the_code_has_a_worker() -> None:
    workers = yaml.safe_load((CHART / "values.yaml").read_text())["workers"]
    assert {queue for worker in workers.values() for queue in worker["queues"]} == set(QUEUES)


# --- values, their schema and their comments -------------------------------------------------------------------------------------


def _values() -> Value:
    return read_values(CHART / "values.yaml")


def _schema() -> dict[str, Any]:
    return chart_schema(_values())


def test_every_value_is_in_the_schema_and_the_reverse() -> None:
    """Maps that are open, such as labels, end a path; so do values of which any may be given."""
    schema = _schema()
    known = {".".join(path) for path in _paths(schema, schema)}
    given = {value.name for value in _values().walk() if not re.match(r"workers\.|.*abels\.", value.name)}
    renamed = set(definition("renamed"))
    assert given <= known
    free = (
        "config.",
        "secrets.app.inline.",
        "secrets.migration.inline.",
        "api.pods.",
        "workerDefaults.pods.",
        "scheduler.pods.",
        "migrate.pods.",
    )
    parts = ("ephemeral-storage", "limits.cpu", "affinity.nodeAffinity", "affinity.podAffinity", "affinity.podAntiAffinity")
    extra = {name for name in known - given - renamed - {"global"} if not name.startswith(free) and not name.endswith(parts)}
    assert extra == set()


def _paths(schema: dict[str, Any], root: dict[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    if "$ref" in schema:
        schema = root["definitions"][schema["$ref"].rpartition("/")[2]]
    for name, child_schema in schema.get("properties", {}).items():
        yield (*path, name)
        yield from _paths(child_schema, root, (*path, name))


def test_every_value_has_a_comment_of_its_own_or_in_its_group() -> None:
    described: set[tuple[str, ...]] = set()
    for value in _values().walk():
        if value.description or value.path[:-1] in described:
            described.add(value.path)
        assert value.children or value.path in described, value.name


def test_every_object_of_the_schema_is_closed_or_says_what_any_key_holds() -> None:
    def check(schema: dict[str, Any], path: str) -> None:
        if schema.get("type") == "object" and "properties" in schema:
            assert schema.get("additionalProperties") is False, path
        for name, child in schema.get("properties", {}).items():
            check(child, f"{path}.{name}")

    check(_schema(), "")
    for name, definition_schema in _schema()["definitions"].items():
        check(definition_schema, name)


def test_no_policy_opens_a_port_that_no_container_has(objects: list[Object]) -> None:
    ports = {port["name"] for _, pod in pods(objects) for container in containers(pod) for port in container.get("ports", [])}
    for policy in of_kind(objects, "NetworkPolicy"):
        named = {
            port["port"] for rule in policy["spec"].get("ingress", []) for port in rule.get("ports", []) if isinstance(port["port"], str)
        }
        assert named <= ports
