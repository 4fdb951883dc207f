"""Resources that need no AWS: made here, in memory."""

import secrets
import string
from typing import TYPE_CHECKING

from tests.infra.rehearsal.making.cloud import Cloud, recipe
from tests.infra.rehearsal.outputs import identifier
from tests.infra.rehearsal.values import Values, secret

if TYPE_CHECKING:
    from tests.infra.rehearsal.world import Thing

ALPHABET = string.ascii_letters + string.digits


def _forget(_cloud: Cloud, _thing: "Thing") -> None:
    """Nothing is left anywhere."""


@recipe("random:index/randomPassword:RandomPassword", _forget)
def _password(_: Cloud, inputs: Values) -> tuple[str, Values]:
    text = "".join(secrets.choice(ALPHABET) for _ in range(int(inputs["length"])))
    return identifier("password"), {"result": secret(text), "bcryptHash": secret(f"$2a$10${text[::-1]}")}


@recipe("aws:elasticache/userGroup:UserGroup", _forget)
def _user_group(cloud: Cloud, inputs: Values) -> tuple[str, Values]:
    name = inputs["userGroupId"]
    return name, {"arn": f"arn:aws:elasticache:{cloud.region}:{cloud.account}:usergroup:{name}"}
