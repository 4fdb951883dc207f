"""What other judges of charts and manifests say: Helm's own, Kubernetes' schemas, and three scanners without a failure."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest

from tests.charts.helm import CHART, MAJORS, MINORS, Object, need, run, scenario
from tests.charts.objects import title

#: Kinds of other projects, which Kubernetes' own schemas do not know.
FOREIGN = {"ExternalSecret", "HTTPRoute", "PodMonitor", "PrometheusRule", "ScaledObject", "TriggerAuthentication"}
#: Grades of kube-score: 1 is critical, 5 a warning.
CRITICAL_BELOW = 5


@pytest.mark.parametrize("helm", MAJORS)
def test_helm_lint_finds_nothing(scenario_name: str, helm: str, tmp_path: Path) -> None:
    values = CHART / "ci" / f"{scenario_name}-values.yaml"
    done = subprocess.run(
        [need(helm), "lint", "--strict", CHART, "--values", values, "--kube-version", "1.34.0"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    assert "0 chart(s) failed" in done.stdout


@pytest.mark.parametrize("minor", MINORS)
def test_every_object_is_valid_for_every_kubernetes(objects: list[Object], minor: str) -> None:
    known = [each for each in objects if each["kind"] not in FOREIGN]
    assert len(known) > 20
    for each in known:
        kubernetes_validate.validate(each, minor, strict=True)


def test_an_invalid_object_would_be_found(objects: list[Object]) -> None:
    deployment = next(each for each in objects if each["kind"] == "Deployment")
    wrong = deployment | {"spec": deployment["spec"] | {"repicas": 3}}
    with pytest.raises(kubernetes_validate.ValidationError, match="repicas"):
        kubernetes_validate.validate(wrong, MINORS[0], strict=True)


@pytest.fixture
def manifest(scenario_name: str, tmp_path: Path) -> Path:
    """The render of each scenario, as a file."""
    file = tmp_path / f"{scenario_name}.yaml"
    file.write_text(run(scenario(scenario_name)))
    return file


@pytest.mark.timeout(300)
def test_checkov_fails_nothing(manifest: Path) -> None:
    command = [need("checkov"), "--file", manifest, "--framework", "kubernetes", "--output", "json", "--quiet", "--compact"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={"PATH": "/usr/bin:/bin", "HOME": str(manifest.parent)})
    report = json.loads(done.stdout)
    failed = {f"{each['check_id']} {each['resource']}: {each['check_name']}" for each in report["results"]["failed_checks"]}
    assert failed == set()
    assert report["summary"]["passed"] > 500
    assert report["summary"]["parsing_errors"] == 0


def test_kube_score_finds_nothing_critical(manifest: Path) -> None:
    """Its warnings are of anti-affinity, which topology spread does better, and of the single pods of a laptop."""
    command = [need("kube-score"), "score", "--output-format", "json", "--kubernetes-version", "v1.31", manifest]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    failed = {
        f"{each['object_name']}: {check['check']['id']}: {comment['summary']}"
        for each in json.loads(done.stdout)
        for check in each["checks"]
        if not check["skipped"] and check["grade"] < CRITICAL_BELOW
        for comment in check["comments"] or [{"summary": ""}]
    }
    assert failed == set()


def test_what_scanners_are_told_to_skip_has_its_reason(objects: list[Object]) -> None:
    for each in objects:
        for name, skip in each["metadata"].get("annotations", {}).items():
            if name.startswith("checkov.io/"):
                assert re.fullmatch(r"CKV_K8S_\d+=[A-Za-z].{10,}", skip), f"{title(each)}: {skip}"


def test_kube_linter_fails_nothing(manifest: Path) -> None:
    done = subprocess.run([need("kube-linter"), "lint", "--format", "json", manifest], capture_output=True, text=True, check=False)
    reports: list[Any] = json.loads(done.stdout)["Reports"] or []
    assert {f"{each['Check']}: {each['Diagnostic']['Message']}" for each in reports} == set()
