"""EKS: the cluster, its nodes, and the order in which they can become ready."""

import re
from collections.abc import Iterator
from typing import Final

from infra.catalog import catalog
from infra.policies.base import ANYWHERE, Properties
from infra.registrations import Graph, Resource

CLUSTER: Final = "aws:eks/cluster:Cluster"
NODES: Final = "aws:eks/nodeGroup:NodeGroup"
ADDON: Final = "aws:eks/addon:Addon"
LOGS: Final = {"api", "audit", "authenticator", "controllerManager", "scheduler"}
GRAVITON: Final = re.compile(r"^[a-z]+\d+g")
BEFORE_NODES: Final = ("vpc-cni", "kube-proxy", "eks-pod-identity-agent")
AFTER_NODES: Final = ("coredns", "metrics-server", "aws-ebs-csi-driver", "external-dns")


def cluster_is_closed(kind: str, properties: Properties, production: bool) -> Iterator[str]:
    """The API server is private, its secrets have an own key, and nobody is an administrator by accident."""
    if kind != CLUSTER:
        return
    place = properties.get("vpcConfig", {})
    if not place.get("endpointPrivateAccess"):
        yield "is not reached from within the VPC, nodes included; set endpoint_private_access."
    if place.get("endpointPublicAccess", True) and (
        not place.get("publicAccessCidrs") or any(cidr in ANYWHERE for cidr in place["publicAccessCidrs"])
    ):
        yield "can be reached from the whole internet; set endpoint_public_access to False, or list public_access_cidrs."
    if "secrets" not in properties.get("encryptionConfig", {}).get("resources", []):
        yield "keeps Kubernetes secrets without an own key; set encryption_config."
    access = properties.get("accessConfig", {})
    if access.get("authenticationMode") != "API":
        yield "is also administered by a ConfigMap that nobody sees; set authentication_mode to API."
    if access.get("bootstrapClusterCreatorAdminPermissions", True):
        yield "makes whoever created it an administrator for ever; set bootstrap_cluster_creator_admin_permissions to False."
    if missing := LOGS - set(properties.get("enabledClusterLogTypes", [])):
        yield f"does not log {', '.join(sorted(missing))}; name all in enabled_cluster_log_types."
    if production and not properties.get("deletionProtection"):
        yield "can be deleted by one call; set deletion_protection in production."


def cluster_is_supported(kind: str, properties: Properties, _: bool) -> Iterator[str]:
    """A version that AWS supports, at the ordinary price."""
    if kind != CLUSTER:
        return
    if properties.get("version") not in catalog().kubernetes:
        yield f"has the version {properties.get('version', 'of chance')}; name one of infra/catalog.toml."
    if properties.get("upgradePolicy", {}).get("supportType") != "STANDARD":
        yield "is moved to extended support by itself, at six times the price; set support_type to STANDARD."
    if properties.get("bootstrapSelfManagedAddons", True):
        yield "starts with add-ons that nobody manages; set bootstrap_self_managed_addons to False."


def nodes_are_closed(kind: str, properties: Properties, production: bool) -> Iterator[str]:
    """Pods cannot take on the node's role, and disks are encrypted."""
    if kind == "aws:ec2/launchTemplate:LaunchTemplate":
        metadata = properties.get("metadataOptions", {})
        if metadata.get("httpTokens") != "required" or metadata.get("httpPutResponseHopLimit") != 1:
            yield "lets pods read the node's credentials; set http_tokens required and http_put_response_hop_limit 1."
        disks = [disk.get("ebs", {}) for disk in properties.get("blockDeviceMappings", [])]
        if not disks or any(str(disk.get("encrypted")).lower() != "true" for disk in disks):
            yield "starts nodes with disks that are not encrypted; set encrypted in block_device_mappings."
        if any(str(face.get("associatePublicIpAddress")).lower() == "true" for face in properties.get("networkInterfaces", [])):
            yield "gives nodes public addresses; set associate_public_ip_address to false."
    if kind == NODES:
        scaling = properties.get("scalingConfig", {})
        if production and scaling.get("minSize", 0) < 3:  # noqa: PLR2004  # zones
            yield "has fewer nodes than zones; set min_size to 3 in production."
        if "launchTemplate" not in properties:
            yield "takes AWS's launch template, whose nodes hand out their credentials; name ours."
        if properties.get("remoteAccess"):
            yield "lets people in by SSH; remove remote_access."


def nodes_fit_their_image(kind: str, properties: Properties, _: bool) -> Iterator[str]:
    """Graviton classes have a `g` after their generation, and want an image of their own."""
    if kind != NODES:
        return
    arm = "ARM" in str(properties.get("amiType"))
    for name in properties.get("instanceTypes", []):
        if arm != bool(GRAVITON.match(name)):
            yield f"has the image {properties.get('amiType')} on {name}, another processor; change one of them."


def events_reach_their_queue(graph: Graph, _: bool) -> Iterator[tuple[str, str]]:
    """EventBridge sends without a role of ours: the queue itself must let it in, and before the first event."""
    policies = {policy.inputs.get("queueUrl"): policy for policy in graph.of("aws:sqs/queuePolicy:QueuePolicy")}
    queues = {queue.outputs["arn"]: queue for queue in graph.of("aws:sqs/queue:Queue")}
    for target in graph.of("aws:cloudwatch/eventTarget:EventTarget"):
        queue = queues.get(target.inputs.get("arn", ""))
        policy = policies.get(queue.outputs["url"]) if queue else None
        if queue and (policy is None or "events.amazonaws.com" not in str(policy.inputs.get("policy"))):
            yield target.urn, f"sends to {queue.name}, which does not let EventBridge in; add a QueuePolicy."


def addons_come_in_order(graph: Graph, _: bool) -> Iterator[tuple[str, str]]:
    """Nodes are not ready without a network, and what runs as ordinary pods is not ready without nodes."""
    addons = {addon.inputs.get("addonName"): addon for addon in graph.of(ADDON)}
    nodes = graph.of(NODES)
    if graph.of(CLUSTER):
        for name in (*BEFORE_NODES, *AFTER_NODES):
            if name not in addons:
                yield "", f"has no add-on {name}; the cluster would not work without it: add it."
    for group in nodes:
        ancestors = graph.ancestors(group.urn)
        for name in BEFORE_NODES:
            if name in addons and addons[name].urn not in ancestors:
                yield group.urn, f"does not wait for the add-on {name}, without which nodes do not become ready; add it to depends_on."
    for name in AFTER_NODES:
        if name in addons and nodes and not {group.urn for group in nodes} & graph.ancestors(addons[name].urn):
            yield addons[name].urn, "does not wait for nodes, and would fail for want of a place to run; add the node group to depends_on."


def nodes_wait_for_what_they_need(graph: Graph, _: bool) -> Iterator[tuple[str, str]]:
    """Routes out, the policies of their role: nothing in a node group's inputs refers to them."""
    for group in graph.of(NODES):
        ancestors = graph.ancestors(group.urn)
        subnets = set(group.inputs.get("subnetIds", []))
        links = [link for link in graph.of("aws:ec2/routeTableAssociation:RouteTableAssociation") if link.inputs.get("subnetId") in subnets]
        tables = {link.inputs["routeTableId"] for link in links}
        routes = [way for way in graph.of("aws:ec2/route:Route") if way.inputs["routeTableId"] in tables]
        for needed in (*links, *routes, *_policies_of(graph, group.inputs.get("nodeRoleArn", ""))):
            if needed.urn not in ancestors:
                yield group.urn, f"does not wait for {needed.name}, without which its nodes cannot join; add it to depends_on."
    for cluster in graph.of(CLUSTER):
        for needed in _policies_of(graph, cluster.inputs.get("roleArn", "")):
            if needed.urn not in graph.ancestors(cluster.urn):
                yield cluster.urn, f"does not wait for {needed.name}, and could not be deleted in the other order; add it to depends_on."


def _policies_of(graph: Graph, arn: str) -> list[Resource]:
    names = {name for role in graph.of("aws:iam/role:Role") if role.outputs["arn"] == arn for name in (role.id, role.outputs["name"])}
    kinds = ("aws:iam/rolePolicyAttachment:RolePolicyAttachment", "aws:iam/rolePolicy:RolePolicy")
    return [policy for policy in graph.of(*kinds) if policy.inputs.get("role") in names]


def karpenter_finds_its_network(graph: Graph, _: bool) -> Iterator[tuple[str, str]]:
    """Karpenter starts nodes in subnets that carry its tag, and nowhere else."""
    if not graph.of(NODES):
        return
    for group in graph.of(NODES):
        for subnet in graph.of("aws:ec2/subnet:Subnet"):
            tagged = "karpenter.sh/discovery" in subnet.inputs.get("tags", {})
            ours = subnet.id in group.inputs.get("subnetIds", [])
            if ours and not tagged:
                yield subnet.urn, "is not found by Karpenter; add the tag karpenter.sh/discovery."
            if tagged and not ours:
                yield subnet.urn, "is found by Karpenter, and is no place for nodes; remove the tag karpenter.sh/discovery."


def sizes_are_left_to_the_autoscaler(graph: Graph, _: bool) -> Iterator[tuple[str, str]]:
    """A run in the middle of a peak must not take nodes away."""
    for group in graph.of(NODES):
        if not any("desiredSize" in path or path == "scalingConfig" for path in group.ignore_changes):
            yield group.urn, "would be set back to its first size by every run; add scalingConfig.desiredSize to ignore_changes."


def logs_are_there_before_their_writers(graph: Graph, _: bool) -> Iterator[tuple[str, str]]:
    """EKS and RDS make log groups without an end and without our key if there are none."""
    groups = {group.outputs["name"]: group for group in graph.of("aws:cloudwatch/logGroup:LogGroup")}
    writers = [(cluster, f"/aws/eks/{cluster.outputs['name']}/cluster") for cluster in graph.of(CLUSTER)]
    writers += [
        (instance, f"/aws/rds/instance/{instance.outputs['identifier']}/{log}")
        for instance in graph.of("aws:rds/instance:Instance")
        for log in instance.inputs.get("enabledCloudwatchLogsExports", [])
    ]
    for writer, name in writers:
        group = groups.get(name)
        if group is None:
            yield writer.urn, f"writes to {name}, which it would make itself, for ever and without our key; make it before."
        elif group.urn not in graph.ancestors(writer.urn):
            yield writer.urn, f"does not wait for its log group {name}, and may make it itself; add it to depends_on."
