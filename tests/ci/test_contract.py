"""The workflows, the Pulumi program, the chart and the load gate mean the same environment, roles, variables and host."""

import json
import re

import pytest

from charts.registry import PROMOTED, repository
from loadtests.gate.plan import load_profile
from tests.charts.helm import MAJORS, REPOSITORY, run
from tests.ci.test_workflows import ROLES
from tests.ci.workflows import expressions, jobs, steps, targets
from tests.infra.stages import config, graph

STAGE = "staging"
GITHUB = "token.actions.githubusercontent.com"
GUIDE = REPOSITORY / "docs" / "how-to" / "ci.md"
BOOTSTRAP = REPOSITORY / "docs" / "runbooks" / "bootstrap.md"
#: Actions of AWS that `charts.registry` calls, by the target that calls them.
CALLS = {
    "image-push": {"ecr:DescribeImages", "ecr:GetAuthorizationToken", "ecr:PutImage", "ecr:UploadLayerPart"},
    "promote": {"ecr:DescribeImages", "ecr:BatchGetImage", "ecr:PutImage"},
}


def told() -> dict[str, str]:
    """Return the variables that the guide tells to set, each with where its value comes from."""
    return dict(re.findall(r"^\| `([A-Z_]+)` \| (.*?) \|", GUIDE.read_text(encoding="utf-8"), re.MULTILINE))


def test_every_job_that_takes_a_role_is_in_the_environment_that_the_role_is_bound_to() -> None:
    for purpose in ("build", "deploy"):
        role = graph(STAGE).one("aws:iam/role:Role", f"github-{purpose}")
        (statement,) = json.loads(role.inputs["assumeRolePolicy"])["Statement"]
        bound = {subject.rpartition(":environment:")[2] for subject in statement["Condition"]["StringEquals"][f"{GITHUB}:sub"]}
        taking = {job for job, name in ROLES.items() if name == f"AWS_{purpose.upper()}_ROLE"}
        assert taking
        assert {jobs("staging")[job]["environment"] for job in taking} == bound == {STAGE}


def test_a_job_calls_what_its_role_may_do_and_no_more() -> None:
    build = graph(STAGE).one("aws:iam/rolePolicy:RolePolicy", "github-build")
    allowed = {action for statement in json.loads(build.inputs["policy"])["Statement"] for action in statement["Action"]}
    for step in steps("staging"):
        for target in set(step.targets) & set(CALLS):
            assert ROLES[step.job] == "AWS_BUILD_ROLE"
            assert allowed >= CALLS[target]
        if set(step.targets) & {"kubeconfig", "running", "deploy", "rollback"}:
            assert ROLES[step.job] == "AWS_DEPLOY_ROLE"


def test_the_guide_names_every_variable_and_secret_that_the_workflows_read_and_no_other() -> None:
    assert set(told()) == expressions("staging", "vars") | expressions("staging", "secrets")


def test_a_variable_that_comes_from_pulumi_is_an_output_of_it() -> None:
    sources = {name: re.findall(r"pulumi stack output (?:--json )?(\w+)", source) for name, source in told().items()}
    outputs = {output for found in sources.values() for output in found}
    assert outputs <= set(graph(STAGE).exports)
    assert {name: found[0] for name, found in sources.items() if found} == {
        "AWS_BUILD_ROLE": "buildRoleArn",
        "AWS_DEPLOY_ROLE": "deployRoleArn",
        "CLUSTER": "clusterName",
        "HELM_VALUES": "helmValues",
        "HOST": "host",
        "REPOSITORY": "repositoryUrl",
    }


def test_the_runbook_of_the_bootstrap_names_variables_that_there_are() -> None:
    (section,) = re.findall(r"^## 8\. .*?\n(.*?)^## ", BOOTSTRAP.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    named = set(re.findall(r"`([A-Z_]{4,})`", section))
    assert {"AWS_BUILD_ROLE", "AWS_DEPLOY_ROLE"} <= named <= set(told())


def test_the_gate_may_be_sent_to_the_host_of_staging() -> None:
    assert config(STAGE).dns.host in load_profile("staging").hosts
    assert "--profile staging" in targets()["gate"]


def test_the_release_is_the_one_that_roles_are_made_for() -> None:
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    service = config(STAGE).service
    assert f"RELEASE ?= {service.release}\n" in makefile
    assert f"NAMESPACE ?= {service.namespace}\n" in makefile


@pytest.mark.parametrize("major", MAJORS)
def test_the_chart_takes_what_an_upgrade_gives_it(major: str) -> None:
    """The digest is what runs; the commit is the version, which the next comparison asks for."""
    digest, commit = f"sha256:{64 * 'a'}", 39 * "1" + "e"
    values = graph(STAGE).exports["helmValues"]
    objects = run(values, {"image": {"digest": digest, "tag": commit}}, helm=major)
    assert f"{values['image']['repository']}@{digest}" in objects
    assert re.search(rf'VERSION: "?{commit}"?\n', objects)


def test_the_registry_of_a_stage_is_one_that_images_can_be_pushed_to() -> None:
    assert repository("222233334444.dkr.ecr.us-east-1.amazonaws.com/fastapi-platform/staging").name == "fastapi-platform/staging"
    assert len(f"{PROMOTED}{40 * 'a'}") <= 128  # as long as a tag may be
