"""The VPC: three zones, each with a public, a private and a data subnet."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network

import pulumi
import pulumi_aws as aws

from infra import iam
from infra.config import NetworkConfig
from infra.iam import Statement

HTTPS = 443
ANYWHERE = "0.0.0.0/0"
#: What a node or a pod calls before it is ready: without these, lost egress would keep new ones from starting.
ENDPOINTS = {
    "ec2": "the VPC CNI attaches addresses to a node",
    "ecr.api": "the kubelet signs in to the registry",
    "ecr.dkr": "the kubelet pulls manifests; layers come through the gateway of S3",
    "eks-auth": "the Pod Identity agent asks for credentials",
    "secretsmanager": "External Secrets reads what the chart needs",
}


@dataclass(frozen=True, slots=True)
class NetworkArgs:
    """What the network needs."""

    config: NetworkConfig
    account: str
    region: str
    production: bool
    """Whether interface endpoints are worth their price, about $22 a month each."""
    cluster_tag: str
    """Marks the subnets that Karpenter starts nodes in."""
    logs_key_arn: pulumi.Output[str]


class Network(pulumi.ComponentResource):
    """Load balancers in public subnets, nodes and pods in private ones, and databases in data subnets that no route leads out of.

    Network ACLs are left as AWS makes them, open: they know no connections, and security groups say the same by role instead of address.
    """

    def __init__(self, name: str, args: NetworkArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("platform:infra:Network", name, None, opts)
        self._args = args
        config = args.config
        self.vpc_cidr = str(config.cidr)
        self.public_cidrs = [str(cidr) for cidr in config.public]
        self.private_cidrs = [str(cidr) for cidr in config.private]
        self.data_cidrs = [str(cidr) for cidr in config.data]

        self._vpc = aws.ec2.Vpc(
            "vpc",
            cidr_block=self.vpc_cidr,
            enable_dns_support=True,
            enable_dns_hostnames=True,  # interface endpoints take over the names of their services only with it
            tags={"Name": args.cluster_tag},
            opts=self._child(),
        )
        self.vpc_id: pulumi.Output[str] = self._vpc.id
        # Every VPC has one that lets its members in and out; taken over without rules, it is of no use to what forgot to name its own.
        aws.ec2.DefaultSecurityGroup("default", vpc_id=self.vpc_id, opts=self._child())

        public = self._subnets("public", config.public, {"kubernetes.io/role/elb": "1"})
        private = self._subnets(
            "private", config.private, {"kubernetes.io/role/internal-elb": "1", "karpenter.sh/discovery": args.cluster_tag}
        )
        data = self._subnets("data", config.data, {})
        self.public_subnet_ids: list[pulumi.Output[str]] = [subnet.id for subnet in public]
        self.private_subnet_ids: list[pulumi.Output[str]] = [subnet.id for subnet in private]
        self.data_subnet_ids: list[pulumi.Output[str]] = [subnet.id for subnet in data]

        self.egress: list[pulumi.Resource] = []
        """Routes and endpoints: what a node needs to become ready, and does not refer to."""
        gateways = self._nat(public, self._internet(public))
        self.nat_gateway_ids: list[pulumi.Output[str]] = [gateway.id for gateway in gateways]
        self._endpoints(self._private_routes(private, gateways))
        self._route_table("data", {f"data-{number}": subnet for number, subnet in enumerate(data)})
        self._flow_log()
        self.register_outputs({})

    def _child(self, *depends_on: pulumi.Resource) -> pulumi.ResourceOptions:
        return pulumi.ResourceOptions(parent=self, depends_on=list(depends_on))

    def _subnets(self, tier: str, cidrs: Sequence[IPv4Network], tags: dict[str, str]) -> list[aws.ec2.Subnet]:
        return [
            aws.ec2.Subnet(
                f"{tier}-{number}",
                vpc_id=self.vpc_id,
                cidr_block=str(cidr),
                availability_zone=zone,
                # Public ones too: load balancers and NAT gateways bring their own addresses, and nothing else belongs there.
                map_public_ip_on_launch=False,
                tags={"Name": f"{self._args.cluster_tag}-{tier}-{number}", **tags},
                opts=self._child(),
            )
            for number, (zone, cidr) in enumerate(zip(self._args.config.zones, cidrs, strict=True))
        ]

    def _route_table(
        self, name: str, subnets: Mapping[str, aws.ec2.Subnet]
    ) -> tuple[aws.ec2.RouteTable, list[aws.ec2.RouteTableAssociation]]:
        """Make a table that leads to the VPC alone, for subnets by name. Routes out of it are resources of their own."""
        tags = {"Name": f"{self._args.cluster_tag}-{name}"}
        table = aws.ec2.RouteTable(name, vpc_id=self.vpc_id, tags=tags, opts=self._child())
        associations = [
            aws.ec2.RouteTableAssociation(key, route_table_id=table.id, subnet_id=subnet.id, opts=self._child())
            for key, subnet in subnets.items()
        ]
        return table, associations

    def _internet(self, public: Sequence[aws.ec2.Subnet]) -> aws.ec2.InternetGateway:
        gateway = aws.ec2.InternetGateway("internet", vpc_id=self.vpc_id, tags={"Name": self._args.cluster_tag}, opts=self._child())
        # One table will do: the way out is the same in every zone, and does not fail with one.
        table, associations = self._route_table("public", {f"public-{number}": subnet for number, subnet in enumerate(public)})
        route = aws.ec2.Route("public", route_table_id=table.id, destination_cidr_block=ANYWHERE, gateway_id=gateway.id, opts=self._child())
        self.egress += [*associations, route]
        return gateway

    def _nat(self, public: Sequence[aws.ec2.Subnet], internet: aws.ec2.InternetGateway) -> list[aws.ec2.NatGateway]:
        count = 1 if self._args.config.nat == "single" else len(public)
        gateways: list[aws.ec2.NatGateway] = []
        for number, subnet in enumerate(public[:count]):
            tags = {"Name": f"{self._args.cluster_tag}-nat-{number}"}
            address = aws.ec2.Eip(f"nat-{number}", domain="vpc", tags=tags, opts=self._child())
            # It fails in a VPC that no internet gateway is attached to yet, and refers to none.
            gateway = aws.ec2.NatGateway(
                f"nat-{number}", subnet_id=subnet.id, allocation_id=address.id, tags=tags, opts=self._child(internet)
            )
            gateways.append(gateway)
        return gateways

    def _private_routes(self, private: Sequence[aws.ec2.Subnet], gateways: Sequence[aws.ec2.NatGateway]) -> list[aws.ec2.RouteTable]:
        """Give every zone a table, with one NAT gateway too: the change to one a zone then replaces no association."""
        tables: list[aws.ec2.RouteTable] = []
        for number, subnet in enumerate(private):
            name = f"private-{number}"
            table, associations = self._route_table(name, {name: subnet})
            gateway = gateways[number % len(gateways)]
            route = aws.ec2.Route(
                name, route_table_id=table.id, destination_cidr_block=ANYWHERE, nat_gateway_id=gateway.id, opts=self._child()
            )
            self.egress += [*associations, route]
            tables.append(table)
        return tables

    def _endpoints(self, tables: Sequence[aws.ec2.RouteTable]) -> None:
        service = f"com.amazonaws.{self._args.region}"
        # Free of charge, and cheaper than NAT for files and image layers. Its policy is left open: it would have to list the buckets
        # of AWS that layers and packages come from, and what the service may reach is said by its roles.
        s3 = aws.ec2.VpcEndpoint(
            "s3",
            vpc_id=self.vpc_id,
            service_name=f"{service}.s3",
            vpc_endpoint_type="Gateway",
            route_table_ids=[table.id for table in tables],
            tags={"Name": f"{self._args.cluster_tag}-s3"},
            opts=self._child(),
        )
        self.egress.append(s3)
        if self._args.production:
            self._interface_endpoints(service)

    def _interface_endpoints(self, service: str) -> None:
        group = aws.ec2.SecurityGroup(
            "endpoints",
            vpc_id=self.vpc_id,
            description="Interface endpoints: HTTPS from the VPC",
            tags={"Name": f"{self._args.cluster_tag}-endpoints"},
            opts=self._child(),
        )
        rule = aws.vpc.SecurityGroupIngressRule(
            "endpoints",
            security_group_id=group.id,
            description="HTTPS from the VPC",
            cidr_ipv4=self.vpc_cidr,
            ip_protocol="tcp",
            from_port=HTTPS,
            to_port=HTTPS,
            opts=self._child(),
        )
        self.egress.append(rule)
        self.egress += [
            aws.ec2.VpcEndpoint(
                suffix.replace(".", "-"),
                vpc_id=self.vpc_id,
                service_name=f"{service}.{suffix}",
                vpc_endpoint_type="Interface",
                subnet_ids=self.private_subnet_ids,
                security_group_ids=[group.id],
                private_dns_enabled=True,  # clients keep to the names they know
                tags={"Name": f"{self._args.cluster_tag}-{suffix}"},
                opts=self._child(),
            )
            for suffix in ENDPOINTS
        ]

    def _flow_log(self) -> None:
        """Record who spoke to whom, refused or not: what nobody can reconstruct after an incident."""
        args = self._args
        group = aws.cloudwatch.LogGroup(
            "flow-logs", retention_in_days=args.config.flow_log_days, kms_key_id=args.logs_key_arn, opts=self._child()
        )
        role = aws.iam.Role(
            "flow-logs",
            assume_role_policy=iam.service_trust("vpc-flow-logs.amazonaws.com", account=args.account),
            description="Flow logs write to their log group",
            opts=self._child(),
        )
        streams = group.arn.apply(lambda arn: f"{arn}:*")
        write = Statement(("logs:CreateLogStream", "logs:PutLogEvents", "logs:DescribeLogStreams"), [streams])
        # Names of groups alone; asked of the whole region, for it cannot be asked of one.
        find = Statement(("logs:DescribeLogGroups",), [f"arn:aws:logs:{args.region}:{args.account}:log-group:*"])
        policy = aws.iam.RolePolicy("flow-logs", role=role.id, policy=iam.document(write, find), opts=pulumi.ResourceOptions(parent=role))
        aws.ec2.FlowLog(
            "flow-logs",
            vpc_id=self.vpc_id,
            traffic_type="ALL",
            log_destination_type="cloud-watch-logs",
            log_destination=group.arn,
            iam_role_arn=role.arn,
            max_aggregation_interval=600,  # seconds; every minute would be up to ten times the records, and the price
            tags={"Name": args.cluster_tag},
            opts=self._child(policy),
        )
