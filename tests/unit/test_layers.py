"""A resource is one file of the same name in each layer."""

from pathlib import Path

import pytest

APP = Path(__file__).parents[2] / "app"
LAYERS = (
    "models/{one}.py",
    "schemas/{one}.py",
    "crud/{one}.py",
    "services/{many}.py",
    "api/routes/{many}.py",
    "../tests/api/test_{many}.py",
)
#: Routes that serve no resource of their own.
OTHERS = frozenset({"__init__", "auth", "events", "health", "imports", "live", "pages"})


@pytest.mark.parametrize("resource", sorted({path.stem for path in (APP / "api/routes").glob("*.py")} - OTHERS))
def test_a_resource_has_its_file_in_every_layer(resource: str) -> None:
    expected = [APP / layer.format(many=resource, one=resource.removesuffix("s")) for layer in LAYERS]
    assert [str(path) for path in expected if not path.exists()] == []
