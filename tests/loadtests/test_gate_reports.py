"""Reports say what was found, in one file each that needs no other."""

import json
import re
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from loadtests.gate.finding import Finding, Verdict
from loadtests.gate.histogram import Histogram
from loadtests.gate.outcome import Exit
from loadtests.gate.recorder import Recorder
from loadtests.gate.report import write_reports
from loadtests.gate.result import EndpointFigures, Pairs, PhaseFigures, Result, Second, series

EVIL = '<script>alert("x")</script>&'


@pytest.fixture
def result() -> Result:
    figures = EndpointFigures(
        name="GET /api/v1/items/",
        total=1000,
        failed=2,
        mean=0.006,
        quantiles={"p50": 0.005, "p95": 0.06},
        intervals={"p50": (0.0048, 0.0052), "p95": (0.055, 0.07)},
        budgets={"p50": 0.01, "p95": 0.05, "p99": 0.15},
        verdict=Verdict.FAIL,
    )
    findings = [
        Finding("GET /api/v1/items/", "p95", Verdict.FAIL, "60 ms", "50 ms", 998, f"{EVIL} is 1.2 times its budget."),
        Finding("GET /api/v1/jobs/", "p50", Verdict.INCONCLUSIVE, "unknown", "5 ms", 12, "Too few."),
        Finding("GET /", "p50", Verdict.PASS, "1 ms", "3 ms", 500),
    ]
    return Result(
        run="abc123",
        kind="run",
        profile="smoke",
        url="http://127.0.0.1:8000",
        environment="local",
        version="1",
        started_at="2026-01-01T00:00:00+00:00",
        seconds=80.0,
        exit=Exit.FAIL,
        validity=[Finding("generator", "workers lost", Verdict.PASS, "0", "0", 1)],
        findings=findings,
        endpoints=[figures],
        phases=[PhaseFigures("load", True, 60.0, 1000, 2, {"p50": 0.005})],
        series=[Second(0, 500, 0, 0.004, 0.05, 0.1), Second(1, 502, 2, None, None, None), Second(2, 500, 0, 0.005, 0.05, 0.2)],
        pairs=[Pairs("processor time per request", "ratio", [0.09, 0.1, 0.11], 0.1, 0.09, 0.11, 0.002, 0.039, Verdict.FAIL)],
    )


@pytest.fixture
def folder(tmp_path: Path, result: Result) -> Path:
    write_reports(result, tmp_path)
    return tmp_path


def test_the_json_holds_everything(folder: Path) -> None:
    read = json.loads((folder / "result.json").read_text())
    assert (read["exit"], read["verdict"]) == (1, "fail")
    assert read["findings"][0]["verdict"] == "fail"
    assert read["endpoints"][0]["quantiles"] == {"p50": 0.005, "p95": 0.06}


def test_junit_counts_what_failed_and_what_could_not_be_told(folder: Path) -> None:
    suite = ET.parse(folder / "junit.xml").getroot().find("testsuite")
    assert suite is not None
    assert [suite.get(name) for name in ("tests", "failures", "errors")] == ["4", "1", "1"]
    failure = suite.find("testcase/failure")
    assert failure is not None
    assert EVIL in (failure.get("message") or "")


def test_the_summary_begins_with_the_verdict_and_what_led_to_it(folder: Path) -> None:
    text = (folder / "summary.md").read_text()
    assert text.startswith("## Load gate: fail\n")
    assert text.index("**GET /api/v1/items/**, p95: 60 ms (limit 50 ms)") < text.index("| endpoint |")
    assert "| `GET /api/v1/items/` | 1,000 | 2 | 5 ms / 10 ms | 60 ms / 50 ms | · / 150 ms | fail |" in text
    assert "+10.5 %" in text  # the logarithm 0.1, as a ratio


def test_the_page_needs_no_other_file_and_runs_nothing(folder: Path) -> None:
    page = (folder / "report.html").read_text()
    assert not re.findall(r"<script|<link|<img|@import|(?:src|href)=|url\(", page)
    assert "alert(&quot;x&quot;)" in page
    assert page.count("<svg") == 3


def test_the_page_is_well_formed(folder: Path) -> None:
    page = (folder / "report.html").read_text().removeprefix("<!doctype html>")
    page = page.replace('width=device-width,initial-scale=1">', 'width=device-width,initial-scale=1"/>').replace(
        '<meta charset="utf-8">', ""
    )
    page = re.sub(r"class=(\w+)>", r'class="\1">', page)
    ET.fromstring(page)


def test_a_run_in_which_nothing_was_answered_can_be_reported(tmp_path: Path, result: Result) -> None:
    result.endpoints, result.series, result.phases, result.pairs = [], [], [], []
    write_reports(result, tmp_path)
    assert "Nothing was answered." in (tmp_path / "report.html").read_text()


def test_a_second_without_answers_stays_in_the_series() -> None:
    recorder = Recorder()
    recorder.seconds[0] = Histogram()
    recorder.seconds[0].add(0.5)
    recorder.failures[2] = 3
    assert [(each.second, each.requests, each.failed) for each in series(recorder)] == [(0, 1, 0), (1, 0, 0), (2, 3, 3)]
