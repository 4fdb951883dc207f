"""What AWS wants to be there first although no property says so, and what it refuses to delete.

A resource that refers to another waits for it anyway. These are the orders that a program has to spell out with `depends_on`, and that
a preview, a mock and a type checker know nothing of.
"""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final

from tests.infra.rehearsal.values import Values, plain

if TYPE_CHECKING:
    from tests.infra.rehearsal.world import World

NODES_NEED: Final = ("vpc-cni", "kube-proxy")
NEED_NODES: Final = ("coredns", "metrics-server", "aws-ebs-csi-driver", "external-dns")


class Unready(Exception):  # noqa: N818  # an answer, not an accident
    """AWS would refuse the call, or never finish it."""


def check(world: "World", token: str, inputs: Values) -> None:
    """Refuse what AWS would refuse to make, or would make and never call ready.

    Raises:
        Unready: with what is missing.
    """
    rule = RULES.get(token)
    missing = list(rule(world, inputs)) if rule else []
    if missing:
        raise Unready(f"{token}: {'; '.join(missing)}")


def check_update(world: "World", token: str, inputs: Values) -> None:
    """Refuse what AWS would refuse to change.

    Raises:
        Unready: with the reason.
    """
    if token != "aws:rds/instance:Instance" or inputs.get("replicateSourceDb"):
        return
    # RDS calls it DBUpgradeDependencyFailure. A replica of a newer version than its source is fine.
    databases = [plain(thing.inputs) for thing in world.of(token)]
    replicas = [one for one in databases if one.get("replicateSourceDb") == inputs["identifier"]]
    older = [str(one["identifier"]) for one in replicas if _version(one) < _version(inputs)]
    if older:
        raise Unready(f"{token}: read replicas need to be upgraded first: {', '.join(sorted(older))}")


def _version(database: Values) -> list[int]:
    return [int(part) for part in str(database.get("engineVersion", "0")).split(".")]


def check_deletion(token: str, inputs: Values) -> None:
    """Refuse what protects itself against deletion.

    Raises:
        Unready: with the reason.
    """
    if inputs.get("deletionProtection") is True or inputs.get("deletionProtectionEnabled") is True:
        raise Unready(f"{token}: deletion protection is on")
    needs_snapshot = token == "aws:rds/instance:Instance" and not inputs.get("replicateSourceDb") and not inputs.get("skipFinalSnapshot")
    if needs_snapshot and not inputs.get("finalSnapshotIdentifier"):
        raise Unready(f"{token}: finalSnapshotIdentifier is missing, and skipFinalSnapshot is not set")


def _attached(world: "World", role: str) -> set[str]:
    """Return the last parts of the ARNs of a role's policies, the role being told by name or ARN."""
    attachments = [plain(thing.inputs) for thing in world.of("aws:iam/rolePolicyAttachment:RolePolicyAttachment")]
    return {str(one["policyArn"]).rsplit("/", 1)[1] for one in attachments if str(one["role"]) == role.rsplit("/", 1)[-1]}


def _addons(world: "World", cluster: str) -> set[str]:
    things = [plain(thing.inputs) for thing in world.of("aws:eks/addon:Addon")]
    return {str(one["addonName"]) for one in things if one["clusterName"] == cluster}


def _leads_out(world: "World", subnet: str) -> bool:
    """Say whether a subnet's route table has a way out of the VPC."""
    associations = [plain(thing.inputs) for thing in world.of("aws:ec2/routeTableAssociation:RouteTableAssociation")]
    tables = {one["routeTableId"] for one in associations if one.get("subnetId") == subnet}
    routes = [plain(thing.inputs) for thing in world.of("aws:ec2/route:Route")]
    return any(one["routeTableId"] in tables and one.get("destinationCidrBlock") == "0.0.0.0/0" for one in routes)


def _cluster(world: "World", inputs: Values) -> Iterator[str]:
    if "AmazonEKSClusterPolicy" not in _attached(world, inputs["roleArn"]):
        yield "the role has no AmazonEKSClusterPolicy yet"
    groups = {plain(thing.outputs)["name"] for thing in world.of("aws:cloudwatch/logGroup:LogGroup")}
    if inputs.get("enabledClusterLogTypes") and f"/aws/eks/{inputs['name']}/cluster" not in groups:
        yield "its log group is not there yet, and EKS would make one without retention and key"


def _node_group(world: "World", inputs: Values) -> Iterator[str]:
    yield from (
        f"the add-on {name} is not there yet; nodes stay NotReady"
        for name in NODES_NEED
        if name not in _addons(world, inputs["clusterName"])
    )
    attached = _attached(world, inputs["nodeRoleArn"])
    if "AmazonEKSWorkerNodePolicy" not in attached:
        yield "the role has no AmazonEKSWorkerNodePolicy yet; nodes cannot join"
    if not any(policy.startswith("AmazonEC2ContainerRegistry") for policy in attached):
        yield "the role may not pull images yet"
    yield from (f"{subnet} has no way out yet; nodes cannot join" for subnet in inputs["subnetIds"] if not _leads_out(world, subnet))


def _addon(world: "World", inputs: Values) -> Iterator[str]:
    groups = [plain(thing.inputs) for thing in world.of("aws:eks/nodeGroup:NodeGroup")]
    if inputs["addonName"] in NEED_NODES and not any(one["clusterName"] == inputs["clusterName"] for one in groups):
        yield f"{inputs['addonName']} has no node to run on, and stays DEGRADED"


def _nat_gateway(world: "World", inputs: Values) -> Iterator[str]:
    vpc = next(plain(thing.outputs)["vpcId"] for thing in world.of("aws:ec2/subnet:Subnet") if thing.id == inputs["subnetId"])
    gateways = [plain(thing.outputs) for thing in world.of("aws:ec2/internetGateway:InternetGateway")]
    if not any(gateway.get("vpcId") == vpc for gateway in gateways):
        yield f"no internet gateway is attached to {vpc} yet"


def _replica(world: "World", inputs: Values) -> Iterator[str]:
    source = inputs.get("replicateSourceDb")
    databases = [thing for thing in world.of("aws:rds/instance:Instance") if source in thing.names]
    if source and not any(plain(database.inputs).get("backupRetentionPeriod") for database in databases):
        yield "the source has no backups"
    if any(plain(database.inputs).get("manageMasterUserPassword") for database in databases):
        yield "RDS manages the administrator's password of the source"


def _users(world: "World", inputs: Values) -> Iterator[str]:
    users = [plain(thing.inputs) for thing in world.of("aws:elasticache/user:User")]
    # Groups of Valkey need none: without it, a connection without a name is refused.
    if inputs["engine"] == "redis" and not any(
        user["userName"] == "default" and user["userId"] in inputs.get("userIds", []) for user in users
    ):
        yield "a group of Redis must have a user named `default`"


def _replication_group(_: "World", inputs: Values) -> Iterator[str]:
    if inputs.get("userGroupIds") and not inputs.get("transitEncryptionEnabled"):
        yield "users need encryption in transit"


RULES: Final[dict[str, Callable[["World", Values], Iterator[str]]]] = {
    "aws:ec2/natGateway:NatGateway": _nat_gateway,
    "aws:eks/addon:Addon": _addon,
    "aws:eks/cluster:Cluster": _cluster,
    "aws:eks/nodeGroup:NodeGroup": _node_group,
    "aws:elasticache/replicationGroup:ReplicationGroup": _replication_group,
    "aws:elasticache/userGroup:UserGroup": _users,
    "aws:rds/instance:Instance": _replica,
}
