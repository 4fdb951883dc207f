"""IAM policy documents from typed statements.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import pulumi

type Condition = Mapping[str, Mapping[str, pulumi.Input[Any]]]
"""By operator and key, such as ``{"StringEquals": {"aws:SourceAccount": "111122223333"}}``."""


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement of a policy."""

    actions: Sequence[str]
    resources: Sequence[pulumi.Input[str]] = ()
    """Empty in trust policies alone."""
    conditions: Condition = field(default_factory=dict[str, Mapping[str, pulumi.Input[Any]]])
    principals: Mapping[str, pulumi.Input[Any]] = field(default_factory=dict[str, pulumi.Input[Any]])
    """By kind (``Service``, ``AWS``, ``Federated``); in trust and resource policies."""
    effect: Literal["Allow", "Deny"] = "Allow"
    sid: str = ""

    def body(self) -> dict[str, Any]:
        """Return it as IAM reads it."""
        body: dict[str, Any] = {"Effect": self.effect, "Action": list(self.actions)}
        if self.sid:
            body["Sid"] = self.sid
        if self.principals:
            body["Principal"] = "*" if dict(self.principals) == {"*": "*"} else dict(self.principals)
        if self.resources:
            body["Resource"] = list(self.resources)
        if self.conditions:
            body["Condition"] = {operator: dict(keys) for operator, keys in self.conditions.items()}
        return body


def document(*statements: Statement) -> pulumi.Output[str]:
    """Return a policy as JSON."""
    return pulumi.Output.json_dumps({"Version": "2012-10-17", "Statement": [statement.body() for statement in statements]})


def service_trust(service: str, *, account: str = "") -> pulumi.Output[str]:
    """Return the trust policy of a role for an AWS service.

    Args:
        service: Such as ``rds.amazonaws.com``.
        account: Lets the service act for resources of this account alone (the confused deputy).
    """
    conditions = {"StringEquals": {"aws:SourceAccount": account}} if account else {}
    return document(Statement(("sts:AssumeRole",), principals={"Service": service}, conditions=conditions))


def pod_trust(cluster: pulumi.Input[str], namespace: str, service_account: str) -> pulumi.Output[str]:
    """Return the trust policy of a role for one ServiceAccount, through EKS Pod Identity.

    https://docs.aws.amazon.com/eks/latest/userguide/pod-id-role.html
    """
    tags = {"eks-cluster-name": cluster, "kubernetes-namespace": namespace, "kubernetes-service-account": service_account}
    return document(
        Statement(
            ("sts:AssumeRole", "sts:TagSession"),
            principals={"Service": "pods.eks.amazonaws.com"},
            conditions={"StringEquals": {f"aws:RequestTag/{name}": value for name, value in tags.items()}},
        )
    )
