"""Write values.schema.json and README.md of the chart from values.yaml: ``python -m charts.generate [--check]``."""

import json
import sys
from collections.abc import Iterator

import yaml

from charts.schema import CHART, chart_schema
from charts.values_file import Value, read_values

INTRODUCTION = CHART.parent / "introduction.md"


def schema_json() -> str:
    """Return the text of values.schema.json."""
    return json.dumps(chart_schema(read_values(CHART / "values.yaml")), indent=2, ensure_ascii=False) + "\n"


def readme() -> str:
    """Return the text of README.md: the introduction, then a table of values for each group."""
    root = read_values(CHART / "values.yaml")
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
    lines = [INTRODUCTION.read_text(encoding="utf-8").rstrip().format(**chart), "", "## Values", ""]
    alone = [value for value in root.children if not value.children]
    lines += [*_table(alone), ""]
    for group in root.children:
        if group.children:
            lines += [f"### `{group.name}`", "", *([group.note or group.description, ""] if group.note or group.description else [])]
            lines += [*_table(list(rows(group))), ""]
    return "\n".join(lines).rstrip() + "\n"


def rows(group: Value) -> Iterator[Value]:
    """Return the values of a group that have a description, and the notes of groups in it."""
    for child in group.children:
        if child.description or child.note:
            yield child
        if child.description and not any(value.description for value in child.children):
            continue
        if not child.description and not child.children:
            raise ValueError(f"values.yaml says nothing of {child.name}: give it a comment that begins with `# --`")
        yield from rows(child)


def _table(values: list[Value]) -> list[str]:
    return ["| Value | Default | What it is |", "|---|---|---|", *map(_row, values)]


def _row(value: Value) -> str:
    if not value.description:
        return f"| `{value.name}` | | {_cell(value.note)} |"
    example = f" Example: `{value.example}`" if value.example else ""
    return f"| `{value.name}` | `{_cell(json.dumps(value.default, ensure_ascii=False))}` | {_cell(value.description)}{_cell(example)} |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


PAGES = {CHART / "values.schema.json": schema_json, CHART / "README.md": readme}


def main() -> int:
    """Write what is stale, or with ``--check`` only tell."""
    stale = [path for path, make in PAGES.items() if not path.exists() or path.read_text(encoding="utf-8") != make()]
    if "--check" in sys.argv[1:]:
        if stale:
            sys.stderr.write(f"Stale: {', '.join(path.name for path in stale)}; run `python -m charts.generate`.\n")
        return int(bool(stale))
    for path in stale:
        path.write_text(PAGES[path](), encoding="utf-8")
        sys.stdout.write(f"wrote {path.relative_to(CHART.parents[1])}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
