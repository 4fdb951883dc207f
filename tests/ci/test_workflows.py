"""What GitHub runs: everything in it exists, nothing in it may more than it must, and staging goes its steps in order."""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.charts.helm import REPOSITORY, need, tool_path
from tests.ci.workflows import FOLDER, NAMES, commands, expressions, jobs, steps, targets, text, workflow

#: Programs that the runners have, beside those that a target of the Makefile calls.
PROGRAMS = {"make", "cat", "printenv"}
#: The makers of actions that may be used; what they give out is pinned all the same.
MAKERS = {"actions", "aws-actions"}
PINNED = re.compile(r"uses: (?P<action>[\w-]+/[\w-]+)@(?P<commit>[0-9a-f]{40}) # v\d+\.\d+\.\d+")
#: Jobs that take a role of AWS, and which.
ROLES = {"image": "AWS_BUILD_ROLE", "upgrade": "AWS_DEPLOY_ROLE", "rollback": "AWS_DEPLOY_ROLE", "promote": "AWS_BUILD_ROLE"}


def job_ids() -> list[tuple[str, str]]:
    return [(name, job) for name in NAMES for job in jobs(name)]


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


def test_these_are_all_workflows() -> None:
    assert sorted(path.name for path in FOLDER.iterdir()) == sorted(f"{name}.yml" for name in NAMES)


def test_actionlint_finds_nothing() -> None:
    shellcheck = Path(sys.executable).parent / "shellcheck"
    command = [need("actionlint"), "-shellcheck", shellcheck if shellcheck.exists() else ""]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_zizmor_finds_nothing_that_matters() -> None:
    beside = Path(sys.executable).parent / "zizmor"
    zizmor = beside if beside.exists() else tool_path("zizmor")
    if zizmor is None:
        pytest.skip("zizmor is not here: `pip install zizmor` would run this")
    command = [zizmor, "--offline", "--quiet", "--min-severity=medium", "--format=plain", FOLDER]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_every_target_that_a_workflow_makes_exists() -> None:
    made = {target for step in steps() for target in step.targets}
    assert made <= set(targets())
    assert {"lint", "types", "test-code", "test-chart", "test-infra", "image"} <= {
        target for step in steps("ci") for target in step.targets
    }
    assert {"image-push", "deploy", "gate", "rollback", "promote"} <= {target for step in steps("staging") for target in step.targets}


def test_every_program_that_a_workflow_calls_is_known() -> None:
    called = {words[0] for step in steps() for words in commands(step.body.get("run", ""))}
    assert called <= PROGRAMS


def test_every_module_that_a_target_runs_exists() -> None:
    made = {target for step in steps() for target in step.targets}
    modules = {module for target in made for module in re.findall(r"PYTHON\w*\)(?:/python)? -m ([\w.]+)", targets()[target])}
    assert {"charts.release", "charts.registry", "loadtests"} <= modules
    for module in modules - {"pytest"}:
        path = REPOSITORY / module.replace(".", "/")
        assert path.with_suffix(".py").exists() or (path / "__main__.py").exists(), module


def test_every_action_is_pinned_to_a_commit_with_its_version_beside_it() -> None:
    for each in NAMES:
        for line in re.findall(r"uses: .*", text(each)):
            if line.startswith("uses: ./"):
                assert (REPOSITORY / line.removeprefix("uses: ./")).exists()
            else:
                pinned = PINNED.fullmatch(line)
                assert pinned is not None, line
                assert pinned["action"].split("/")[0] in MAKERS


def test_an_action_is_pinned_to_the_same_commit_everywhere() -> None:
    pins = {match["action"]: set[str]() for each in NAMES for match in PINNED.finditer(text(each))}
    for each in NAMES:
        for match in PINNED.finditer(text(each)):
            pins[match["action"]].add(match["commit"])
    assert all(len(commits) == 1 for commits in pins.values())


def test_nothing_is_allowed_that_a_job_does_not_need(name: str) -> None:
    assert workflow(name)["permissions"] == {}
    for job, body in jobs(name).items():
        allowed = {"contents": "read"} | ({"id-token": "write"} if name == "staging" and job in ROLES else {})
        assert body["permissions"] == allowed, job


def test_a_job_that_may_ask_for_a_token_takes_the_role_that_it_is_for() -> None:
    for job, role in ROLES.items():
        (taken,) = [step.body["with"] for step in steps("staging") if step.job == job and "configure-aws" in step.body.get("uses", "")]
        assert taken == {"role-to-assume": f"${{{{ vars.{role} }}}}", "aws-region": "${{ vars.AWS_REGION }}"}
    others = {step.job for step in steps() if "configure-aws" in step.body.get("uses", "")} - set(ROLES)
    assert not others


def test_code_that_nobody_looked_at_reaches_no_secret_no_environment_and_no_runner_of_ours() -> None:
    assert set(workflow("ci")["on"]) == {"pull_request", "merge_group", "workflow_call"}
    assert not expressions("ci", "secrets")
    assert not expressions("ci", "vars")
    for body in jobs("ci").values():
        assert "environment" not in body
        assert body["runs-on"] == "ubuntu-24.04"
    for job in jobs("staging").values():
        assert "secrets" not in job  # none is handed on to ci.yml


def test_staging_follows_main_and_no_event_that_others_cause() -> None:
    triggers = workflow("staging")["on"]
    assert set(triggers) == {"push", "workflow_dispatch"}
    assert triggers["push"] == {"branches": ["main"]}


def test_the_image_is_built_before_there_are_credentials() -> None:
    image = [step.body for step in steps("staging") if step.job == "image"]
    built = next(number for number, step in enumerate(image) if step.get("run") == "make image")
    signed_in = next(number for number, step in enumerate(image) if "configure-aws" in step.get("uses", ""))
    assert built < signed_in


def test_a_secret_is_seen_by_the_one_step_that_sends_load() -> None:
    seeing = [step for step in steps() if "secrets." in str(step.body)]
    assert [(step.job, step.targets) for step in seeing] == [("gate", ["gate"])]
    assert not [job for job, body in jobs("staging").items() if "secrets" in str({**body, "steps": None})]


def test_no_expression_is_put_into_a_script() -> None:
    for step in steps():
        assert "${{" not in step.body.get("run", ""), step


def test_a_script_stops_at_the_first_failure_in_a_pipe_too(name: str) -> None:
    assert workflow(name)["defaults"] == {"run": {"shell": "bash"}}  # named, GitHub runs it with -eo pipefail
    assert not [step for step in steps(name) if "shell" in step.body or "continue-on-error" in step.body]


@pytest.mark.parametrize(("workflow_name", "job"), job_ids())
def test_a_job_ends_in_time(workflow_name: str, job: str) -> None:
    body = jobs(workflow_name)[job]
    assert "uses" in body or 0 < body["timeout-minutes"] <= 60


def test_a_checkout_leaves_no_token_behind() -> None:
    for step in steps():
        if "actions/checkout@" in step.body.get("uses", ""):
            assert step.body["with"]["persist-credentials"] is False


def test_upgrades_never_run_side_by_side_nor_end_in_the_middle() -> None:
    assert workflow("staging")["concurrency"] == {"group": "staging", "cancel-in-progress": False}


def needed(job: str) -> set[str]:
    """Return the jobs of staging that a job waits for, directly or not."""
    direct = jobs("staging")[job].get("needs", [])
    names: set[str] = {direct} if isinstance(direct, str) else set(direct)
    return names.union(*(needed(each) for each in names)) if names else names


def test_staging_goes_its_steps_in_order() -> None:
    assert {"checks", "image", "compare"} <= needed("upgrade")
    assert "checks" in needed("image")
    assert "upgrade" in needed("gate")
    assert {"image", "gate"} <= needed("promote")
    made = [target for step in steps("staging") if step.job == "upgrade" for target in step.targets]
    assert made == ["kubeconfig", "running", "deploy", "rollback"]
    pushed = [target for step in steps("staging") if step.job == "image" for target in step.targets]
    assert pushed == ["image", "image-push"]


def test_whatever_the_gate_came_to_but_a_pass_takes_the_release_back() -> None:
    rollback = jobs("staging")["rollback"]
    assert rollback["needs"] == ["upgrade", "gate"]
    assert rollback["if"] == "${{ always() && needs.upgrade.result == 'success' && needs.gate.result != 'success' }}"
    (step,) = [step for step in steps("staging") if step.job == "rollback" and step.targets == ["rollback"]]
    assert step.body["env"] == {"REVISION": "${{ needs.upgrade.outputs.former }}"}
    assert [target for step in steps("staging") if step.job == "rollback" for target in step.targets] == ["kubeconfig", "rollback"]


def test_an_upgrade_that_fails_or_is_stopped_is_taken_back_by_its_own_job() -> None:
    (step,) = [step for step in steps("staging") if step.job == "upgrade" and step.targets == ["rollback"]]
    assert step.body["if"] == "${{ always() && steps.former.outputs.revision != '' && steps.upgrade.outcome != 'success' }}"


def test_what_is_promoted_is_what_went_through_the_gate() -> None:
    assert "if" not in jobs("staging")["promote"]  # so it is skipped unless all that it needs passed
    digests = [step.body["env"].get("DIGEST") for step in steps("staging") if set(step.targets) & {"deploy", "promote"}]
    assert digests == ["${{ needs.image.outputs.digest }}"] * 2


def variables(step: Any) -> set[str]:
    """Return what a step hands to its target."""
    words = {word for command in commands(step.body.get("run", "")) for word in command}
    given = {match[1] for word in words if (match := re.match(r"([A-Z_]+)=", word))}
    job: dict[str, Any] = jobs(step.workflow)[step.job]
    return given | set(job.get("env", {})) | set(step.body.get("env", {}))


def test_a_target_gets_what_it_asks_for() -> None:
    """What a recipe reads from the environment, `"$$BASE"`, its step sets; what it reads from the Makefile has a default."""
    for step in steps():
        for target in step.targets:
            asked = set(re.findall(r"\$\$([A-Z]+)", targets()[target]))
            assert asked <= variables(step), (step.job, target)


def test_make_knows_every_target_with_what_it_is_given() -> None:
    make = shutil.which("make")
    assert make is not None
    for target in sorted({target for step in steps() for target in step.targets}):
        done = subprocess.run([make, "--dry-run", target], cwd=REPOSITORY, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
