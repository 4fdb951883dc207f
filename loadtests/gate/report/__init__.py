"""Reports: JSON for programs, JUnit and Markdown for CI, one HTML page for people."""

import json
from pathlib import Path

from loadtests.gate.report.html import html
from loadtests.gate.report.text import junit, markdown
from loadtests.gate.result import Result


def write_reports(result: Result, folder: Path) -> None:
    """Write every report into ``folder``."""
    (folder / "result.json").write_text(json.dumps(result.encode(), indent=1) + "\n", encoding="utf-8")
    (folder / "junit.xml").write_text(junit(result), encoding="utf-8")
    (folder / "summary.md").write_text(markdown(result), encoding="utf-8")
    (folder / "report.html").write_text(html(result), encoding="utf-8")
