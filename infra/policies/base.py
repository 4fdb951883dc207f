"""What a policy is: a function that yields a sentence for what must not be, each saying what to change."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

from infra.registrations import Graph

type Properties = Mapping[str, Any]
"""Inputs of a resource, in camel case."""
type ResourcePolicy = Callable[[str, Properties, bool], Iterator[str]]
"""By type, inputs, and whether the stage is production."""
type GraphPolicy = Callable[[Graph, bool], Iterator[tuple[str, str]]]
"""By everything that is registered, and whether the stage is production; yields a URN and a sentence."""

ANYWHERE: Final = ("0.0.0.0/0", "::/0")
STATEFUL: Final = {
    "aws:ecr/repository:Repository": "images",
    "aws:elasticache/replicationGroup:ReplicationGroup": "queued tasks",
    "aws:kms/key:Key": "what it encrypted",
    "aws:rds/instance:Instance": "the data",
    "aws:route53/zone:Zone": "its name servers",
    "aws:s3/bucket:Bucket": "files",
    "aws:secretsmanager/secret:Secret": "secrets",
}
"""What would be lost with a resource of these types."""
DOCUMENTS: Final = {
    "aws:ec2/vpcEndpoint:VpcEndpoint": "policy",
    "aws:ecr/repositoryPolicy:RepositoryPolicy": "policy",
    "aws:iam/policy:Policy": "policy",
    "aws:iam/role:Role": "assumeRolePolicy",
    "aws:iam/rolePolicy:RolePolicy": "policy",
    "aws:kms/key:Key": "policy",
    "aws:s3/bucketPolicy:BucketPolicy": "policy",
    "aws:secretsmanager/secretPolicy:SecretPolicy": "policy",
    "aws:sns/topicPolicy:TopicPolicy": "policy",
    "aws:sqs/queuePolicy:QueuePolicy": "policy",
}
"""The input of each type that is an IAM policy as JSON."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What a policy found."""

    policy: str
    """The function's name."""
    urn: str
    """Empty where something is missing altogether."""
    sentence: str

    def __str__(self) -> str:
        resource = self.urn.split("::", 2)[-1].rpartition("$")[2]
        return f"{resource or 'The stage'}: {self.sentence} ({self.policy})"


def statements(kind: str, properties: Properties) -> list[dict[str, Any]]:
    """Return the statements of the IAM policy that a resource holds, or nothing.

    Raises:
        ValueError: if it is not JSON.
    """
    text = properties.get(DOCUMENTS.get(kind, ""))
    if not text:
        return []
    return several(json.loads(text)["Statement"])


def several(value: Any) -> list[Any]:
    """Return what IAM lets one write as a list or alone."""
    if isinstance(value, list):
        return cast("list[Any]", value)
    return [] if value is None else [value]


def principals(statement: Properties, kind: str) -> list[Any]:
    """Return the principals of a kind that a statement names: ``AWS``, ``Service`` or ``Federated``; ``*`` stands for all of AWS."""
    named = statement.get("Principal")
    return several(cast("Properties", named).get(kind)) if isinstance(named, dict) else several(named) if kind == "AWS" else []


def at(properties: Properties, path: str) -> Any:
    """Return an input by its path, such as ``vpcConfig.subnetIds``; None, if it is not there."""
    value: Any = properties
    for part in path.split("."):
        value = cast("Properties", value).get(part) if isinstance(value, dict) else None
    return value
