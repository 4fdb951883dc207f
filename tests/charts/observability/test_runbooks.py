"""Each alert has its runbook and each runbook of an alert its alert. Other runbooks may stand beside them, without the mark."""

import re
from pathlib import Path

import pytest

from tests.charts.observability.rules import RUNBOOKS, alert_files, read

MARK = re.compile(r"^<!-- alert: (\w+) -->$", re.MULTILINE)
SECTIONS = ["What it means", "Who notices", "How to look", "What to do", "Afterwards", "When to escalate"]


def marked() -> dict[str, str]:
    """Return the alerts that runbooks are about, by the runbook's file."""
    found = {path.stem: MARK.findall(path.read_text()) for path in RUNBOOKS.glob("*.md")}
    return {name: alert[0] for name, alert in found.items() if alert}


def test_every_alert_has_its_runbook_and_every_runbook_its_alert() -> None:
    assert marked() == {path.stem: read(path)["alert"] for path in alert_files()}


@pytest.mark.parametrize("name", sorted(marked()))
def test_a_runbook_says_all_that_is_needed_at_night(name: str) -> None:
    text = (RUNBOOKS / f"{name}.md").read_text()
    assert text.startswith(f"# {marked()[name]}\n")
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == SECTIONS
    looking = text.partition("## How to look")[2].partition("## What to do")[0]
    assert "```" in looking, "commands"


def test_the_index_names_every_runbook_with_its_urgency() -> None:
    index = (RUNBOOKS / "README.md").read_text()
    for file in alert_files():
        alert = read(file)
        urgency = "page, ticket" if alert["severity"].startswith("@") else alert["severity"]
        assert f"| [{alert['alert']}]({file.stem}.md) | {urgency} |" in index


@pytest.mark.parametrize("path", sorted(RUNBOOKS.glob("*.md")), ids=lambda path: path.stem)
def test_commands_of_the_service_exist(path: Path) -> None:
    known = {"doctor", "database-roles", "outbox list", "outbox retry", "outbox park"}
    asked = {" ".join(words.split()) for words in re.findall(r"python -m app ((?:outbox )?[a-z-]+)", path.read_text())}
    assert asked <= known
