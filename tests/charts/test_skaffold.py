"""skaffold.yaml: valid by skaffold's own schema, and of one mind with the chart and the Dockerfile."""

import json
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import yaml

from tests.charts.helm import APIS, REPOSITORY, Object, need, parse
from tests.charts.objects import containers, find, is_ours, pods

#: The oldest release that reads skaffold.yaml as it is; its schemas are used.
SKAFFOLD = "github.com/GoogleContainerTools/skaffold/v2@v2.16.1"
#: What skaffold fills in, with an image as it names one.
IMAGE = {"{{.IMAGE_REPO}}": "registry.example.com/fastapi-platform", "{{.IMAGE_TAG}}": "git-0", "{{.IMAGE_DIGEST}}": f"sha256:{64 * '0'}"}

CONFIG: dict[str, Any] = yaml.safe_load((REPOSITORY / "skaffold.yaml").read_text())
PROFILES: dict[str, dict[str, Any]] = {profile["name"]: profile for profile in CONFIG["profiles"]}


@pytest.fixture(scope="module")
def schemas() -> Path:
    """The folder of schemas in the module of skaffold, which go downloads once and keeps."""
    go = shutil.which("go")
    if go is None:
        pytest.skip("go is not here, which brings skaffold's schema: put it on the PATH")
    done = subprocess.run([go, "mod", "download", "-json", SKAFFOLD], capture_output=True, text=True, check=False, timeout=100)
    if done.returncode != 0:
        pytest.skip(f"go did not get skaffold's schema; a Go proxy that has {SKAFFOLD} would run this: {done.stdout[-300:]}")
    return Path(json.loads(done.stdout)["Dir"]) / "docs-v2" / "content" / "en" / "schemas"


def release(profile: str) -> dict[str, Any]:
    """Return the release that a profile deploys."""
    (found,) = PROFILES[profile]["deploy"]["helm"]["releases"]
    return found


@cache
def deployed(profile: str) -> list[Object]:
    """Return what Helm makes of a profile's release, called as skaffold calls it, with an image that skaffold built."""
    given = release(profile)
    files = [f"--values={path}" for path in given["valuesFiles"]]
    image = {name: IMAGE[template] for name, template in given["setValueTemplates"].items()}
    values = [f"--set={name}={value}" for name, value in (given.get("setValues", {}) | image).items()]
    cluster = ["--kube-version=1.34.0", *(f"--api-versions={api}" for api in APIS)]
    command = [need("helm3"), "template", given["name"], given["chartPath"], *files, *values, *cluster]
    return list(parse(subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout))


def our_containers(profile: str) -> list[Object]:
    """Return every container of the service's image that a profile deploys."""
    return [container for _, pod in pods(deployed(profile)) for container in containers(pod) if is_ours(container)]


def test_it_is_valid(schemas: Path) -> None:
    version = CONFIG["apiVersion"].removeprefix("skaffold/")
    schema = json.loads((schemas / f"{version}.json").read_text())
    schema["allOf"] = schema.pop("anyOf")  # of one: then an error is told by itself
    assert not [error.message for error in jsonschema_rs.Draft7Validator(schema).iter_errors(CONFIG)]


def test_it_is_written_in_the_newest_version_of_that_release(schemas: Path) -> None:
    versions = [int(match[1]) for path in schemas.iterdir() if (match := re.fullmatch(r"v4beta(\d+)\.json", path.name))]
    assert CONFIG["apiVersion"] == f"skaffold/v4beta{max(versions)}"


@pytest.mark.parametrize("config", [CONFIG, *PROFILES.values()], ids=["no profile", *PROFILES])
def test_every_artifact_is_a_stage_of_the_dockerfile(config: dict[str, Any]) -> None:
    for artifact in config["build"].get("artifacts", []):
        stages = re.findall(r"^FROM \S+ AS (\w+)$", (REPOSITORY / artifact["docker"]["dockerfile"]).read_text(), re.MULTILINE)
        assert artifact["docker"]["target"] in stages


@pytest.mark.parametrize("profile", PROFILES)
def test_every_pod_runs_the_image_that_was_built(profile: str) -> None:
    tag = {"dev": ":git-0", "staging": f"@{IMAGE['{{.IMAGE_DIGEST}}']}"}[profile]
    assert {container["image"] for container in our_containers(profile)} == {f"registry.example.com/fastapi-platform{tag}"}


def test_every_pod_has_the_volume_that_changed_code_is_put_into() -> None:
    (artifact,) = PROFILES["dev"]["build"]["artifacts"]
    (rule,) = artifact["sync"]["manual"]
    for container in our_containers("dev"):
        (volume,) = [mount for mount in container["volumeMounts"] if mount["mountPath"] == rule["dest"]]
        assert not volume.get("readOnly")
    dockerfile = (REPOSITORY / "Dockerfile").read_text()
    assert f"cd {rule['dest']}'" in dockerfile


def test_every_process_of_dev_that_stays_is_one_that_starts_anew() -> None:
    """They are the commands that the stage `dev` puts before those of the packages."""
    dockerfile = (REPOSITORY / "Dockerfile").read_text()
    reloading = set(re.findall(r"/opt/dev/(\w+)", dockerfile))
    deployments = [each for each in deployed("dev") if each["kind"] == "Deployment"]
    templates = [each["spec"]["template"] for each in deployments]
    commands = {container["command"][0] for pod in templates for container in pod["spec"]["containers"] if is_ours(container)}
    assert commands == reloading == {"gunicorn", "celery"}


def test_the_forwarded_port_is_one_of_the_api() -> None:
    for forward in PROFILES["dev"]["portForward"]:
        service = find(deployed("dev"), "Service", forward["resourceName"])
        assert forward["port"] in {port["port"] for port in service["spec"]["ports"]}
        assert forward["namespace"] == release("dev")["namespace"]


def test_databases_are_deployed_in_dev_alone() -> None:
    databases = {profile: [each for each in deployed(profile) if each["kind"] == "StatefulSet"] for profile in PROFILES}
    assert databases["dev"]
    assert not databases["staging"]


def test_helm_waits_as_long_as_the_chart_expects() -> None:
    seconds = yaml.safe_load((REPOSITORY / "charts" / "fastapi-platform" / "values.yaml").read_text())["migrate"]["releaseTimeoutSeconds"]
    flags = PROFILES["staging"]["deploy"]["helm"]["flags"]
    assert flags == {"install": [f"--timeout={seconds}s"], "upgrade": [f"--timeout={seconds}s"]}
