"""What Karpenter needs to be there before the bootstrap runbook installs it: its role, the nodes' role, and a queue of interruptions."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from infra import iam, karpenter_policy
from infra.iam import Statement

NAMESPACE = "kube-system"
SERVICE_ACCOUNT = "karpenter"
#: Seconds. A warning of an interruption is two minutes' notice: what is older is of no use.
RETENTION = 300

#: Source and kind of the events that tell of a node's end, by name.
EVENTS = {
    "health": ("aws.health", "AWS Health Event"),
    "spot": ("aws.ec2", "EC2 Spot Instance Interruption Warning"),
    "rebalance": ("aws.ec2", "EC2 Instance Rebalance Recommendation"),
    "state": ("aws.ec2", "EC2 Instance State-change Notification"),
    "reservation": ("aws.ec2", "EC2 Capacity Reservation Instance Interruption Warning"),
}


@dataclass(frozen=True, slots=True)
class KarpenterArgs:
    """Which cluster it is for."""

    account: str
    region: str
    cluster: str
    """The cluster's name, part of the names of tags: known before the cluster is."""
    cluster_name: pulumi.Output[str]
    """The same, when the cluster is there."""
    node_policies: Sequence[str]
    """ARNs of what a node may do."""


class Karpenter(pulumi.ComponentResource):
    """A node that is about to be taken away is drained first, and nodes are started by nobody else's role."""

    def __init__(self, name: str, args: KarpenterArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("platform:infra:Karpenter", name, None, opts)
        self._args = args
        self.queue: aws.sqs.Queue = self._queue()
        self.node_role: aws.iam.Role = self._node_role()
        self._controller()
        self.register_outputs({})

    def _child(self, *depends_on: pulumi.Resource) -> pulumi.ResourceOptions:
        return pulumi.ResourceOptions(parent=self, depends_on=list(depends_on))

    def _queue(self) -> aws.sqs.Queue:
        # Encrypted by the queue's own key: it carries ids of instances, and EventBridge would need a say over a key of ours.
        queue = aws.sqs.Queue("interruptions", message_retention_seconds=RETENTION, sqs_managed_sse_enabled=True, opts=self._child())
        rules = {
            name: aws.cloudwatch.EventRule(
                f"interruptions-{name}",
                description=f"{kind}: to Karpenter of {self._args.cluster}",
                event_pattern=json.dumps({"source": [source], "detail-type": [kind]}),
                opts=self._child(),
            )
            for name, (source, kind) in EVENTS.items()
        }
        senders = {"ArnEquals": {"aws:SourceArn": [rule.arn for rule in rules.values()]}}
        policy = aws.sqs.QueuePolicy(
            "interruptions",
            queue_url=queue.url,
            policy=iam.document(
                Statement(("sqs:SendMessage",), [queue.arn], senders, {"Service": "events.amazonaws.com"}, sid="Rules"),
                Statement(("sqs:*",), [queue.arn], {"Bool": {"aws:SecureTransport": "false"}}, {"*": "*"}, effect="Deny", sid="TlsOnly"),
            ),
            opts=self._child(),
        )
        for name, rule in rules.items():
            # An event that the queue does not let in yet is lost.
            aws.cloudwatch.EventTarget(f"interruptions-{name}", rule=rule.name, arn=queue.arn, opts=self._child(policy))
        return queue

    def _node_role(self) -> aws.iam.Role:
        """Make a role apart from the system nodes': a node group of EKS registers and removes the access entry of its own by itself."""
        args = self._args
        role = aws.iam.Role(
            "karpenter-node",
            assume_role_policy=iam.service_trust("ec2.amazonaws.com"),
            description=f"Nodes that Karpenter starts in {args.cluster}",
            opts=self._child(),
        )
        for policy in args.node_policies:
            name = f"karpenter-node-{policy.rsplit('/', 1)[-1]}"
            aws.iam.RolePolicyAttachment(name, role=role.name, policy_arn=policy, opts=pulumi.ResourceOptions(parent=role))
        aws.eks.AccessEntry("karpenter-node", cluster_name=args.cluster_name, principal_arn=role.arn, type="EC2_LINUX", opts=self._child())
        return role

    def _controller(self) -> None:
        args = self._args
        where = (args.region, args.account, args.cluster)
        role = aws.iam.Role(
            "karpenter",
            assume_role_policy=iam.pod_trust(args.cluster, NAMESPACE, SERVICE_ACCOUNT),
            description=f"ServiceAccount {NAMESPACE}/{SERVICE_ACCOUNT}",
            opts=self._child(),
        )
        documents = {
            "nodes": karpenter_policy.node_statements(*where),
            "profiles": karpenter_policy.profile_statements(*where, self.node_role.arn),
            "reading": karpenter_policy.reading_statements(*where, self.queue.arn),
        }
        policies = [
            aws.iam.RolePolicy(
                f"karpenter-{name}", role=role.id, policy=iam.document(*statements), opts=pulumi.ResourceOptions(parent=role)
            )
            for name, statements in documents.items()
        ]
        aws.eks.PodIdentityAssociation(
            "karpenter",
            cluster_name=args.cluster_name,
            namespace=NAMESPACE,
            service_account=SERVICE_ACCOUNT,
            role_arn=role.arn,
            opts=self._child(*policies),
        )
