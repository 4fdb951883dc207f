"""Render the chart without a cluster, with either major of Helm."""

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any, cast

import pytest
import yaml

REPOSITORY = Path(__file__).parents[2]
CHART = REPOSITORY / "charts" / "fastapi-platform"
MAJORS = ("helm3", "helm4")
#: Every minor that EKS supports.
MINORS = ("1.31", "1.32", "1.33", "1.34", "1.35", "1.36")
#: Kinds of other projects, as a cluster that has them says.
APIS = (
    "external-secrets.io/v1/ExternalSecret",
    "gateway.networking.k8s.io/v1/HTTPRoute",
    "keda.sh/v1alpha1/ScaledObject",
    "monitoring.coreos.com/v1/PodMonitor",
    "monitoring.coreos.com/v1/PrometheusRule",
)


class RefusedError(Exception):
    """Helm did not render; the message is what it said."""


type Values = dict[str, Any]
type Object = dict[str, Any]


def tool_path(tool: str) -> Path | None:
    """Return where a tool is: by a variable such as ``KUBE_SCORE``, installed by ``make tools``, or on the PATH."""
    if named := os.environ.get(tool.upper().replace("-", "_")):
        return Path(named)
    for folder in (REPOSITORY / ".venv" / "tools", REPOSITORY / ".venv" / tool / "bin"):
        if (folder / tool).exists():
            return folder / tool
    if found := shutil.which(tool):
        return Path(found)
    plain = shutil.which("helm") if tool in MAJORS else None
    return Path(plain) if plain and f"v{tool[-1]}." in _output(plain, "version", "--short") else None


@cache
def need(tool: str) -> Path:
    """Return where a tool is, or skip the test and say what would run it."""
    found = tool_path(tool)
    if found is None:
        pytest.skip(f"{tool} is not here: `make tools` installs what it can; or put {tool} on the PATH")
    return found


def _output(*command: str | Path) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def scenario(name: str) -> Values:
    """Return the values of a scenario of the chart's ci folder."""
    return _load((CHART / "ci" / f"{name}-values.yaml").read_text())


def scenarios() -> list[str]:
    """Return the names of all scenarios."""
    return sorted(path.name.removesuffix("-values.yaml") for path in (CHART / "ci").glob("*-values.yaml"))


def merged(*layers: Values) -> Values:
    """Return values laid over each other as Helm does it: maps are merged, everything else is replaced."""
    result: Values = {}
    for layer in layers:
        for key, value in layer.items():
            below = result.get(key)
            both_maps = isinstance(value, dict) and isinstance(below, dict)
            result[key] = merged(cast("Values", below), cast("Values", value)) if both_maps else deepcopy(cast("Any", value))
    return result


def nested(path: str, value: Any) -> Values:
    """Return values that set one thing, by the keys that lead to it."""
    for key in reversed(path.split(".")):
        value = {key: value}
    return value


def run(*layers: Values, helm: str = "helm4", release: str = "platform", kube_version: str = "1.34.0", apis: tuple[str, ...] = APIS) -> str:
    """Return what ``helm template`` prints.

    Raises:
        RefusedError: when it refuses.
    """
    return _run(json.dumps(merged(*layers), sort_keys=True), helm, release, kube_version, apis)


@cache
def _run(values: str, helm: str, release: str, kube_version: str, apis: tuple[str, ...]) -> str:
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        file.write(values)
        file.flush()
        known = [f"--api-versions={api}" for api in apis]
        where = ("--namespace", "platform", "--kube-version", kube_version)
        command = [need(helm), "template", release, CHART, "--values", file.name, *where, *known]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RefusedError(done.stderr)
    return done.stdout


def render(*layers: Values, **options: Any) -> list[Object]:
    """Return the objects that the chart makes of values; options as of ``run``."""
    return list(parse(run(*layers, **options)))


def refusal(*layers: Values, **options: Any) -> str:
    """Return with which words the chart refuses values; options as of ``run``."""
    with pytest.raises(RefusedError) as refused:
        run(*layers, **options)
    return str(refused.value)


def parse(text: str) -> Iterator[Object]:
    """Return the objects of a stream of YAML."""
    return (each for each in yaml.load_all(text, Loader=yaml.CSafeLoader) if each)


def _load(text: str) -> Values:
    return yaml.load(text, Loader=yaml.CSafeLoader) or {}
