"""Budgets come from slo.yaml, and a file that contradicts itself is no budget."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from loadtests.gate.budgets import SLO, load_budgets
from loadtests.gate.outcome import Exit, GateError

ENDPOINT = {"within_seconds": 0.1, "p50_ms": 5, "p95_ms": 25, "p99_ms": 75, "error_rate": 0.001}
FLOW = {"from": "GET /", "to": "item.created", "p50_ms": 100, "p95_ms": 500, "p99_ms": 1000, "error_rate": 0.001}


def written(folder: Path, *, endpoint: Any = ENDPOINT, flow: Any = FLOW) -> Path:
    path = folder / "slo.yaml"
    path.write_text(yaml.safe_dump({"endpoints": {"GET /": endpoint}, "flows": {"live": flow}}))
    return path


def test_the_objectives_that_ship_can_be_read() -> None:
    budgets = load_budgets(SLO)
    assert budgets.endpoints["GET /api/v1/items/{item_id}"].seconds["p99"] == pytest.approx(0.075)
    assert budgets.flows["import"].ends == "job.finished"


@pytest.mark.parametrize(
    ("endpoint", "fault"),
    [
        (ENDPOINT | {"p95_ms": 1}, "a higher quantile has a lower budget"),
        (ENDPOINT | {"p50_ms": 0}, "nothing takes 0 ms"),
        (ENDPOINT | {"error_rate": 1}, "an error rate of 1 is none"),
        (ENDPOINT | {"within_seconds": 0.05}, "more than the objective of 0.05 s"),
        ({"p50_ms": 5, "p95_ms": 25, "error_rate": 0.001}, "p99_ms is missing"),
        (ENDPOINT | {"p50_ms": "five"}, "p50_ms is missing or no number"),
        (None, "has no budget"),
    ],
)
def test_an_endpoint_that_contradicts_itself_is_refused_with_what_is_wrong(tmp_path: Path, endpoint: Any, fault: str) -> None:
    with pytest.raises(GateError, match=fault) as refused:
        load_budgets(written(tmp_path, endpoint=endpoint))
    assert refused.value.code is Exit.HARNESS_ERROR


@pytest.mark.parametrize(
    ("flow", "fault"),
    [(FLOW | {"from": "GET /nowhere"}, "begins with GET /nowhere"), (FLOW | {"to": None}, "does not say with which event")],
)
def test_a_flow_between_things_that_are_not_there_is_refused(tmp_path: Path, flow: Any, fault: str) -> None:
    with pytest.raises(GateError, match=fault):
        load_budgets(written(tmp_path, flow=flow))


@pytest.mark.parametrize("text", ["", "[]", "endpoints: 3\nflows: {}", "{"])
def test_a_file_that_holds_no_objectives_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "slo.yaml"
    path.write_text(text)
    with pytest.raises(GateError, match="cannot be read as objectives"):
        load_budgets(path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(GateError, match="cannot be read"):
        load_budgets(tmp_path / "slo.yaml")
