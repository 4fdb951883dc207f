"""What these tests promise before they touch a cluster."""

from pathlib import Path

import pytest

from migrations import lint
from tests.e2e import environment, load, next_image
from tests.e2e.load import Sample
from tests.e2e.release import image, merge

GIVEN = {
    "E2E": "1",
    "KUBECONFIG": "/nowhere",
    "E2E_IMAGE": "platform:1",
    "E2E_IMAGE_NEXT": "platform:2",
    "E2E_INGRESS_URL": "http://127.0.0.1:8080/",
    "E2E_INGRESS_CLASS": "nginx",
    "E2E_INGRESS_NAMESPACE": "ingress-nginx",
}


def test_a_kubeconfig_alone_is_not_used() -> None:
    assert environment.missing(GIVEN) is None
    reason = environment.missing({**GIVEN, "E2E": ""})
    assert reason is not None
    assert "E2E=1" in reason


@pytest.mark.parametrize("name", environment.NEEDED)
def test_what_is_missing_is_named(name: str) -> None:
    reason = environment.missing({**GIVEN, name: ""})
    assert reason is not None
    assert name in reason


def test_load_goes_to_no_public_address() -> None:
    assert environment.read(GIVEN).ingress_url == "http://127.0.0.1:8080"
    with pytest.raises(ValueError, match="neither a loopback nor a private address"):
        environment.read({**GIVEN, "E2E_INGRESS_URL": "http://8.8.8.8"})


def test_the_next_release_needs_a_migration_that_only_adds(tmp_path: Path) -> None:
    migration = next_image.write(tmp_path / "next")
    assert lint.check_file(migration) == []
    head = max(int(path.name[:4]) for path in (tmp_path / "next" / "migrations" / "versions").glob("0*.py"))
    assert f"NEEDED: Final = {head}\n" in (tmp_path / "next" / "app" / "core" / "schema.py").read_text()
    assert migration.name.startswith(f"{head:04}")


def test_latencies_count_the_slow_ones_of_each_phase() -> None:
    samples = [Sample("item", "before", 0, 0.01, "") for _ in range(99)] + [Sample("list", "upgrade", 1, 2, "reset")]
    found = load.figures(samples)
    assert (found["requests"], found["failed"]) == (100, 1)
    assert found["latency ms"] == {"n": 100, "p50": 10, "p95": 10, "p99": 2000, "max": 2000}
    assert load.failures(samples) == ["1.0 s, upgrade: list failed after 2.00 s: reset"]


def test_values_are_laid_over_each_other_without_changing_them() -> None:
    under = {"api": {"replicas": 2, "pods": {"a": 1}}}
    assert merge(under, {"api": {"pods": {"b": 2}}}, image("host:5000/platform:1")) == {
        "api": {"replicas": 2, "pods": {"a": 1, "b": 2}},
        "image": {"repository": "host:5000/platform", "tag": "1"},
    }
    assert under == {"api": {"replicas": 2, "pods": {"a": 1}}}
