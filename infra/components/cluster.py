"""EKS: the control plane, who may speak to it, its system nodes and its add-ons."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_aws as aws

from infra import iam
from infra.components.karpenter import Karpenter, KarpenterArgs
from infra.config import ClusterConfig

AWS_POLICY = "arn:aws:iam::aws:policy"
ACCESS_POLICY = "arn:aws:eks::aws:cluster-access-policy"
#: GiB: images, containers' layers and logs. AWS's default of 20 fills up with a few versions of images.
NODE_DISK = 50
#: What any node may do: join, pull images, and be opened a session on, which is the only way in without SSH and without a public address.
#: Attaching addresses is not among it: the VPC CNI has a role of its own.
NODE_POLICIES = (
    f"{AWS_POLICY}/AmazonEKSWorkerNodePolicy",
    f"{AWS_POLICY}/AmazonEC2ContainerRegistryPullOnly",
    f"{AWS_POLICY}/AmazonSSMManagedInstanceCore",
)
#: Values of the VPC CNI are text. Without network policies the chart's would be accepted and not enforced; with prefixes of 16 addresses a
#: small node carries 110 pods instead of 29, and asks EC2 for addresses less often.
CNI = {"enableNetworkPolicy": "true", "env": {"ENABLE_PREFIX_DELEGATION": "true", "WARM_PREFIX_TARGET": "1"}}


@dataclass(frozen=True, slots=True)
class ClusterArgs:
    """What the cluster needs."""

    config: ClusterConfig
    name: str
    """The cluster's name. It is given, not made up: the log group is named after it, and made before it."""
    account: str
    region: str
    tags: Mapping[str, str]
    """For instances and volumes, which Auto Scaling starts: the provider's default tags do not reach them."""
    private_subnet_ids: Sequence[pulumi.Output[str]]
    egress: Sequence[pulumi.Resource]
    """Routes and endpoints that a node needs to become ready."""
    cluster_key_arn: pulumi.Output[str]
    """Encrypts Kubernetes secrets and nodes' volumes."""
    logs_key_arn: pulumi.Output[str]


class Cluster(pulumi.ComponentResource):
    """A control plane and the nodes that carry what must run before Karpenter does.

    Versions of add-ons are left to EKS, which chooses its default for the cluster's version when it makes them and changes them no more:
    a pin here would have to be known for every version of Kubernetes, and the runbook of upgrades moves them after the control plane.
    """

    def __init__(self, name: str, args: ClusterArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("platform:infra:Cluster", name, None, opts)
        self._args = args
        self.cluster: aws.eks.Cluster = self._control_plane()
        self.name: pulumi.Output[str] = self.cluster.name
        self.arn: pulumi.Output[str] = self.cluster.arn
        #: EKS makes it and gives it to its own interfaces and to managed nodes. The VPC CNI puts pods on the nodes' interfaces, so they
        #: carry it as well: what lets it in lets pods in. Karpenter's nodes are given it by their EC2NodeClass.
        self.pod_security_group_id: pulumi.Output[str] = self.cluster.vpc_config.cluster_security_group_id
        self._people()
        # The agent gives the CNI its credentials, so it comes first; both wait as DaemonSets until there are nodes.
        agent = self._addon("eks-pod-identity-agent")
        cni = self._addon("vpc-cni", agent, values=CNI, account="aws-node", policy=f"{AWS_POLICY}/AmazonEKS_CNI_Policy")
        proxy = self._addon("kube-proxy")
        self.nodes: aws.eks.NodeGroup = self._system_nodes(cni, proxy)
        # Deployments: EKS waits for their pods, so they come after what pods can run on.
        self._addon("coredns", self.nodes)
        self._addon("metrics-server", self.nodes)
        driver = f"{AWS_POLICY}/service-role/AmazonEBSCSIDriverPolicy"
        self._addon("aws-ebs-csi-driver", self.nodes, account="ebs-csi-controller-sa", policy=driver)
        karpenter = Karpenter(
            "karpenter",
            KarpenterArgs(account=args.account, region=args.region, cluster=args.name, cluster_name=self.name, node_policies=NODE_POLICIES),
            self._child(),
        )
        self.node_role_name: pulumi.Output[str] = karpenter.node_role.name
        self.karpenter_queue: pulumi.Output[str] = karpenter.queue.name
        self.register_outputs({})

    def add_external_dns(self, zone: str, association: pulumi.Resource) -> aws.eks.Addon:
        """Install external-dns.

        Args:
            zone: Domain that it may write to.
            association: What gives its ServiceAccount a role. A pod that started before would never get it.
        """
        values = {
            "sources": ["ingress"],
            "domainFilters": [zone],
            # Records that nothing asks for any more are removed: one that stays points to whoever gets the address next.
            "policy": "sync",
            # Marks what it made, so that it removes nothing else.
            "registry": "txt",
            "txtOwnerId": self._args.name,
        }
        return self._addon("external-dns", self.nodes, association, values=values)

    def _child(self, *depends_on: pulumi.Resource) -> pulumi.ResourceOptions:
        return pulumi.ResourceOptions(parent=self, depends_on=list(depends_on))

    def _control_plane(self) -> aws.eks.Cluster:
        args, config = self._args, self._args.config
        # EKS would make it by itself, without a key and kept for ever.
        logs = aws.cloudwatch.LogGroup(
            "control-plane",
            name=f"/aws/eks/{args.name}/cluster",
            retention_in_days=config.log_days,
            kms_key_id=args.logs_key_arn,
            opts=self._child(),
        )
        role, policies = self._role("cluster", iam.service_trust("eks.amazonaws.com", account=args.account), ["AmazonEKSClusterPolicy"])
        return aws.eks.Cluster(
            "cluster",
            name=args.name,
            version=config.version,
            role_arn=role.arn,
            # Extended support costs six times as much; with this, AWS upgrades a forgotten cluster instead.
            upgrade_policy={"support_type": "STANDARD"},
            access_config={
                "authentication_mode": "API",
                # Or whoever creates the cluster would stay its administrator, in no list.
                "bootstrap_cluster_creator_admin_permissions": False,
            },
            bootstrap_self_managed_addons=False,  # they are add-ons of EKS here, which it can upgrade
            enabled_cluster_log_types=["api", "audit", "authenticator", "controllerManager", "scheduler"],
            encryption_config={"provider": {"key_arn": args.cluster_key_arn}, "resources": ["secrets"]},
            kubernetes_network_config={"ip_family": "ipv4", "service_ipv4_cidr": str(config.service_cidr)},
            vpc_config=aws.eks.ClusterVpcConfigArgs(
                subnet_ids=list(args.private_subnet_ids),
                endpoint_private_access=True,  # nodes never leave the VPC to reach it
                endpoint_public_access=bool(config.public_cidrs),
                # Left out if there are none: AWS takes an empty list for the whole internet.
                public_access_cidrs=[str(cidr) for cidr in config.public_cidrs] or None,
            ),
            deletion_protection=True,
            # Replaced, everything that runs in it would be gone.
            opts=pulumi.ResourceOptions(parent=self, depends_on=[logs, *policies], protect=True),
        )

    def _people(self) -> None:
        groups = {
            "administrator": (self._args.config.administrators, "AmazonEKSClusterAdminPolicy"),
            "viewer": (self._args.config.viewers, "AmazonEKSViewPolicy"),  # no secrets
        }
        for group, (roles, policy) in groups.items():
            for arn in roles:
                key = f"{group}-{arn.rsplit('/', 1)[-1]}"  # not by place: a list that loses its first would replace the others
                entry = aws.eks.AccessEntry(key, cluster_name=self.name, principal_arn=arn, opts=self._child())
                aws.eks.AccessPolicyAssociation(
                    key,
                    cluster_name=self.name,
                    principal_arn=arn,
                    policy_arn=f"{ACCESS_POLICY}/{policy}",
                    access_scope={"type": "cluster"},
                    opts=self._child(entry),
                )

    def _addon(
        self,
        addon: str,
        *after: pulumi.Resource,
        values: Mapping[str, Any] | None = None,
        account: str = "",
        policy: str = "",
    ) -> aws.eks.Addon:
        """Install an add-on.

        Args:
            addon: Its name at EKS.
            after: What must be there before.
            values: Its configuration.
            account: Its ServiceAccount in `kube-system`, if it calls AWS.
            policy: ARN of what the account may do.
        """
        before = list(after)
        associations: list[aws.eks.AddonPodIdentityAssociationArgs] = []
        if account:
            role, policies = self._role(addon, iam.pod_trust(self._args.name, "kube-system", account), [policy])
            associations = [aws.eks.AddonPodIdentityAssociationArgs(role_arn=role.arn, service_account=account)]
            before += policies
        return aws.eks.Addon(
            addon,
            cluster_name=self.name,
            addon_name=addon,
            configuration_values=json.dumps(values) if values else None,
            pod_identity_associations=associations or None,
            # What is written here stands against changes by hand in the cluster.
            resolve_conflicts_on_create="OVERWRITE",
            resolve_conflicts_on_update="OVERWRITE",
            opts=self._child(*before),
        )

    def _role(self, name: str, trust: pulumi.Output[str], policies: Sequence[str]) -> tuple[aws.iam.Role, list[pulumi.Resource]]:
        """Make a role with policies of AWS. What uses it waits for these too: AWS checks them when it is made, and not again."""
        role = aws.iam.Role(name, assume_role_policy=trust, description=f"{name} of {self._args.name}", opts=self._child())
        attachments: list[pulumi.Resource] = []
        for policy in policies:
            arn = policy if policy.startswith("arn:") else f"{AWS_POLICY}/{policy}"
            key = f"{name}-{arn.rsplit('/', 1)[-1]}"
            attachment = aws.iam.RolePolicyAttachment(key, role=role.name, policy_arn=arn, opts=pulumi.ResourceOptions(parent=role))
            attachments.append(attachment)
        return role, attachments

    def _system_nodes(self, *addons: pulumi.Resource) -> aws.eks.NodeGroup:
        args, config = self._args, self._args.config
        role, policies = self._role("nodes", iam.service_trust("ec2.amazonaws.com"), NODE_POLICIES)
        template = self._launch_template()
        return aws.eks.NodeGroup(
            "system",
            cluster_name=self.name,
            node_role_arn=role.arn,
            subnet_ids=list(args.private_subnet_ids),
            version=config.version,  # with the control plane's, and after it
            ami_type="AL2023_x86_64_STANDARD",
            capacity_type="ON_DEMAND",  # Karpenter itself runs here, and could not replace a node that is taken from under it
            instance_types=[config.node_type],
            launch_template={"id": template.id, "version": template.latest_version.apply(str)},
            scaling_config={"min_size": config.node_min, "max_size": config.node_max, "desired_size": config.node_min},
            # One of three at a time, and one of two: a zone's worth.
            update_config={"max_unavailable_percentage": 33},
            node_repair_config={"enabled": True},  # a node that stays unready is replaced
            # No taint: pods of the service may run here while Karpenter is not installed, or has failed.
            labels={"platform/nodes": "system"},
            # People may add nodes in an incident; the next run leaves them. A higher nodeMin wants the desired size raised by hand first.
            opts=pulumi.ResourceOptions(
                parent=self, depends_on=[*addons, *policies, *args.egress], ignore_changes=["scalingConfig.desiredSize"]
            ),
        )

    def _launch_template(self) -> aws.ec2.LaunchTemplate:
        """Describe a system node. Where it names no security group, EKS gives it the cluster's; its subnets give no public address."""
        args = self._args
        tags = {**args.tags, "Name": f"{args.name}-system"}
        return aws.ec2.LaunchTemplate(
            "system",
            description=f"System nodes of {args.name}",
            update_default_version=True,
            block_device_mappings=[
                {
                    "device_name": "/dev/xvda",
                    "ebs": {
                        "volume_type": "gp3",
                        "volume_size": NODE_DISK,
                        "encrypted": "true",
                        "kms_key_id": args.cluster_key_arn,
                        "delete_on_termination": "true",
                    },
                }
            ],
            # With tokens alone, and not farther than the node itself: a pod cannot take the node's role. What needs a role has its own,
            # and what needs the region or the VPC is told.
            metadata_options={"http_endpoint": "enabled", "http_tokens": "required", "http_put_response_hop_limit": 1},
            tag_specifications=[{"resource_type": kind, "tags": tags} for kind in ("instance", "volume")],
            opts=self._child(),
        )
