"""Every way in which a run ends has its exit code, from a real run with Locust against a tiny service."""

import itertools
import json
import time
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from app.local.servers.ports import free_port
from loadtests.__main__ import main
from loadtests.gate import validity
from loadtests.gate.outcome import Exit
from loadtests.gate.validity import Limits
from tests.loadtests.stub import ROUTES, SLO, Answer, arguments, health, stub


@pytest.fixture(autouse=True)
def _somebody(monkeypatch: pytest.MonkeyPatch) -> None:
    """A superuser, and a judge of the generator that takes a busy machine for a good one."""
    monkeypatch.setenv("LOADTEST_SUPERUSER_EMAIL", "admin@example.com")
    monkeypatch.setenv("LOADTEST_SUPERUSER_PASSWORD", "secret")
    monkeypatch.setattr(validity, "ALONE", Limits(60, 60, 60))


def result_of(folder: Path) -> Any:
    return json.loads((folder / "out" / "result.json").read_text())


def test_a_good_service_passes_and_nobody_is_left_there(tmp_path: Path) -> None:
    with stub() as served:
        assert main(arguments(tmp_path, served.url)) is Exit.PASS
        assert not served.users
    result = result_of(tmp_path)
    assert result["exit"] == 0
    assert {each["name"] for each in result["endpoints"]} == set(ROUTES)
    assert min(each["total"] for each in result["endpoints"]) >= 60
    assert ET.parse(tmp_path / "out" / "junit.xml").getroot().find("testsuite[@failures='0'][@errors='0']") is not None
    assert (tmp_path / "out" / "report.html").exists()
    assert "Load gate: pass" in (tmp_path / "out" / "summary.md").read_text()


def test_two_workers_make_the_same_load_together(tmp_path: Path) -> None:
    with stub() as served:
        assert main(arguments(tmp_path, served.url, "--workers", "2")) is Exit.PASS
    begun = next(each for each in result_of(tmp_path)["validity"] if each["check"] == "visits begun, phase load")
    assert 60 <= int(begun["value"]) <= 180  # 120 expected, by both


def test_errors_fail(tmp_path: Path) -> None:
    turns = itertools.count()

    def faulty(path: str) -> Answer:
        return (500, {}) if next(turns) % 20 == 0 else health(path)

    with stub(faulty) as served:
        assert main(arguments(tmp_path, served.url)) is Exit.FAIL
    assert any(each["check"] == "failures" and "status 500" in each["sentence"] for each in result_of(tmp_path)["findings"])


def test_a_wrong_answer_fails(tmp_path: Path) -> None:
    turns = itertools.count()

    def faulty(path: str) -> Answer:
        return (200, {"status": "fine"}) if next(turns) == 200 else health(path)

    with stub(faulty) as served:
        assert main(arguments(tmp_path, served.url)) is Exit.FAIL
    assert any(each["check"].startswith("wrong answers") and each["verdict"] == "fail" for each in result_of(tmp_path)["findings"])


def test_a_freeze_is_measured_from_when_visits_were_to_begin(tmp_path: Path) -> None:
    frozen: list[float] = []
    turns = itertools.count()

    def faulty(path: str) -> Answer:
        if next(turns) == 150:
            frozen.append(time.monotonic() + 1.0)
        if frozen and (left := frozen[0] - time.monotonic()) > 0:
            time.sleep(left)
        return health(path)

    with stub(faulty) as served:
        main(arguments(tmp_path, served.url))
    # Some sixty visits were to begin in that second, and waited half of it on average: a closed loop would have sent twenty.
    first = next(each for each in result_of(tmp_path)["endpoints"] if each["name"] == "GET /health/live")
    assert first["mean"] >= 0.1
    assert result_of(tmp_path)["waited"] > 0


def test_too_few_samples_are_inconclusive(tmp_path: Path) -> None:
    with stub() as served:
        assert main(arguments(tmp_path, served.url, "--rate", "0.1")) is Exit.INVALID
    assert any(each["verdict"] == "inconclusive" for each in result_of(tmp_path)["findings"])


def test_a_late_generator_is_invalid_whatever_it_saw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(validity, "ALONE", Limits(60, 60, 0))
    with stub(lambda _: (500, {})) as served:
        assert main(arguments(tmp_path, served.url)) is Exit.INVALID


def test_an_unreachable_host_is_a_harness_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments(tmp_path, f"http://127.0.0.1:{free_port()}")) is Exit.HARNESS_ERROR
    assert "does not answer as the service does" in capsys.readouterr().err


def test_a_host_that_is_not_on_the_list_is_refused_before_anything_is_sent(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments(tmp_path, "http://example.com")) is Exit.REFUSED
    assert "is not on the list" in capsys.readouterr().err


def test_a_rate_above_the_cap_is_refused(tmp_path: Path) -> None:
    assert main(arguments(tmp_path, "http://127.0.0.1:1", "--rate", "2")) is Exit.REFUSED


def test_somebody_who_is_no_superuser_is_refused(tmp_path: Path) -> None:
    with stub() as served:
        served.superuser = False
        assert main(arguments(tmp_path, served.url)) is Exit.REFUSED


def test_a_missing_budget_is_a_fail(tmp_path: Path) -> None:
    with stub() as served:
        command = arguments(tmp_path, served.url)
        (tmp_path / "slo.yaml").write_text("\n".join(line for line in SLO.splitlines() if "startup" not in line))
        assert main(command) is Exit.FAIL


@pytest.mark.parametrize(
    "command",
    [
        ["run", "--profile", "nothing"],
        ["run", "--slo", "/nowhere/slo.yaml"],
        ["run", "--rate", "fast"],
        ["run", "--speed", "1"],
        ["nothing"],
        ["compare", "--base", "no-such-commit"],
        ["compare", "--base", "http://127.0.0.1:1", "--candidate", "."],
        ["trial", "--fault", "nothing", "--kept", "/tmp/unused.jsonl"],
    ],
)
def test_a_command_that_cannot_be_followed_is_a_harness_error_with_a_sentence(
    command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command) is Exit.HARNESS_ERROR
    said = capsys.readouterr().err
    assert said.strip()
    assert "Traceback" not in said


def test_a_superuser_that_nobody_named_is_a_harness_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LOADTEST_SUPERUSER_PASSWORD")
    with stub() as served:
        assert main(arguments(tmp_path, served.url)) is Exit.HARNESS_ERROR


def test_the_list_of_profiles_is_a_pass(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["profiles"]) is Exit.PASS
    assert "smoke" in capsys.readouterr().out
