"""Every alert fires when it should and is silent when it should not, as promtool evaluates the rules of the chart."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.charts.observability.cases import CASES, HARMLESS, THRESHOLDS, Case, Series
from tests.charts.observability.rules import SELECTOR, alert_files, alerts, promtool, read, rule_groups, rules_behind

OTHERS = ['namespace="platform",job="another"', 'namespace="another",job="platform-fastapi-platform"']


def expect(folder: Path, case: Case, given: Series, *, fires: bool, selectors: Sequence[str] = (SELECTOR,)) -> None:
    """Have promtool say whether an alert fires, with exactly the labels of its case, once series were as given."""
    rule = next(each for each in alerts() if each["alert"] == case.alert and case.labels.items() <= own(each, case))
    labels = {"alertname": case.alert, "alertstate": "firing", "severity": rule["labels"]["severity"], "team": "platform", **case.labels}
    firing = ",".join(f'{name}="{value}"' for name, value in labels.items())
    about = "".join(f',{name}="{value}"' for name, value in case.labels.items())
    question = {
        "expr": f'ALERTS{{alertname="{case.alert}",alertstate="firing"{about}}}',
        "eval_time": f"{case.after}m",
        "exp_samples": [{"labels": f"ALERTS{{{firing},{SELECTOR}}}", "value": 1}] if fires else [],
    }
    series = [{"series": name.replace("{S}", one), "values": values} for one in selectors for name, values in given.items()]
    test = {"interval": "1m", "input_series": series, "promql_expr_test": [question]}
    (folder / "rules.yaml").write_text(yaml.safe_dump({"groups": [{"name": "behind", "rules": rules_behind(case.alert)}]}))
    (folder / "test.yaml").write_text(
        yaml.safe_dump({"rule_files": ["rules.yaml"], "evaluation_interval": f"{case.every}m", "tests": [test]})
    )
    done = promtool("test", "rules", folder / "test.yaml")
    assert done.returncode == 0, done.stdout + done.stderr


def own(rule: dict[str, Any], case: Case) -> Any:
    """Return the labels that a rule gives its alert; those of the series it is about are added by Prometheus."""
    return {**case.labels, **rule["labels"]}.items()


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_alert_fires(case: Case, tmp_path: Path) -> None:
    expect(tmp_path, case, case.fires, fires=True)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_alert_is_silent(case: Case, tmp_path: Path) -> None:
    expect(tmp_path, case, case.silent, fires=False)


@pytest.mark.parametrize("name", HARMLESS)
def test_no_budget_burns_for(name: str, tmp_path: Path) -> None:
    expect(tmp_path, HARMLESS[name], HARMLESS[name].silent, fires=False)


@pytest.mark.parametrize("case", [each for each in CASES if any("{S}" in name for name in each.fires)], ids=str)
def test_the_alert_does_not_mistake_another_release_for_its_own(case: Case, tmp_path: Path) -> None:
    expect(tmp_path, case, case.fires, fires=case.seen_when_absent, selectors=OTHERS)


@pytest.mark.parametrize("case", [each for each in THRESHOLDS if each.seen_when_absent], ids=str)
def test_an_alert_about_what_is_gone_fires_without_any_series(case: Case, tmp_path: Path) -> None:
    expect(tmp_path, case, {"unrelated{{S}}": "1x60"}, fires=True)


def test_every_rule_is_valid_and_none_is_doubled(tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump({"groups": rule_groups()}))
    done = promtool("check", "rules", tmp_path / "rules.yaml")
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_has_a_case() -> None:
    """One for each rule: an alert per window, queue or worker has as many."""
    assert sorted(case.alert for case in CASES) == sorted(rule["alert"] for rule in alerts())


@pytest.mark.parametrize("file", alert_files(), ids=lambda path: path.stem)
def test_an_alert_is_named_like_its_file(file: Path) -> None:
    assert read(file)["alert"] == "".join(word.capitalize() for word in file.stem.split("-"))


def test_every_alert_says_how_urgent_it_is_and_what_to_read() -> None:
    for rule in alerts():
        assert rule["labels"]["severity"] in {"page", "ticket"}, rule["alert"]
        assert rule["labels"]["team"] == "platform", rule["alert"]
        name = re.sub(r"(?<!^)(?=[A-Z])", "-", rule["alert"]).lower()
        assert rule["annotations"]["runbook_url"] == f"https://docs.example.com/runbooks/{name}.md"
        assert rule["annotations"]["summary"], rule["alert"]
        assert rule["annotations"]["description"], rule["alert"]


def test_what_an_alert_tells_of_is_among_its_labels() -> None:
    for case in CASES:
        for rule in (rule for rule in alerts() if rule["alert"] == case.alert):
            told = set(re.findall(r"\$labels\.(\w+)", str(rule["annotations"])))
            assert told <= case.labels.keys(), rule["alert"]
