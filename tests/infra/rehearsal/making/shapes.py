"""From the properties of Pulumi to the parameters of AWS's interfaces."""

from typing import Any

from tests.infra.rehearsal.values import Values


def call(inputs: Values, *names: str, **renamed: str) -> dict[str, Any]:
    """Return parameters: properties as they are but for the capital, and those that AWS calls otherwise.

    Args:
        inputs: Properties.
        names: Properties to take.
        renamed: Properties to take, and what AWS calls them.
    """
    wanted = {name: name[0].upper() + name[1:] for name in names} | renamed
    return {parameter: inputs[name] for name, parameter in wanted.items() if inputs.get(name) is not None}


def tags(inputs: Values) -> list[dict[str, str]]:
    """Return tags as most services want them."""
    return [{"Key": key, "Value": value} for key, value in inputs.get("tags", {}).items()]
