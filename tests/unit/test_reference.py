import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from app.__main__ import command_line
from app.cli import docs
from app.cli.reference import PAGES, table

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"


@pytest.mark.parametrize("name", sorted(PAGES))
def test_the_generated_page_is_up_to_date(name: str) -> None:
    assert (REFERENCE / name).read_text() == PAGES[name](), "run `make docs`"


def test_docs_writes_what_is_stale_and_check_only_tells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(docs, "REFERENCE", tmp_path / "reference")
    invoke = CliRunner().invoke
    stale = invoke(command_line(["docs"]), ["docs", "--check"])
    assert stale.exit_code == 1
    assert "errors.md" in stale.output
    assert not (tmp_path / "reference").exists()
    assert invoke(command_line(["docs"]), ["docs"]).exit_code == 0
    assert {path.name for path in (tmp_path / "reference").iterdir()} == set(PAGES)
    assert invoke(command_line(["docs"]), ["docs", "--check"]).exit_code == 0
    assert invoke(command_line(["docs"]), ["docs"]).output == ""


def test_a_cell_does_not_break_its_table() -> None:
    assert table(["a"], [["x | y\nz"]]).splitlines()[-1] == "| x \\| y z |"


@pytest.mark.parametrize("page", sorted(REFERENCE.parent.rglob("*.md")), ids=lambda path: path.name)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    text = re.sub(r"`[^`\n]+`", "", page.read_text())  # code may look like a link: a pattern does
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", text)
    assert [link for link in links if not (page.parent / link).exists()] == []
