"""What AWS adds to a resource's inputs, where nobody knows better: plausible, of the right type, and never empty where text is due."""

import secrets
from collections.abc import Mapping
from typing import Any, get_origin

from tests.infra.rehearsal.kinds import kind
from tests.infra.rehearsal.values import UNKNOWN, Values


def computed(token: str, inputs: Values) -> Values:
    """Return what a preview can say of the properties that AWS decides: that they are not known yet."""
    known = kind(token)
    unknown: Values = dict.fromkeys(known.outputs.keys() - known.inputs - {"id"}, UNKNOWN)
    if token == "aws:eks/cluster:Cluster":
        unknown["vpcConfig"] = {**inputs["vpcConfig"], "clusterSecurityGroupId": UNKNOWN, "vpcId": UNKNOWN}
    return unknown


def plausible(token: str, id_: str, account: str, region: str) -> Values:
    """Return a value for each property that only AWS decides.

    Args:
        token: The type of the resource.
        id_: Its id.
        account: The AWS account.
        region: The region.
    """
    known = kind(token)
    service, type_ = token.split(":")[1].split("/")
    added: Values = {name: _value(name, of, id_) for name, of in known.outputs.items() if name not in known.inputs and name != "id"}
    if "arn" in added:
        added["arn"] = f"arn:aws:{service}:{region}:{account}:{type_}/{id_}"
    return {name: value for name, value in added.items() if value is not None}


def identifier(prefix: str) -> str:
    """Return an id as AWS makes them."""
    return f"{prefix}-{secrets.token_hex(9)[:17]}"


def _value(name: str, of: Any, id_: str) -> Any:
    if of is str:
        return f"{name}-of-{id_}"
    if of in {int, float, bool}:
        return of()
    origin = get_origin(of)
    if origin is None:
        return None  # an object, of which nothing is known
    return {} if issubclass(origin, Mapping) else []
