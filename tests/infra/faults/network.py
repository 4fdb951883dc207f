"""Mistakes in subnets, routes and security groups, and in the configuration of all of them."""

from typing import Any, Final

from tests.infra.faults.model import Change, Fault, Made, option, put, token


def _ids(tier: str) -> Change:
    """Return the ids of a tier's subnets."""
    return lambda _, made: [made[token("ec2.Subnet"), f"{tier}-{number}"].id for number in range(3)]


def _id(kind: str, name: str) -> Change:
    return lambda _, made: made[token(kind), name].id


def _other_zone(_: Any, __: Made) -> str:
    return "us-east-1a"


FAULTS: Final = (
    Fault("The database's subnets are the nodes' subnets.", edits={("rds.SubnetGroup", "database"): put(subnet_ids=_ids("private"))}),
    Fault("The caches' subnets are public.", edits={("elasticache.SubnetGroup", "cache"): put(subnet_ids=_ids("public"))}),
    Fault("Nodes start in public subnets.", edits={("eks.NodeGroup", "system"): put(subnet_ids=_ids("public"))}),
    Fault("Nodes start in one zone.", edits={("eks.NodeGroup", "system"): put(subnet_ids=lambda now, _: now[:1])}),
    Fault("The NAT gateway is in a private subnet.", edits={("ec2.NatGateway", "nat-0"): put(subnet_id=_id("ec2.Subnet", "private-0"))}),
    Fault("A data subnet has the route table of the nodes, with its way out.", edits={
        ("ec2.RouteTableAssociation", "data-0"): put(route_table_id=_id("ec2.RouteTable", "private-0")),
    }),
    Fault("A private subnet has no route table.", without=[("ec2.RouteTableAssociation", "private-1")]),
    Fault("A private subnet has no route out.", without=[("ec2.Route", "private-1")]),
    Fault("All zones leave by one NAT gateway, in production.", edits={
        ("ec2.Route", "private-1"): put(nat_gateway_id=_id("ec2.NatGateway", "nat-0")),
    }),
    Fault("The NAT gateway does not wait for the internet gateway.", edits={("ec2.NatGateway", "nat-0"): option(depends_on=[])}),
    Fault("Two subnets have the same range.", edits={("ec2.Subnet", "private-1"): put(cidr_block="10.30.0.0/18")}),
    Fault("A subnet is outside of the VPC.", edits={("ec2.Subnet", "data-2"): put(cidr_block="10.31.0.0/24")}),
    Fault("All data subnets are in one zone.", edits={
        ("ec2.Subnet", f"data-{number}"): put(availability_zone=_other_zone) for number in range(3)
    }),
    Fault("Public subnets give addresses to whatever starts in them.", edits={
        ("ec2.Subnet", "public-0"): put(map_public_ip_on_launch=True),
    }),
    Fault("The VPC resolves no names of its own.", edits={("ec2.Vpc", "vpc"): put(enable_dns_hostnames=False)}),
    Fault("Traffic is not recorded.", without=[("ec2.FlowLog", "flow-logs")]),
    Fault("Only refused traffic is recorded.", edits={("ec2.FlowLog", "flow-logs"): put(traffic_type="REJECT")}),
    Fault("The default security group is left as AWS made it.", without=[("ec2.DefaultSecurityGroup", "default")]),
    Fault("The gateway endpoint of S3 misses a zone.", edits={
        ("ec2.VpcEndpoint", "s3"): put(route_table_ids=lambda now, _: now[:2]),
    }),
    Fault("The endpoint of S3 is that of another region.", edits={
        ("ec2.VpcEndpoint", "s3"): put(service_name="com.amazonaws.eu-west-1.s3"),
    }),
    Fault("The database lets in the whole internet.", edits={
        ("vpc.SecurityGroupIngressRule", "database-clients"): put(referenced_security_group_id=None, cidr_ipv4="0.0.0.0/0"),
    }),
    Fault("The database lets in the VPC by its addresses.", edits={
        ("vpc.SecurityGroupIngressRule", "database-clients"): put(referenced_security_group_id=None, cidr_ipv4="10.30.0.0/16"),
    }),
    Fault("The caches let in every port.", edits={
        ("vpc.SecurityGroupIngressRule", "cache"): put(
            ip_protocol="-1", from_port=None, to_port=None, referenced_security_group_id=None, cidr_ipv4="10.30.0.0/16"
        ),
    }),
    Fault("A rule stands within its security group.", edits={
        ("ec2.SecurityGroup", "database"): put(
            ingress=[{"protocol": "tcp", "from_port": 5432, "to_port": 5432, "cidr_blocks": ["10.0.0.0/8"]}]
        ),
    }),
    Fault("A rule has its ports the wrong way round.", edits={
        ("vpc.SecurityGroupIngressRule", "cache"): put(from_port=6380, to_port=6379),
    }),
    Fault("The database's rule is for the port of MySQL.", edits={
        ("vpc.SecurityGroupIngressRule", "database-clients"): put(from_port=3306, to_port=3306),
    }),
    Fault("Nobody is let in to the caches.", without=[("vpc.SecurityGroupIngressRule", "cache")]),
    Fault("The database names no security group.", edits={("rds.Instance", "database"): put(vpc_security_group_ids=None)}),
    Fault("Karpenter does not find a subnet.", edits={("ec2.Subnet", "private-2"): put(tags={"Name": "private-2"})}),
    Fault("The configuration names a VPC that staging has.", config={"network.cidr": "10.20.0.0/16"}),
    Fault("The VPC is too small for its pods.", config={"network.cidr": "10.30.0.0/24"}),
    Fault("The configuration names two zones.", config={"network.zones": ["us-east-1a", "us-east-1b"]}),
    Fault("The API server is open to the world.", config={"cluster.publicCidrs": ["0.0.0.0/0"]}),
    Fault("The Kubernetes version is out of support.", config={"cluster.version": "1.33"}),
    Fault("Production has one NAT gateway.", config={"network.nat": "single"}),
    Fault("Production has a burstable database.", config={"database.instanceClass": "db.t4g.large"}),
    Fault("Production's database is in one zone.", config={"database.multiAz": False}),
    Fault("More pods are allowed than the database has connections for.", config={"service.apiMax": 300}),
    Fault("The domain is missing.", config={"dns": ...}),
    Fault("A field of the configuration is misspelt.", config={"database.multiAZ": True}),
    Fault("Production is to be made in staging's account.", config={"account": "222233334444"}),
    Fault("Logs are kept for a number of days that CloudWatch does not offer.", config={"network.flowLogDays": 100}),
)  # fmt: skip
