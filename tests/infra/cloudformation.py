"""Registrations as a CloudFormation template, so that cfn-lint, which knows AWS's schemas, reads them.

Inputs of the AWS provider and properties of CloudFormation are named after the same API: most differ in the first letter alone. What
differs more is in the tables. A resource that CloudFormation has as a part of another one is folded into it.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from infra.registrations import Graph, Resource
from tests.infra.translations import FOLDED, KINDS, Json, pascal


def _fold(resource: Resource) -> Any:
    """Return the property that a resource becomes in another one."""
    inputs = resource.inputs
    parts: dict[str, Callable[[], Any]] = {
        "EventTarget": lambda: [{"Arn": inputs["arn"], "Id": resource.name}],
        "LifecyclePolicy": lambda: {"LifecyclePolicyText": inputs["policy"]},
        "AccessPolicyAssociation": lambda: [{"PolicyArn": inputs["policyArn"], "AccessScope": pascal(inputs["accessScope"], {})}],
        "RolePolicyAttachment": lambda: [inputs["policyArn"]],
        "BucketCorsConfiguration": lambda: {"CorsRules": pascal(inputs["corsRules"], CORS)},
        "BucketLifecycleConfiguration": lambda: {"Rules": [_lifecycle(rule) for rule in inputs["rules"]]},
        "BucketLogging": lambda: {"DestinationBucketName": inputs["targetBucket"], "LogFilePrefix": inputs.get("targetPrefix", "")},
        "BucketOwnershipControls": lambda: {"Rules": [pascal(inputs["rule"], {})]},
        "BucketServerSideEncryptionConfiguration": lambda: {"ServerSideEncryptionConfiguration": pascal(inputs["rules"], ENCRYPTION)},
        "BucketVersioning": lambda: pascal(inputs["versioningConfiguration"], {}),
        "BucketPublicAccessBlock": lambda: pascal({name: inputs[name] for name in inputs if name not in {"bucket", "skipDestroy"}}, {}),
        "SecretVersion": lambda: inputs["secretString"],
    }
    return parts[resource.type.rpartition(":")[2]]()


CORS: Final = {"exposeHeaders": "ExposedHeaders", "maxAgeSeconds": "MaxAge"}
ENCRYPTION: Final = {
    "applyServerSideEncryptionByDefault": "ServerSideEncryptionByDefault",
    "sseAlgorithm": "SSEAlgorithm",
    "kmsMasterKeyId": "KMSMasterKeyID",
    "blockedEncryptionTypes": "",
}


def _lifecycle(rule: Mapping[str, Any]) -> Json:
    body: Json = {"Id": rule["id"], "Status": rule["status"]}
    if rule.get("filter"):
        body["Prefix"] = rule["filter"]["prefix"]
    if "expiration" in rule:
        expiration = rule["expiration"]
        body |= {"ExpirationInDays": expiration["days"]} if "days" in expiration else {}
        body |= {"ExpiredObjectDeleteMarker": True} if expiration.get("expiredObjectDeleteMarker") else {}
    if "noncurrentVersionExpiration" in rule:
        body["NoncurrentVersionExpiration"] = pascal(rule["noncurrentVersionExpiration"], {})
    if "abortIncompleteMultipartUpload" in rule:
        body["AbortIncompleteMultipartUpload"] = pascal(rule["abortIncompleteMultipartUpload"], {})
    if "transitions" in rule:
        body["Transitions"] = pascal(rule["transitions"], {"days": "TransitionInDays"})
    return body


def template(graph: Graph, only: Iterable[str] | None = None) -> tuple[Json, dict[str, str]]:
    """Return a template, and the URN of each of its resources.

    Args:
        graph: What was registered.
        only: URNs to translate, with what is folded into them; everything, if it is not given.
    """
    wanted = None if only is None else set(only)
    resources: dict[str, Json] = {}
    urns: dict[str, str] = {}
    places: dict[str, str] = {}
    for resource in graph.custom:
        if resource.type not in KINDS:
            continue
        key = f"{resource.type.rpartition(':')[2]}{len(resources)}"
        resources[key] = {"Type": KINDS[resource.type].type, "Properties": translated(resource)}
        urns[key] = resource.urn
        for name in {resource.id, resource.outputs.get("name"), resource.outputs.get("bucket"), resource.inputs.get("principalArn")}:
            if name and resource.type in _OWNERS:
                places[f"{resource.type} {name}"] = key
    touched = {key for key, urn in urns.items() if wanted is None or urn in wanted}
    for resource in graph.custom:
        if resource.type not in FOLDED:
            continue
        by, name = FOLDED[resource.type]
        owner = next(
            (places[f"{kind} {resource.inputs.get(by)}"] for kind in _OWNERS if f"{kind} {resource.inputs.get(by)}" in places), None
        )
        if owner is None:
            continue
        if wanted is not None and resource.urn in wanted:
            touched.add(owner)
        properties, value = resources[owner]["Properties"], _fold(resource)
        properties[name] = [*properties.get(name, []), *value] if isinstance(value, list) else value
    return {"AWSTemplateFormatVersion": "2010-09-09", "Resources": {key: resources[key] for key in resources if key in touched}}, urns


_OWNERS: Final = (
    "aws:cloudwatch/eventRule:EventRule",
    "aws:ecr/repository:Repository",
    "aws:eks/accessEntry:AccessEntry",
    "aws:iam/role:Role",
    "aws:s3/bucket:Bucket",
    "aws:secretsmanager/secret:Secret",
)


def translated(resource: Resource) -> Json:
    """Return the properties of a resource as CloudFormation has them."""
    kind = KINDS[resource.type]
    properties: Json = pascal(dict(resource.inputs), kind.names)
    for name in kind.documents:
        if isinstance(properties.get(name), str):
            properties[name] = json.loads(properties[name])
    return kind.mend(properties, resource)


def coverage(graph: Graph) -> tuple[int, int, list[str]]:
    """Return how many resources are read by cfn-lint, how many there are, and the types that have no translation."""
    resources = list(graph.custom)
    covered = [resource for resource in resources if resource.type in KINDS or resource.type in FOLDED]
    return len(covered), len(resources), sorted({resource.type for resource in resources} - set(KINDS) - set(FOLDED))
