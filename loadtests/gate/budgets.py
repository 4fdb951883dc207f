"""The budgets, from the chart's ``slo.yaml``: what each endpoint and each flow may take, and how often it may fail."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

import yaml

from loadtests.gate.outcome import GateError

SLO: Final = Path(__file__).parents[2] / "charts" / "fastapi-platform" / "slo.yaml"
#: Quantiles that have a budget, by the name of it.
QUANTILES: Final[Mapping[str, float]] = {"p50": 0.5, "p95": 0.95, "p99": 0.99}

type Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Budget:
    """What an endpoint or a flow may take.

    Attributes:
        seconds: Limit of each quantile of successes, by its name.
        error_rate: Share of requests that may fail.
    """

    seconds: Mapping[str, float]
    error_rate: float


@dataclass(frozen=True, slots=True)
class Flow:
    """What begins with a request and ends with a live event."""

    begins: str
    ends: str
    budget: Budget


@dataclass(frozen=True, slots=True)
class Budgets:
    """Every budget."""

    endpoints: Mapping[str, Budget]
    flows: Mapping[str, Flow]

    def all(self) -> dict[str, Budget]:
        """Return budgets by what they are of; flows are called ``flow NAME``."""
        return {**self.endpoints, **{flow_name(name): flow.budget for name, flow in self.flows.items()}}


def flow_name(name: str) -> str:
    """Return what a flow is called among the endpoints."""
    return f"flow {name}"


def load_budgets(path: Path = SLO) -> Budgets:
    """Read the objectives.

    Raises:
        GateError: if the file is missing, is none, or contradicts itself; all faults are named.
    """
    try:
        read: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
        endpoints: dict[str, Any] = dict(read["endpoints"])
        flows: dict[str, Any] = dict(read["flows"])
    except (OSError, yaml.YAMLError, KeyError, TypeError, ValueError) as error:
        raise GateError(f"{path} cannot be read as objectives: {type(error).__name__}: {error}") from error
    faults = [fault for name, entry in (endpoints | flows).items() for fault in _faults(name, entry)]
    faults += [fault for name, entry in flows.items() for fault in _flow_faults(name, entry, endpoints)]
    if faults:
        raise GateError(f"{path.name} contradicts itself or is incomplete: {'; '.join(faults)}")
    return Budgets(
        {name: _budget(entry) for name, entry in endpoints.items()},
        {name: Flow(entry["from"], entry["to"], _budget(entry)) for name, entry in flows.items()},
    )


def _budget(entry: Mapping[str, Any]) -> Budget:
    return Budget({name: entry[f"{name}_ms"] / 1000 for name in QUANTILES}, entry["error_rate"])


def _faults(name: str, entry: Any) -> list[str]:
    """Return what is wrong with the budget of ``name``."""
    if not isinstance(entry, dict):
        return [f"{name}: has no budget"]
    found = cast("Json", entry)
    keys = [*(f"{quantile}_ms" for quantile in QUANTILES), "error_rate"]
    missing = [key for key in keys if not isinstance(found.get(key), int | float) or isinstance(found.get(key), bool)]
    if missing:
        return [f"{name}: {', '.join(missing)} is missing or no number"]
    limits = [found[f"{quantile}_ms"] for quantile in QUANTILES]
    faults: list[str] = []
    if limits != sorted(limits):
        faults.append(f"{name}: a higher quantile has a lower budget")
    if limits[0] <= 0:
        faults.append(f"{name}: nothing takes {limits[0]} ms")
    if not 0 <= found["error_rate"] < 1:
        faults.append(f"{name}: an error rate of {found['error_rate']} is none")
    within = found.get("within_seconds")
    if within is not None and limits[-1] > within * 1000:
        faults.append(f"{name}: 99 % within {limits[-1]} ms is more than the objective of {within} s")
    return faults


def _flow_faults(name: str, entry: Any, endpoints: Json) -> list[str]:
    """Return what is wrong with the ends of the flow ``name``."""
    found: Json = cast("Json", entry) if isinstance(entry, dict) else {}
    faults = [] if found.get("to") else [f"{name}: does not say with which event it ends"]
    if found.get("from") not in endpoints:
        faults.append(f"{name}: begins with {found.get('from')}, which is no endpoint of the file")
    return faults
