"""What is known of a type of resource: its properties from the SDK, the rest from facts.toml."""

import sys
import tomllib
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, Final, cast

import pulumi._types

FACTS: Final = tomllib.loads((Path(__file__).parent / "facts.toml").read_text(encoding="utf-8"))
NAMES: Final[dict[str, str]] = FACTS["names"]
ALL: Final = "*"


@dataclass(frozen=True, slots=True)
class Kind:
    """A type of resource.

    Args:
        token: Such as ``aws:ec2/vpc:Vpc``.
        inputs: Properties that a program may set.
        outputs: Properties and the types of their values.
        name: The property that the provider makes a name for, where the program gives none.
        replacing: Paths whose change makes another resource.
    """

    token: str
    inputs: frozenset[str]
    outputs: dict[str, Any]
    name: str | None
    replacing: tuple[str, ...]

    def replaces(self, path: str) -> bool:
        """Say whether a change there makes another resource."""
        if path.split(".", maxsplit=1)[0] in {"tags", "tagsAll"}:
            return False
        return path == "region" or any(path == one or path.startswith(f"{one}.") or one == ALL for one in self.replacing)


@cache
def kind(token: str) -> Kind:
    """Return what is known of a type.

    Raises:
        LookupError: if facts.toml does not know it, for then nobody can say what replaces it.
    """
    if token not in FACTS["replaces"]:
        raise LookupError(f"{token} is not in tests/infra/rehearsal/facts.toml; add the properties that force its replacement")
    package, module, name = token.split(":")
    place = module.split("/")[0]
    sdk = import_module(f"pulumi_{package}" if place == "index" else f"pulumi_{package}.{place}")
    resource = getattr(sdk, name)
    outputs = cast("dict[str, Any]", pulumi._types.resource_types(resource))
    # Beside the resource: in the package an object of another resource may have the same name.
    module = sys.modules[resource.__module__]
    args = getattr(module, f"{name}InitArgs", None) or getattr(module, f"{name}Args")
    inputs = frozenset(cast("dict[str, Any]", pulumi._types.input_type_types(args)))
    named = NAMES.get(token, "name" if "name" in inputs else "")
    return Kind(token, inputs, outputs, named or None, tuple(FACTS["replaces"][token]))
