"""What Karpenter's controller may do: start, tag and end the instances of one cluster, and nothing that it did not start.

After the policies of Karpenter's own CloudFormation template, without those of features that are switched off (zonal shift).
https://karpenter.sh/docs/reference/cloudformation/
"""

from collections.abc import Sequence

import pulumi

from infra.iam import Statement

POOL = "karpenter.sh/nodepool"
CLASS = "karpenter.k8s.aws/ec2nodeclass"
REGION = "topology.kubernetes.io/region"
CLUSTER = "eks:eks-cluster-name"


def node_statements(region: str, account: str, cluster: str) -> Sequence[Statement]:
    """Return what concerns instances.

    Args:
        region: Where the cluster is.
        account: Whose it is.
        cluster: Its name, which is part of the tags that say what is Karpenter's.
    """
    owned = f"kubernetes.io/cluster/{cluster}"
    mine = {"StringEquals": {f"aws:ResourceTag/{owned}": "owned"}, "StringLike": {f"aws:ResourceTag/{POOL}": "*"}}
    asked = {f"aws:RequestTag/{owned}": "owned", f"aws:RequestTag/{CLUSTER}": cluster}
    pool = {f"aws:RequestTag/{POOL}": "*"}
    started = [
        f"arn:aws:ec2:{region}:{account}:{kind}/*"
        for kind in ("fleet", "instance", "volume", "network-interface", "launch-template", "spot-instances-request")
    ]
    ingredients = [
        *(f"arn:aws:ec2:{region}::{kind}/*" for kind in ("image", "snapshot")),  # AWS's own have no account
        *(f"arn:aws:ec2:{region}:{account}:{kind}/*" for kind in ("security-group", "subnet", "capacity-reservation", "placement-group")),
    ]
    instances = f"arn:aws:ec2:{region}:{account}:instance/*"
    templates = f"arn:aws:ec2:{region}:{account}:launch-template/*"
    return (
        Statement(("ec2:RunInstances", "ec2:CreateFleet"), ingredients, sid="Ingredients"),
        Statement(("ec2:RunInstances", "ec2:CreateFleet"), [templates], mine, sid="OwnTemplates"),
        Statement(
            ("ec2:RunInstances", "ec2:CreateFleet", "ec2:CreateLaunchTemplate"),
            started,
            {"StringEquals": asked, "StringLike": pool},
            sid="Start",
        ),
        Statement(
            ("ec2:CreateTags",),
            started,
            {
                "StringEquals": {**asked, "ec2:CreateAction": ["RunInstances", "CreateFleet", "CreateLaunchTemplate"]},
                "StringLike": pool,
            },
            sid="TagAtStart",
        ),
        Statement(
            ("ec2:CreateTags",),
            [instances],
            {
                **mine,
                "StringEqualsIfExists": {f"aws:RequestTag/{CLUSTER}": cluster},
                "ForAllValues:StringEquals": {"aws:TagKeys": [CLUSTER, "karpenter.sh/nodeclaim", "Name"]},
            },
            sid="TagLater",
        ),
        Statement(("ec2:TerminateInstances", "ec2:DeleteLaunchTemplate"), [instances, templates], mine, sid="End"),
    )


def profile_statements(region: str, account: str, cluster: str, node_role: pulumi.Input[str]) -> Sequence[Statement]:
    """Return what concerns instance profiles: made of one role alone, so that Karpenter cannot give a node more than that.

    Args:
        region: Where the cluster is.
        account: Whose it is.
        cluster: Its name.
        node_role: ARN of the role of nodes.
    """
    profiles = [f"arn:aws:iam::{account}:instance-profile/*"]
    tags = {f"kubernetes.io/cluster/{cluster}": "owned", REGION: region}
    asked = {f"aws:RequestTag/{key}": value for key, value in {**tags, CLUSTER: cluster}.items()}
    own = {f"aws:ResourceTag/{key}": value for key, value in tags.items()}
    return (
        Statement(("iam:PassRole",), [node_role], {"StringEquals": {"iam:PassedToService": "ec2.amazonaws.com"}}, sid="PassNodeRole"),
        Statement(
            ("iam:CreateInstanceProfile",),
            profiles,
            {"StringEquals": asked, "StringLike": {f"aws:RequestTag/{CLASS}": "*"}},
            sid="MakeProfile",
        ),
        Statement(
            ("iam:TagInstanceProfile",),
            profiles,
            {
                "StringEquals": {**own, **asked},
                "StringLike": {f"aws:ResourceTag/{CLASS}": "*", f"aws:RequestTag/{CLASS}": "*"},
            },
            sid="TagProfile",
        ),
        Statement(
            ("iam:AddRoleToInstanceProfile", "iam:RemoveRoleFromInstanceProfile", "iam:DeleteInstanceProfile"),
            profiles,
            {"StringEquals": own, "StringLike": {f"aws:ResourceTag/{CLASS}": "*"}},
            sid="ChangeProfile",
        ),
        Statement(("iam:GetInstanceProfile",), profiles, sid="ReadProfile"),
        Statement(("iam:ListInstanceProfiles",), ["*"], sid="ListProfiles"),  # cannot be limited
    )


def reading_statements(region: str, account: str, cluster: str, queue: pulumi.Input[str]) -> Sequence[Statement]:
    """Return what concerns knowing: the market, the cluster, and what EC2 is about to take away.

    Args:
        region: Where the cluster is.
        account: Whose it is.
        cluster: Its name.
        queue: ARN of the queue of interruptions.
    """
    described = (
        *("CapacityReservations", "Images", "InstanceStatus", "InstanceTypeOfferings", "InstanceTypes", "Instances", "LaunchTemplates"),
        *("PlacementGroups", "SecurityGroups", "SpotPriceHistory", "Subnets"),
    )
    return (
        # None of them can be limited to resources.
        Statement(
            tuple(f"ec2:Describe{what}" for what in described),
            ["*"],
            {"StringEquals": {"aws:RequestedRegion": region}},
            sid="Describe",
        ),
        Statement(("pricing:GetProducts",), ["*"], sid="Prices"),  # cannot be limited
        Statement(("ssm:GetParameter",), [f"arn:aws:ssm:{region}::parameter/aws/service/*"], sid="Images"),
        Statement(("eks:DescribeCluster",), [f"arn:aws:eks:{region}:{account}:cluster/{cluster}"], sid="Cluster"),
        Statement(("sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueUrl"), [queue], sid="Interruptions"),
    )
