"""What the engine keeps: protection, names, secrets, owners."""

import json
import re
from collections.abc import Iterator
from typing import Final

from infra.policies.base import STATEFUL, Properties, at
from infra.registrations import PROVIDER_PREFIX, Graph

RANDOM: Final = "random:index/randomPassword:RandomPassword"
SECRET_INPUTS: Final = {
    "aws:elasticache/user:User": ("passwords", "authenticationMode.passwords"),
    "aws:rds/instance:Instance": ("password",),
    "aws:secretsmanager/secretVersion:SecretVersion": ("secretString",),
    "aws:ssm/parameter:Parameter": ("value",),
}
TAGS: Final = ("project", "stage", "owner", "managed-by")
NAMED: Final = {
    "aws:cloudwatch/logGroup:LogGroup": "its writer decides the name",
    "aws:ecr/repository:Repository": "workflows push to it",
    "aws:eks/cluster:Cluster": "tags of subnets name it before it is there",
    "aws:rds/instance:Instance": "its log groups are made before it",
    "aws:route53/record:Record": "a record is its name",
    "aws:route53/zone:Zone": "a zone is its name",
    "aws:secretsmanager/secret:Secret": "the chart refers to it",
}
"""Types that may have a fixed physical name, and why."""
REGIONS: Final = re.compile(r"arn:aws:[a-z0-9-]+:([a-z]{2}(?:-[a-z]+)+-\d):|com\.amazonaws\.([a-z]{2}(?:-[a-z]+)+-\d)\.")
NAME_INPUTS: Final = ("name", "bucket", "identifier", "replicationGroupId", "clusterIdentifier", "nodeGroupName", "launchTemplateName")


def stateful_is_protected(graph: Graph, production: bool) -> Iterator[tuple[str, str]]:
    """The engine refuses to delete or replace what is protected; in production it even leaves it where the stack is destroyed."""
    for resource in graph.of(*STATEFUL):
        lost = STATEFUL[resource.type]
        if "replicateSourceDb" in resource.inputs:
            continue  # it holds a copy
        if not resource.protect and not _disposable(resource.type, resource.name):
            yield resource.urn, f"can be deleted or replaced by a run, and {lost} with it; set protect in its options."
        elif production and resource.protect and not resource.retain_on_delete:
            yield resource.urn, "would be deleted with the stack once its protection is lifted; set retain_on_delete in production."


def _disposable(kind: str, name: str) -> bool:
    """Tell whether nothing is lost with it: a cache fills again, and alarms are not kept."""
    return (kind.endswith(":ReplicationGroup") and "broker" not in name) or (kind.endswith(":Key") and name == "alarms")


def names_are_left_to_pulumi(kind: str, properties: Properties, _: bool) -> Iterator[str]:
    """A resource with a fixed name cannot be made anew while the old one is still there."""
    if kind in NAMED or not kind.startswith("aws:"):
        return
    for name in NAME_INPUTS:
        if name not in properties or (name == "bucket" and kind != "aws:s3/bucket:Bucket"):
            continue
        yield f"has the fixed name {properties[name]}, and could not be replaced while it is there; leave {name} to Pulumi."


def secrets_are_secret(graph: Graph, _: bool) -> Iterator[tuple[str, str]]:
    """What is secret is marked: then the engine encrypts it in the state, and shows it nowhere."""
    values = {str(made.outputs["result"]) for made in graph.of(RANDOM)}
    for resource in graph.custom:
        for path in SECRET_INPUTS.get(resource.type, ()):
            if at(resource.inputs, path) is not None and not any(secret.startswith(path.partition(".")[0]) for secret in resource.secrets):
                yield resource.urn, f"has {path} in plain, and the state with it; give it a secret Output."
        for name, value in resource.inputs.items():
            text = json.dumps(value)
            if any(secret in text for secret in values) and not any(_covers(secret, name) for secret in resource.secrets):
                yield resource.urn, f"has a password in {name} in plain; give it a secret Output, or leave it out."
    for name, value in graph.exports.items():
        if any(secret in json.dumps(value) for secret in values) or any(_covers(path, name) for path in graph.secret_exports):
            yield "", f"hands out a secret in its output {name}, for all who may read the stack; leave it out."


def _covers(path: str, name: str) -> bool:
    return path == name or path.startswith((f"{name}.", f"{name}["))


def passwords_are_strong(kind: str, properties: Properties, _: bool) -> Iterator[str]:
    """Nobody types them."""
    if kind == RANDOM and properties.get("length", 0) < 24:  # noqa: PLR2004  # 140 bits of letters and digits
        yield "is shorter than it need be; set length to 32."


def outputs_are_not_text(graph: Graph, _: bool) -> Iterator[tuple[str, str]]:
    """An Output in an f-string becomes a sentence about itself, and nobody notices before AWS does."""
    marks = ("Calling __str__ on an Output", "pulumi.output.Output object", "Output[T]")
    for resource in graph.resources:
        if any(mark in json.dumps(resource.inputs) for mark in marks):
            yield resource.urn, "has an Output turned into text; use apply, Output.concat or Output.format."
    if any(mark in json.dumps(graph.exports) for mark in marks):
        yield "", "has an Output turned into text in its exports; use apply."


def outputs_are_there(graph: Graph, _: bool) -> Iterator[tuple[str, str]]:
    """An argument that waits for a resource and gets nothing from it: the wrong output was asked for."""
    for kind, name, argument in sorted(graph.gaps):
        for resource in (it for it in graph.of(kind) if it.name == name):
            yield resource.urn, f"is given an output for {argument} that is None; ask for another, or leave the argument out."


def regions_agree(graph: Graph, _: bool) -> Iterator[tuple[str, str]]:
    """An ARN or a service of another region than the stage's: copied, and not changed."""
    (home,) = {provider.inputs.get("region") for provider in graph.of(f"{PROVIDER_PREFIX}aws") if provider.name == "aws"} or {""}
    for resource in graph.custom:
        for region in sorted({found.group(1) or found.group(2) for found in REGIONS.finditer(json.dumps(resource.inputs))} - {home}):
            yield resource.urn, f"names something in {region}, and the stage is in {home}; mend the region."


def provider_is_ours(graph: Graph, _: bool) -> Iterator[tuple[str, str]]:
    """One provider, bound to the account and region, that tags everything."""
    for resource in graph.custom:
        if resource.type.startswith("aws:") and resource.provider not in graph:
            yield resource.urn, "is made by the default provider, in whichever account and region; hand down the explicit one."
    for provider in graph.of(f"{PROVIDER_PREFIX}aws"):
        if not provider.inputs.get("allowedAccountIds"):
            yield provider.urn, "works in any account; set allowed_account_ids."
        tags = json.loads(provider.inputs.get("defaultTags", "{}")).get("tags", {})
        if missing := [tag for tag in TAGS if not tags.get(tag)]:
            yield provider.urn, f"does not tag with {', '.join(missing)}; add to default_tags."


def everything_has_an_owner(graph: Graph, _: bool) -> Iterator[tuple[str, str]]:
    """A resource is a part of a component, so that its URN says what it is for."""
    for resource in graph.custom:
        if resource.parent not in graph:
            yield resource.urn, "is a part of nothing; give it its component as parent."


def aliases_lead_somewhere(graph: Graph, _: bool) -> Iterator[tuple[str, str]]:
    """Two resources that claim to have been the same one."""
    seen: set[str] = set()
    for resource in graph.resources:
        for alias in resource.aliases:
            if alias in graph or alias in seen:
                yield resource.urn, f"has the alias {alias}, which is another resource; remove it."
            seen.add(alias)
