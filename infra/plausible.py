"""What AWS would answer: ids, ARNs and endpoints of the form that each kind has, made of the resource's own URN, so always the same."""

import hashlib
import importlib
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, get_args, get_origin

import pulumi


@dataclass(frozen=True, slots=True)
class World:
    """Where a resource is made."""

    region: str
    account: str


@dataclass(frozen=True, slots=True)
class Made:
    """A resource that was made up."""

    id: str
    outputs: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _Thing:
    """What answers are made of."""

    name: str
    """Its physical name: the one asked for, or the logical one with a suffix."""
    digest: str
    inputs: Mapping[str, Any]
    world: World

    def arn(self, service: str, resource: str, *, region: bool = True, account: bool = True) -> str:
        where = self.world.region if region else ""
        return f"arn:aws:{service}:{where}:{self.world.account if account else ''}:{resource}"

    def host(self, *labels: str) -> str:
        return ".".join((*labels, self.world.region, "amazonaws.com"))


type _Answer = Callable[[_Thing], dict[str, Any]]

#: Kinds whose id is a prefix and 17 digits.
PREFIXES: Final = {
    "aws:ec2/eip:Eip": "eipalloc",
    "aws:ec2/flowLog:FlowLog": "fl",
    "aws:ec2/internetGateway:InternetGateway": "igw",
    "aws:ec2/launchTemplate:LaunchTemplate": "lt",
    "aws:ec2/natGateway:NatGateway": "nat",
    "aws:ec2/networkAcl:NetworkAcl": "acl",
    "aws:ec2/defaultSecurityGroup:DefaultSecurityGroup": "sg",
    "aws:ec2/routeTable:RouteTable": "rtb",
    "aws:ec2/routeTableAssociation:RouteTableAssociation": "rtbassoc",
    "aws:ec2/securityGroup:SecurityGroup": "sg",
    "aws:ec2/subnet:Subnet": "subnet",
    "aws:ec2/vpc:Vpc": "vpc",
    "aws:ec2/vpcEndpoint:VpcEndpoint": "vpce",
    "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule": "sgr",
    "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule": "sgr",
}
#: Kinds whose id is their ARN.
IDS_ARE_ARNS: Final = {
    "aws:acm/certificate:Certificate",
    "aws:iam/openIdConnectProvider:OpenIdConnectProvider",
    "aws:iam/policy:Policy",
    "aws:secretsmanager/secret:Secret",
    "aws:sns/topic:Topic",
}
#: ARNs that are not `arn:aws:<service>:<region>:<account>:<kind>/<name>`.
ARNS: Final[dict[str, Callable[[_Thing], str]]] = {
    "aws:acm/certificate:Certificate": lambda it: it.arn("acm", f"certificate/{_uuid(it)}"),
    "aws:cloudwatch/eventRule:EventRule": lambda it: it.arn("events", f"rule/{it.name}"),
    "aws:cloudwatch/logGroup:LogGroup": lambda it: it.arn("logs", f"log-group:{it.name}"),
    "aws:cloudwatch/metricAlarm:MetricAlarm": lambda it: it.arn("cloudwatch", f"alarm:{it.name}"),
    "aws:ecr/repository:Repository": lambda it: it.arn("ecr", f"repository/{it.name}"),
    "aws:eks/cluster:Cluster": lambda it: it.arn("eks", f"cluster/{it.name}"),
    "aws:elasticache/replicationGroup:ReplicationGroup": lambda it: it.arn("elasticache", f"replicationgroup:{it.name}"),
    "aws:iam/instanceProfile:InstanceProfile": lambda it: it.arn("iam", f"instance-profile/{it.name}", region=False),
    "aws:iam/openIdConnectProvider:OpenIdConnectProvider": lambda it: it.arn(
        "iam", f"oidc-provider/{it.inputs.get('url', '').removeprefix('https://')}", region=False
    ),
    "aws:iam/policy:Policy": lambda it: it.arn("iam", f"policy/{it.name}", region=False),
    "aws:iam/role:Role": lambda it: it.arn("iam", f"role/{it.name}", region=False),
    "aws:kms/key:Key": lambda it: it.arn("kms", f"key/{_uuid(it)}"),
    "aws:rds/instance:Instance": lambda it: it.arn("rds", f"db:{it.name}"),
    "aws:rds/proxy:Proxy": lambda it: it.arn("rds", f"db-proxy:prx-{it.digest[:17]}"),
    "aws:route53/zone:Zone": lambda it: f"arn:aws:route53:::hostedzone/{_zone(it)}",
    "aws:s3/bucket:Bucket": lambda it: f"arn:aws:s3:::{it.name}",
    "aws:secretsmanager/secret:Secret": lambda it: it.arn("secretsmanager", f"secret:{it.name}-{it.digest[:6]}"),
    "aws:sns/topic:Topic": lambda it: it.arn("sns", it.name),
    "aws:sqs/queue:Queue": lambda it: it.arn("sqs", it.name),
}


def _uuid(it: _Thing) -> str:
    return str(uuid.UUID(it.digest[:32]))


def _zone(it: _Thing) -> str:
    return f"Z{it.digest[:20].upper()}"


def _database(it: _Thing) -> dict[str, Any]:
    address = it.host(it.name, f"c{it.digest[:11]}").replace("amazonaws.com", "rds.amazonaws.com")
    port = it.inputs.get("port", 5432)
    secret = {"secretArn": it.arn("secretsmanager", f"secret:rds!db-{_uuid(it)}-{it.digest[:6]}"), "secretStatus": "active"}
    return {
        "address": address,
        "endpoint": f"{address}:{port}",
        "port": port,
        "identifier": it.name,
        "resourceId": f"db-{it.digest[:26].upper()}",
        "masterUserSecrets": [secret | {"kmsKeyId": it.inputs.get("masterUserSecretKmsKeyId", "")}],
    }


def _replication_group(it: _Thing) -> dict[str, Any]:
    host = f"{it.digest[:6]}.use1.cache.amazonaws.com"
    count = it.inputs.get("numCacheClusters", 1)
    return {
        "replicationGroupId": it.name,
        "primaryEndpointAddress": f"master.{it.name}.{host}",
        "readerEndpointAddress": f"replica.{it.name}.{host}",
        "memberClusters": [f"{it.name}-{number + 1:03}" for number in range(count)],
        "port": it.inputs.get("port", 6379),
    }


def _cluster(it: _Thing) -> dict[str, Any]:
    issuer = f"https://oidc.eks.{it.world.region}.amazonaws.com/id/{it.digest[:32].upper()}"
    return {
        "endpoint": f"https://{it.digest[:32].upper()}.gr7.{it.world.region}.eks.amazonaws.com",
        "certificateAuthority": {"data": "LS0tLS1CRUdJTi=="},
        "identities": [{"oidcs": [{"issuer": issuer}]}],
        "vpcConfig": {**it.inputs.get("vpcConfig", {}), "clusterSecurityGroupId": f"sg-{it.digest[17:34]}"},
    }


def _certificate(it: _Thing) -> dict[str, Any]:
    names = [it.inputs.get("domainName", ""), *it.inputs.get("subjectAlternativeNames", [])]
    return {
        "domainValidationOptions": [
            {
                "domainName": name,
                "resourceRecordName": f"_{it.digest[:32]}.{name}.",
                "resourceRecordType": "CNAME",
                "resourceRecordValue": f"_{it.digest[32:]}.acm-validations.aws.",
            }
            for name in names
        ]
    }


#: What else a kind answers.
ANSWERS: Final[dict[str, _Answer]] = {
    "aws:acm/certificate:Certificate": _certificate,
    "aws:ec2/launchTemplate:LaunchTemplate": lambda _: {"latestVersion": 1, "defaultVersion": 1},
    "aws:ec2/vpc:Vpc": lambda it: {"defaultSecurityGroupId": f"sg-{it.digest[17:34]}", "mainRouteTableId": f"rtb-{it.digest[17:34]}"},
    "aws:ec2/vpcEndpoint:VpcEndpoint": lambda it: {"prefixListId": f"pl-{it.digest[:8]}"},
    "aws:ecr/repository:Repository": lambda it: {
        "repositoryUrl": it.host(it.world.account, "dkr.ecr") + f"/{it.name}",
        "registryId": it.world.account,
    },
    "aws:eks/cluster:Cluster": _cluster,
    "aws:elasticache/replicationGroup:ReplicationGroup": _replication_group,
    "aws:kms/key:Key": lambda it: {"keyId": _uuid(it)},
    "aws:rds/instance:Instance": _database,
    "aws:rds/proxy:Proxy": lambda it: {"endpoint": it.host(f"{it.name}.proxy-{it.digest[:12]}").replace("amazonaws", "rds.amazonaws")},
    "aws:route53/record:Record": lambda it: {"fqdn": it.inputs.get("name", "").rstrip(".")},
    "aws:route53/zone:Zone": lambda it: {
        "zoneId": _zone(it),
        "nameServers": [f"ns-{number}.awsdns-{number:02}.{top}" for number, top in enumerate(("com", "net", "org", "co.uk"), start=1)],
    },
    "aws:s3/bucket:Bucket": lambda it: {
        "bucket": it.name,
        "bucketDomainName": f"{it.name}.s3.amazonaws.com",
        "bucketRegionalDomainName": it.host(it.name, "s3"),
    },
    "aws:sqs/queue:Queue": lambda it: {"url": f"https://{it.host('sqs')}/{it.world.account}/{it.name}"},
    "random:index/randomPassword:RandomPassword": lambda it: {"result": _password(it)},
    "random:index/randomId:RandomId": lambda it: {"hex": it.digest[:16]},
}
#: The input that is a resource's physical name, where it is not `name`.
NAMES: Final = {
    "aws:elasticache/replicationGroup:ReplicationGroup": "replicationGroupId",
    "aws:rds/instance:Instance": "identifier",
    "aws:s3/bucket:Bucket": "bucket",
}
#: What Pulumi puts before a name that it makes up.
NAME_PREFIXES: Final = {"aws:kms/alias:Alias": "alias/"}


def _password(it: _Thing) -> str:
    """Return what no other value contains, so that a leak is found by looking for it."""
    return (it.digest * 4)[: it.inputs.get("length", 32)]


def make(kind: str, name: str, inputs: Mapping[str, Any], *, urn: str, world: World) -> Made:
    """Return a resource as AWS would have made it.

    Args:
        kind: The type's token.
        name: The logical name.
        inputs: In camel case.
        urn: What the answer is derived from.
        world: Where it is made.
    """
    digest = hashlib.sha256(urn.encode()).hexdigest()
    physical = str(inputs.get(NAMES.get(kind, "name")) or f"{NAME_PREFIXES.get(kind, '')}{name}-{digest[:7]}")
    thing = _Thing(physical, digest, inputs, world)
    outputs: dict[str, Any] = {**_declared(kind, thing), "name": physical, "tagsAll": inputs.get("tags", {}), **inputs}
    if kind in ARNS or "arn" in outputs:
        outputs["arn"] = _arn(kind, thing)
    outputs |= ANSWERS.get(kind, lambda _: {})(thing)
    return Made(_id(kind, thing, outputs), outputs)


def _arn(kind: str, thing: _Thing) -> str:
    if kind in ARNS:
        return ARNS[kind](thing)
    service, _, resource = kind.split(":")[1].partition("/")
    return thing.arn(service, f"{resource.lower()}/{_id(kind, thing, {})}")


def _id(kind: str, thing: _Thing, outputs: Mapping[str, Any]) -> str:
    if kind in PREFIXES:
        return f"{PREFIXES[kind]}-{thing.digest[:17]}"
    if kind in IDS_ARE_ARNS:
        return outputs["arn"]
    chosen = {
        "aws:kms/key:Key": "keyId",
        "aws:rds/instance:Instance": "resourceId",
        "aws:route53/zone:Zone": "zoneId",
        "aws:sqs/queue:Queue": "url",
    }
    return outputs.get(chosen.get(kind, ""), thing.name)


def _declared(kind: str, thing: _Thing) -> dict[str, Any]:
    """Return something of the right type for every output that the SDK declares as always there: none is None by accident."""
    return {name: _example(wanted, f"{thing.name}-{name}") for name, wanted in _outputs(kind).items()} | {"region": thing.world.region}


def _example(wanted: Any, text: str) -> Any:
    if wanted is str:
        return text
    return [text] if wanted is list else wanted()


@cache
def _outputs(kind: str) -> dict[str, type]:
    """Return the outputs of a kind that are plain values or lists of text and never missing, by name in camel case."""
    found: dict[str, type] = {}
    for member in vars(_resource_class(kind)).values():
        name = getattr(getattr(member, "fget", None), "_pulumi_name", None)
        if name is None:
            continue
        (wanted,) = get_args(member.fget.__annotations__["return"])
        if wanted in {str, int, float, bool}:
            found[name] = wanted
        elif get_origin(wanted) is Sequence and get_args(wanted) == (str,):
            found[name] = list
    return found


def _resource_class(kind: str) -> type[pulumi.CustomResource]:
    """Return the SDK's class of a token such as ``aws:ec2/vpc:Vpc``."""
    package, module, name = kind.split(":")
    place = module.partition("/")[0]
    path = f"pulumi_{package}" + ("" if place == "index" else f".{place}")
    return getattr(importlib.import_module(path), name)
