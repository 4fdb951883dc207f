"""Subnets, routes and security groups."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network, ip_network
from typing import Any, Final

from infra.policies.base import ANYWHERE, Properties, at, several
from infra.registrations import Graph, Resource

SUBNET: Final = "aws:ec2/subnet:Subnet"
GROUP: Final = "aws:ec2/securityGroup:SecurityGroup"
INGRESS: Final = "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule"
EGRESS: Final = "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule"
ROUTE: Final = "aws:ec2/route:Route"
GATEWAY: Final = "aws:ec2/internetGateway:InternetGateway"
NAT: Final = "aws:ec2/natGateway:NatGateway"
ZONES: Final = 3
WIDEST: Final = 16
"""Bits of the widest network that may be let in by its addresses: a VPC."""


def ingress_is_not_open(kind: str, properties: Properties, _: bool) -> Iterator[str]:
    """Load balancers have groups of their own, which their controller makes: nothing here faces the internet."""
    if kind != INGRESS:
        return
    for name in ("cidrIpv4", "cidrIpv6"):
        cidr = properties.get(name)
        if cidr in ANYWHERE:
            yield f"lets in the whole internet ({cidr}); name the security group that may come (referencedSecurityGroupId)."
        elif cidr and ip_network(cidr).prefixlen < WIDEST:
            yield f"lets in {cidr}, more than a VPC can hold; name the security group that may come."
    if properties.get("ipProtocol") == "-1" and "referencedSecurityGroupId" not in properties:
        yield "lets in every protocol and port; name one (ipProtocol, fromPort, toPort)."


def group_rules_stand_alone(kind: str, properties: Properties, _: bool) -> Iterator[str]:
    """Rules within a group and rules beside it undo each other at every run."""
    if kind == GROUP and (properties.get("ingress") or properties.get("egress")):
        yield "has rules within; make each a SecurityGroupIngressRule or SecurityGroupEgressRule of its own."
    if kind == "aws:ec2/securityGroupRule:SecurityGroupRule":
        yield "is a rule of the old kind, without an id of its own; use SecurityGroupIngressRule or SecurityGroupEgressRule."
    if kind == "aws:ec2/defaultSecurityGroup:DefaultSecurityGroup" and (properties.get("ingress") or properties.get("egress")):
        yield "has rules, so that whatever forgot to name a group can speak; leave it empty."
    if kind in {INGRESS, EGRESS} and properties.get("ipProtocol") in {"tcp", "udp"}:
        if "fromPort" not in properties or "toPort" not in properties:
            yield "names a protocol and no ports; set from_port and to_port."
        elif properties["fromPort"] > properties["toPort"]:
            yield "has its ports the wrong way round; swap from_port and to_port."


def subnets_give_no_public_addresses(kind: str, properties: Properties, _: bool) -> Iterator[str]:
    """Load balancers and NAT gateways bring addresses of their own."""
    if kind == SUBNET and properties.get("mapPublicIpOnLaunch"):
        yield "gives whatever starts in it a public address; set map_public_ip_on_launch to False."


def vpc_resolves_names(kind: str, properties: Properties, _: bool) -> Iterator[str]:
    """Private endpoints are found by their services' names."""
    if kind == "aws:ec2/vpc:Vpc" and not (properties.get("enableDnsSupport") and properties.get("enableDnsHostnames")):
        yield "does not resolve names of its own; set enable_dns_support and enable_dns_hostnames."


@dataclass(frozen=True, slots=True)
class Network:
    """Where each subnet's traffic may go."""

    subnets: Mapping[str, Resource]
    """By id."""
    routes: Mapping[str, list[Resource]]
    """Routes out of each subnet, by its id."""
    tables: Mapping[str, str] = field(default_factory=dict[str, str])
    """The route table of each subnet."""

    def tier(self, subnet: str) -> str:
        """Return ``public``, ``private`` or ``data``: by the way out, whatever it is called."""
        ways = self.routes.get(subnet, [])
        if any("gatewayId" in way.inputs for way in ways):
            return "public"
        return "private" if any("natGatewayId" in way.inputs for way in ways) else "data"


def network(graph: Graph) -> Network:
    """Return the network of a stage."""
    tables = {
        link.inputs["subnetId"]: link.inputs["routeTableId"]
        for link in graph.of("aws:ec2/routeTableAssociation:RouteTableAssociation")
        if "subnetId" in link.inputs
    }
    routes = {subnet: [way for way in graph.of(ROUTE) if way.inputs["routeTableId"] == table] for subnet, table in tables.items()}
    return Network({subnet.id: subnet for subnet in graph.of(SUBNET)}, routes, tables)


PLACES: Final[dict[str, tuple[str, str]]] = {
    "aws:rds/subnetGroup:SubnetGroup": ("subnetIds", "data"),
    "aws:elasticache/subnetGroup:SubnetGroup": ("subnetIds", "data"),
    "aws:eks/cluster:Cluster": ("vpcConfig.subnetIds", "private"),
    "aws:eks/nodeGroup:NodeGroup": ("subnetIds", "private"),
    "aws:rds/proxy:Proxy": ("vpcSubnetIds", "data"),
    "aws:ec2/natGateway:NatGateway": ("subnetId", "public"),
    "aws:ec2/vpcEndpoint:VpcEndpoint": ("subnetIds", "private"),
}
"""The tier that each type belongs in, and the input that says where it is."""


def tiers_are_kept(graph: Graph, _: bool) -> Iterator[tuple[str, str]]:
    """Databases where no route leads out, nodes behind NAT, and only gateways and load balancers in public."""
    found = network(graph)
    for resource in graph.of(*PLACES):
        path, wanted = PLACES[resource.type]
        subnets: list[str] = several(at(resource.inputs, path))
        for subnet in subnets:
            name = found.subnets[subnet].name if subnet in found.subnets else subnet
            if (tier := found.tier(subnet)) != wanted:
                yield resource.urn, f"is in {name}, a {tier} subnet by its routes; put it in the {wanted} subnets ({path})."
        zones = {found.subnets[subnet].inputs.get("availabilityZone") for subnet in subnets if subnet in found.subnets}
        if len(subnets) != 1 and subnets and len(zones) < ZONES:
            yield resource.urn, f"is in {len(zones)} of {ZONES} zones; give it a subnet in each ({path})."


def subnets_have_their_routes(graph: Graph, production: bool) -> Iterator[tuple[str, str]]:
    """A subnet without an association falls back to the main table, and one without a route cannot get out."""
    found = network(graph)
    nats = {nat.id: nat for nat in graph.of(NAT)}
    for subnet_id, subnet in found.subnets.items():
        if subnet_id not in found.tables:
            yield subnet.urn, "has no route table of its own; associate one."
        tier = subnet.name.partition("-")[0]
        if tier in {"public", "private", "data"} and found.tier(subnet_id) != tier:
            yield subnet.urn, f"is named {subnet.name} and is {found.tier(subnet_id)} by its routes; mend its route table or its name."
        for way in found.routes.get(subnet_id, []):
            nat = nats.get(way.inputs.get("natGatewayId", ""))
            if nat and production and found.subnets[nat.inputs["subnetId"]].inputs["availabilityZone"] != subnet.inputs["availabilityZone"]:
                yield subnet.urn, "leaves by the NAT gateway of another zone, and would be lost with it; route it through its own."


def subnets_fit(graph: Graph, _: bool) -> Iterator[tuple[str, str]]:
    """Ranges within the VPC, apart from each other, and one of each tier in every zone."""
    ranges = {vpc.id: IPv4Network(vpc.inputs["cidrBlock"]) for vpc in graph.of("aws:ec2/vpc:Vpc")}
    seen: list[tuple[Resource, Any]] = []
    places: dict[tuple[str, str], str] = {}
    for subnet in graph.of(SUBNET):
        cidr = IPv4Network(subnet.inputs["cidrBlock"])
        if not cidr.subnet_of(ranges[subnet.inputs["vpcId"]]):
            yield subnet.urn, f"has {cidr}, which is not within the VPC; take a part of its range."
        for other, taken in seen:
            if cidr.overlaps(taken):
                yield subnet.urn, f"has {cidr}, which {other.name} has a part of; keep them apart."
        seen.append((subnet, cidr))
        place = (subnet.name.partition("-")[0], subnet.inputs.get("availabilityZone", ""))
        if place in places:
            yield subnet.urn, f"is in {place[1] or 'a zone of chance'}, as {places[place]} is; give each its own zone."
        places[place] = subnet.name


def gateways_are_waited_for(graph: Graph, _: bool) -> Iterator[tuple[str, str]]:
    """AWS refuses a NAT gateway in a VPC that no internet gateway is attached to yet."""
    internet = {gateway.urn for gateway in graph.of(GATEWAY)}
    for resource in graph.of(NAT):
        if not internet & graph.ancestors(resource.urn):
            yield resource.urn, "does not wait for the internet gateway, and nothing in its inputs says so; add it to depends_on."


def traffic_is_recorded(graph: Graph, _: bool) -> Iterator[tuple[str, str]]:
    """Who spoke to whom cannot be found out afterwards."""
    recorded = {log.inputs.get("vpcId") for log in graph.of("aws:ec2/flowLog:FlowLog") if log.inputs.get("trafficType") == "ALL"}
    for vpc in graph.of("aws:ec2/vpc:Vpc"):
        if vpc.id not in recorded:
            yield vpc.urn, "has no flow log of all its traffic; add one with traffic_type ALL."
        if not graph.of("aws:ec2/defaultSecurityGroup:DefaultSecurityGroup"):
            yield vpc.urn, "keeps the security group that AWS made, which lets its members speak; take it over without rules."


def files_go_by_the_gateway_endpoint(graph: Graph, _: bool) -> Iterator[tuple[str, str]]:
    """Image layers and uploads through NAT are paid for by the byte."""
    found = network(graph)
    covered = {
        table
        for endpoint in graph.of("aws:ec2/vpcEndpoint:VpcEndpoint")
        if endpoint.inputs.get("serviceName", "").endswith(".s3")
        for table in endpoint.inputs.get("routeTableIds", [])
    }
    for subnet_id, subnet in found.subnets.items():
        if found.tier(subnet_id) == "private" and found.tables.get(subnet_id) not in covered:
            yield subnet.urn, "reaches S3 through NAT; add its route table to the gateway endpoint."


def data_is_reached_by_role(graph: Graph, _: bool) -> Iterator[tuple[str, str]]:
    """Databases and caches let security groups in, not addresses; their groups lead nowhere."""
    data: set[str] = set()
    for resource in graph.of("aws:rds/instance:Instance", "aws:elasticache/replicationGroup:ReplicationGroup", "aws:rds/proxy:Proxy"):
        groups: list[str] = resource.inputs.get("vpcSecurityGroupIds") or several(resource.inputs.get("securityGroupIds"))
        if not groups and "replicateSourceDb" not in resource.inputs:
            yield resource.urn, "names no security group and gets the VPC's default; give it one."
        data |= set(groups)
        port = resource.inputs.get("port", 5432)
        rules = [rule.inputs for rule in graph.of(INGRESS) if rule.inputs.get("securityGroupId") in groups]
        if groups and not any(rule.get("fromPort", 0) <= port <= rule.get("toPort", 0) for rule in rules):
            yield resource.urn, f"is reached on its port {port} by nobody; add a SecurityGroupIngressRule for the pods."
    for rule in graph.of(INGRESS):
        if rule.inputs.get("securityGroupId") in data and ("cidrIpv4" in rule.inputs or "cidrIpv6" in rule.inputs):
            yield rule.urn, "lets addresses in to a database; name the security group of who may come."
