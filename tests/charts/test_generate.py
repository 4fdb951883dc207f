"""The generators beside the chart."""

import json
from pathlib import Path

import jsonschema_rs
import pytest

from charts import generate, schema
from charts.values_file import read_values
from tests.charts.helm import CHART


@pytest.mark.parametrize("name", ["values.schema.json", "README.md"])
def test_the_generated_file_is_up_to_date(name: str) -> None:
    assert (CHART / name).read_text() == generate.PAGES[CHART / name](), "run `python -m charts.generate`"


def test_check_only_tells_and_generate_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(generate, "CHART", tmp_path / "charts" / "chart")
    page = tmp_path / "page.md"
    monkeypatch.setattr(generate, "PAGES", {page: lambda: "new\n"})
    monkeypatch.setattr("sys.argv", ["generate", "--check"])
    assert generate.main() == 1
    assert "Stale: page.md" in capsys.readouterr().err
    assert not page.exists()
    monkeypatch.setattr("sys.argv", ["generate"])
    assert generate.main() == 0
    assert page.read_text() == "new\n"
    monkeypatch.setattr("sys.argv", ["generate", "--check"])
    assert generate.main() == 0


def test_the_schema_is_one_of_draft_7() -> None:
    written = json.loads((CHART / "values.schema.json").read_text())
    assert written["$schema"] == "http://json-schema.org/draft-07/schema#"
    jsonschema_rs.Draft7Validator(written)


def test_a_value_without_a_comment_is_refused(tmp_path: Path) -> None:
    (tmp_path / "values.yaml").write_text("# A group.\ngroup:\n  # -- Described.\n  one: 1\n  two: 2\n")
    group = read_values(tmp_path / "values.yaml").children[0]
    with pytest.raises(ValueError, match=r"says nothing of group\.two"):
        list(generate.rows(group))


def test_a_value_without_bounds_is_refused(tmp_path: Path) -> None:
    (tmp_path / "values.yaml").write_text("# -- Described.\nunbounded: 1\n")
    with pytest.raises(ValueError, match="says nothing of unbounded: give it minimum"):
        schema.chart_schema(read_values(tmp_path / "values.yaml"))


def test_comments_are_read_as_notes_descriptions_and_examples(tmp_path: Path) -> None:
    text = "# Above the file.\n\n# A note.\ngroup:\n  # -- What it is,\n  # in two lines.\n  # @example {a: 1}\n  value: {inner: 1}\n"
    (tmp_path / "values.yaml").write_text(text)
    group, value, inner = read_values(tmp_path / "values.yaml").walk()
    assert (group.note, group.description) == ("A note.", "")
    assert (value.name, value.description, value.example) == ("group.value", "What it is, in two lines.", "{a: 1}")
    assert (inner.name, inner.default, inner.description) == ("group.value.inner", 1, "")
