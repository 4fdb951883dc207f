"""What is made from the program is what lies in the docs, and says everything."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from infra import config as config_module
from infra import generate, picture
from infra.config import Part, StageConfig
from infra.field_texts import Texts, field_texts
from infra.generate import REFERENCE, STAGES, graph, pages
from infra.registrations import Graph

SVG = "{http://www.w3.org/2000/svg}"
DOCS = REFERENCE.parent / "infrastructure"


@pytest.mark.parametrize("path", list(pages()), ids=lambda path: path.name)
def test_page_is_not_stale(path: Path) -> None:
    assert path.read_text(encoding="utf-8") == pages()[path](), "run `python -m infra.generate`"


def test_check_tells_what_is_stale_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stale = tmp_path / "page.md"
    stale.write_text("old", encoding="utf-8")
    monkeypatch.setattr(generate, "pages", lambda: {stale: lambda: "new"})
    monkeypatch.setattr(sys, "argv", ["generate", "--check"])
    assert generate.main() == 1
    assert "page.md" in capsys.readouterr().err
    assert stale.read_text(encoding="utf-8") == "old"


def test_what_is_stale_is_written_and_then_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "page.md"
    monkeypatch.setattr(generate, "ROOT", tmp_path)
    monkeypatch.setattr(generate, "pages", lambda: {page: lambda: "new"})
    monkeypatch.setattr(sys, "argv", ["generate"])
    assert generate.main() == 0
    monkeypatch.setattr(sys, "argv", ["generate", "--check"])
    assert generate.main() == 0


def test_every_field_of_the_configuration_is_on_the_page() -> None:
    page = (REFERENCE / "infrastructure.md").read_text(encoding="utf-8")
    schema = StageConfig.model_json_schema(by_alias=True)
    for model in (schema, *schema["$defs"].values()):
        for field in model["properties"]:
            assert re.search(rf"^\| `{field}` \|", page, re.MULTILINE), field


def parts(model: type[Part]) -> Iterator[type[Part]]:
    """Return a model and the models of its fields."""
    yield model
    for field in model.model_fields.values():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Part):
            yield from parts(field.annotation)


def test_no_field_of_the_configuration_lacks_its_sentence() -> None:
    texts = field_texts(config_module)
    found = {
        part.__name__: {"": texts[part.__name__][""], **{name: _sentence(part, name, texts) for name in part.model_fields}}
        for part in parts(StageConfig)
    }
    assert [f"{part}.{name}" for part, said in found.items() for name, text in said.items() if not re.search(r"\w.*\.$", text)] == []


def _sentence(part: type[Part], name: str, texts: dict[str, Texts]) -> str:
    """Return what is said of a field: by itself, or by the part that it is."""
    kind = part.model_fields[name].annotation
    own = texts[part.__name__].get(name, "")
    return own or (texts[kind.__name__][""] if isinstance(kind, type) and issubclass(kind, Part) else "")


def boxes(stage: str) -> dict[str, str]:
    """Return the text of each box by its component."""
    root = ET.fromstring((REFERENCE / f"infrastructure-{stage}.svg").read_text(encoding="utf-8"))
    texts = [["".join(text.itertext()) for text in group.iter(f"{SVG}text")] for group in root.iter(f"{SVG}g")]
    return {name: " ".join(lines) for name, *lines in texts}


@pytest.mark.parametrize("stage", STAGES)
def test_picture_counts_every_resource_once(stage: str) -> None:
    counts = [int(re.match(r"(\d+) resources", text).group(1)) for text in boxes(stage).values()]  # type: ignore[union-attr]
    assert sum(counts) == sum(1 for _ in graph(stage).custom)


@pytest.mark.parametrize("stage", STAGES)
def test_picture_names_every_type_of_every_component(stage: str) -> None:
    found = boxes(stage)
    for resource in graph(stage).custom:
        assert any(resource.type.rpartition(":")[2] in text for text in found.values()), resource.urn


@pytest.mark.parametrize("stage", STAGES)
def test_boxes_stay_in_the_picture_and_apart(stage: str) -> None:
    root = ET.fromstring((REFERENCE / f"infrastructure-{stage}.svg").read_text(encoding="utf-8"))
    found = [
        tuple(float(box.attrib[name]) for name in ("x", "y", "width", "height"))
        for box in root.iter(f"{SVG}rect")
        if box.get("class") == "box"
    ]
    for x, y, width, height in found:
        assert x >= 0
        assert x + width <= picture.WIDTH
        assert y + height <= float(root.attrib["height"])
        for left, top, wide, high in found:
            if (left, top) != (x, y):
                assert x + width <= left or left + wide <= x or y + height <= top or top + high <= y


def test_a_picture_does_not_depend_on_chance() -> None:
    found = graph("dev")
    mixed = Graph(found.stack, tuple(reversed(found.resources)), found.exports, found.secret_exports, found.warnings)
    assert picture.draw(found, "x") == picture.draw(mixed, "x")


def test_every_component_has_a_page_that_the_first_page_leads_to() -> None:
    overview = (DOCS / "README.md").read_text(encoding="utf-8")
    for name in boxes("prod"):
        assert (DOCS / f"{name}.md").is_file()
        assert f"({name}.md)" in overview
