"""What the AWS Load Balancer Controller must be allowed for the chart's Ingress: target type `ip`, no WAF, no Cognito, no Shield.

Its own policy grants more, for features that the chart does not use:
https://kubernetes-sigs.github.io/aws-load-balancer-controller/latest/deploy/installation/
"""

from typing import TYPE_CHECKING

import pulumi

from infra.iam import Statement

if TYPE_CHECKING:
    from collections.abc import Mapping

CLUSTER_TAG = "elbv2.k8s.aws/cluster"


def load_balancer_statements(region: str, account: str, cluster: pulumi.Output[str], vpc_id: pulumi.Output[str]) -> tuple[Statement, ...]:
    """Return the statements. What the controller makes, it tags with the cluster's name, and it may touch nothing else.

    Args:
        region: Of the load balancers.
        account: Of the load balancers.
        cluster: The cluster's name.
        vpc_id: The VPC whose network interfaces' security groups it may open to a load balancer.
    """
    ec2 = f"arn:aws:ec2:{region}:{account}"
    balancing = f"arn:aws:elasticloadbalancing:{region}:{account}"
    mine: Mapping[str, pulumi.Input[str]] = {f"aws:ResourceTag/{CLUSTER_TAG}": cluster}
    asked: Mapping[str, pulumi.Input[str]] = {f"aws:RequestTag/{CLUSTER_TAG}": cluster}
    vpc_arn = vpc_id.apply(lambda id_: f"{ec2}:vpc/{id_}")
    balancers = [f"{balancing}:loadbalancer/app/*"]
    groups = [f"{balancing}:targetgroup/*"]
    listeners = [f"{balancing}:listener/app/*", f"{balancing}:listener-rule/app/*"]
    return (
        Statement(_READ, ["*"]),  # descriptions cannot be limited to a resource
        Statement(
            ("iam:CreateServiceLinkedRole",),
            [f"arn:aws:iam::{account}:role/aws-service-role/elasticloadbalancing.amazonaws.com/*"],
            {"StringEquals": {"iam:AWSServiceName": "elasticloadbalancing.amazonaws.com"}},
        ),
        Statement(("ec2:CreateSecurityGroup",), [vpc_arn]),
        Statement(("ec2:CreateSecurityGroup",), [f"{ec2}:security-group/*"], {"StringEquals": asked}),
        Statement(
            ("ec2:CreateTags",),
            [f"{ec2}:security-group/*"],
            {"StringEquals": {"ec2:CreateAction": "CreateSecurityGroup", **asked}},
        ),
        Statement(("ec2:CreateTags", "ec2:DeleteTags", "ec2:DeleteSecurityGroup"), [f"{ec2}:security-group/*"], {"StringEquals": mine}),
        # It also opens the pods' own security group to its load balancers, which is not its own.
        Statement(
            ("ec2:AuthorizeSecurityGroupIngress", "ec2:RevokeSecurityGroupIngress"),
            [f"{ec2}:security-group/*"],
            {"ArnEquals": {"ec2:Vpc": vpc_arn}},
        ),
        Statement(
            ("elasticloadbalancing:CreateLoadBalancer", "elasticloadbalancing:CreateTargetGroup"),
            [*balancers, *groups],
            {"StringEquals": asked},
        ),
        Statement(
            ("elasticloadbalancing:CreateListener", "elasticloadbalancing:CreateRule"),
            [*balancers, *listeners],
            {"StringEquals": mine},
        ),
        Statement(
            ("elasticloadbalancing:AddTags",),
            [*balancers, *groups, *listeners],
            {
                "StringEquals": {
                    "elasticloadbalancing:CreateAction": ["CreateTargetGroup", "CreateLoadBalancer", "CreateListener", "CreateRule"],
                    **asked,
                }
            },
        ),
        Statement(_CHANGE, [*balancers, *groups, *listeners], {"StringEquals": mine}),
    )


_READ = (
    "acm:DescribeCertificate",
    "acm:ListCertificates",
    "ec2:DescribeAccountAttributes",
    "ec2:DescribeAvailabilityZones",
    "ec2:DescribeInstances",
    "ec2:DescribeInternetGateways",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeRouteTables",
    "ec2:DescribeSecurityGroups",
    "ec2:DescribeSubnets",
    "ec2:DescribeTags",
    "ec2:DescribeVpcs",
    "ec2:GetSecurityGroupsForVpc",
    "elasticloadbalancing:DescribeCapacityReservation",
    "elasticloadbalancing:DescribeListenerAttributes",
    "elasticloadbalancing:DescribeListenerCertificates",
    "elasticloadbalancing:DescribeListeners",
    "elasticloadbalancing:DescribeLoadBalancerAttributes",
    "elasticloadbalancing:DescribeLoadBalancers",
    "elasticloadbalancing:DescribeRules",
    "elasticloadbalancing:DescribeSSLPolicies",
    "elasticloadbalancing:DescribeTags",
    "elasticloadbalancing:DescribeTargetGroupAttributes",
    "elasticloadbalancing:DescribeTargetGroups",
    "elasticloadbalancing:DescribeTargetHealth",
)

_CHANGE = (
    "elasticloadbalancing:AddListenerCertificates",
    "elasticloadbalancing:AddTags",
    "elasticloadbalancing:DeleteListener",
    "elasticloadbalancing:DeleteLoadBalancer",
    "elasticloadbalancing:DeleteRule",
    "elasticloadbalancing:DeleteTargetGroup",
    "elasticloadbalancing:DeregisterTargets",
    "elasticloadbalancing:ModifyListener",
    "elasticloadbalancing:ModifyListenerAttributes",
    "elasticloadbalancing:ModifyLoadBalancerAttributes",
    "elasticloadbalancing:ModifyRule",
    "elasticloadbalancing:ModifyTargetGroup",
    "elasticloadbalancing:ModifyTargetGroupAttributes",
    "elasticloadbalancing:RegisterTargets",
    "elasticloadbalancing:RemoveListenerCertificates",
    "elasticloadbalancing:RemoveTags",
    "elasticloadbalancing:SetIpAddressType",
    "elasticloadbalancing:SetRulePriorities",
    "elasticloadbalancing:SetSecurityGroups",
    "elasticloadbalancing:SetSubnets",
)
