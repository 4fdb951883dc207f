"""Networks: EC2."""

from typing import TYPE_CHECKING, Any

from tests.infra.rehearsal.making.cloud import Cloud, recipe
from tests.infra.rehearsal.making.shapes import call, tags
from tests.infra.rehearsal.outputs import identifier
from tests.infra.rehearsal.values import Values

if TYPE_CHECKING:
    from tests.infra.rehearsal.world import Thing


def _keep(_cloud: Cloud, _thing: "Thing") -> None:
    """It goes with something else."""


def _arn(cloud: Cloud, kind: str, id_: str) -> str:
    return f"arn:aws:ec2:{cloud.region}:{cloud.account}:{kind}/{id_}"


def _named(inputs: Values, kind: str) -> list[dict[str, Any]]:
    return [{"ResourceType": kind, "Tags": tags(inputs)}] if inputs.get("tags") else []


@recipe("aws:ec2/vpc:Vpc", lambda cloud, thing: cloud.client("ec2").delete_vpc(VpcId=thing.id))
def _vpc(cloud: Cloud, inputs: Values) -> tuple[str, Values]:
    id_ = cloud.client("ec2").create_vpc(**call(inputs, "cidrBlock"), TagSpecifications=_named(inputs, "vpc"))["Vpc"]["VpcId"]
    return id_, {"arn": _arn(cloud, "vpc", id_)}


@recipe("aws:ec2/subnet:Subnet", lambda cloud, thing: cloud.client("ec2").delete_subnet(SubnetId=thing.id))
def _subnet(cloud: Cloud, inputs: Values) -> tuple[str, Values]:
    given = call(inputs, "vpcId", "cidrBlock", "availabilityZone")
    id_ = cloud.client("ec2").create_subnet(**given, TagSpecifications=_named(inputs, "subnet"))["Subnet"]["SubnetId"]
    return id_, {"arn": _arn(cloud, "subnet", id_)}


def _delete_gateway(cloud: Cloud, thing: "Thing") -> None:
    cloud.client("ec2").detach_internet_gateway(InternetGatewayId=thing.id, VpcId=thing.inputs["vpcId"])
    cloud.client("ec2").delete_internet_gateway(InternetGatewayId=thing.id)


@recipe("aws:ec2/internetGateway:InternetGateway", _delete_gateway)
def _internet_gateway(cloud: Cloud, inputs: Values) -> tuple[str, Values]:
    id_ = cloud.client("ec2").create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
    cloud.client("ec2").attach_internet_gateway(InternetGatewayId=id_, VpcId=inputs["vpcId"])
    return id_, {"arn": _arn(cloud, "internet-gateway", id_)}


@recipe("aws:ec2/eip:Eip", lambda cloud, thing: cloud.client("ec2").release_address(AllocationId=thing.id))
def _eip(cloud: Cloud, inputs: Values) -> tuple[str, Values]:
    made = cloud.client("ec2").allocate_address(**call(inputs, "domain"))
    return made["AllocationId"], {"allocationId": made["AllocationId"], "publicIp": made["PublicIp"]}


@recipe("aws:ec2/natGateway:NatGateway", lambda cloud, thing: cloud.client("ec2").delete_nat_gateway(NatGatewayId=thing.id))
def _nat_gateway(cloud: Cloud, inputs: Values) -> tuple[str, Values]:
    made = cloud.client("ec2").create_nat_gateway(**call(inputs, "allocationId", "subnetId"))["NatGateway"]
    return made["NatGatewayId"], {}


@recipe("aws:ec2/routeTable:RouteTable", lambda cloud, thing: cloud.client("ec2").delete_route_table(RouteTableId=thing.id))
def _route_table(cloud: Cloud, inputs: Values) -> tuple[str, Values]:
    id_ = cloud.client("ec2").create_route_table(**call(inputs, "vpcId"))["RouteTable"]["RouteTableId"]
    return id_, {"arn": _arn(cloud, "route-table", id_)}


def _delete_route(cloud: Cloud, thing: "Thing") -> None:
    cloud.client("ec2").delete_route(**call(thing.inputs, "routeTableId", "destinationCidrBlock"))


@recipe("aws:ec2/route:Route", _delete_route)
def _route(cloud: Cloud, inputs: Values) -> tuple[str, Values]:
    cloud.client("ec2").create_route(**call(inputs, "routeTableId", "destinationCidrBlock", "gatewayId", "natGatewayId"))
    return f"r-{inputs['routeTableId']}{inputs['destinationCidrBlock']}", {}


@recipe(
    "aws:ec2/routeTableAssociation:RouteTableAssociation",
    lambda cloud, thing: cloud.client("ec2").disassociate_route_table(AssociationId=thing.id),
)
def _association(cloud: Cloud, inputs: Values) -> tuple[str, Values]:
    return cloud.client("ec2").associate_route_table(**call(inputs, "routeTableId", "subnetId"))["AssociationId"], {}


@recipe("aws:ec2/securityGroup:SecurityGroup", lambda cloud, thing: cloud.client("ec2").delete_security_group(GroupId=thing.id))
def _security_group(cloud: Cloud, inputs: Values) -> tuple[str, Values]:
    given = call(inputs, "description", "vpcId", name="GroupName")
    id_ = cloud.client("ec2").create_security_group(**given)["GroupId"]
    return id_, {"arn": _arn(cloud, "security-group", id_)}


@recipe("aws:ec2/defaultSecurityGroup:DefaultSecurityGroup", _keep)
def _default_security_group(cloud: Cloud, inputs: Values) -> tuple[str, Values]:
    wanted = [{"Name": "vpc-id", "Values": [inputs["vpcId"]]}, {"Name": "group-name", "Values": ["default"]}]
    (group,) = cloud.client("ec2").describe_security_groups(Filters=wanted)["SecurityGroups"]
    return group["GroupId"], {"arn": _arn(cloud, "security-group", group["GroupId"]), "name": "default"}


def _permission(inputs: Values) -> dict[str, Any]:
    """Return a rule as EC2 wants it."""
    peer: dict[str, Any] = {}
    if "referencedSecurityGroupId" in inputs:
        peer["UserIdGroupPairs"] = [{"GroupId": inputs["referencedSecurityGroupId"]}]
    if "cidrIpv4" in inputs:
        peer["IpRanges"] = [{"CidrIp": inputs["cidrIpv4"]}]
    if "cidrIpv6" in inputs:
        peer["Ipv6Ranges"] = [{"CidrIpv6": inputs["cidrIpv6"]}]
    if "prefixListId" in inputs:
        peer["PrefixListIds"] = [{"PrefixListId": inputs["prefixListId"]}]
    return call(inputs, "ipProtocol", "fromPort", "toPort") | peer


def _delete_rule(cloud: Cloud, thing: "Thing") -> None:
    way = "egress" if "Egress" in thing.token else "ingress"
    revoke = getattr(cloud.client("ec2"), f"revoke_security_group_{way}")
    revoke(GroupId=thing.inputs["securityGroupId"], IpPermissions=[_permission(thing.inputs)])


@recipe("aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule", _delete_rule)
def _ingress(cloud: Cloud, inputs: Values) -> tuple[str, Values]:
    cloud.client("ec2").authorize_security_group_ingress(GroupId=inputs["securityGroupId"], IpPermissions=[_permission(inputs)])
    return identifier("sgr"), {}


@recipe("aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule", _delete_rule)
def _egress(cloud: Cloud, inputs: Values) -> tuple[str, Values]:
    everything = [{"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}]
    if inputs.get("cidrIpv4") == "0.0.0.0/0" and inputs["ipProtocol"] == "-1":
        # A new group has this rule; the provider takes it away when it makes a group without rules in it.
        cloud.client("ec2").revoke_security_group_egress(GroupId=inputs["securityGroupId"], IpPermissions=everything)
    cloud.client("ec2").authorize_security_group_egress(GroupId=inputs["securityGroupId"], IpPermissions=[_permission(inputs)])
    return identifier("sgr"), {}


@recipe("aws:ec2/vpcEndpoint:VpcEndpoint", lambda cloud, thing: cloud.client("ec2").delete_vpc_endpoints(VpcEndpointIds=[thing.id]))
def _endpoint(cloud: Cloud, inputs: Values) -> tuple[str, Values]:
    given = call(inputs, "vpcId", "serviceName", "vpcEndpointType", "subnetIds", "securityGroupIds", "routeTableIds")
    id_ = cloud.client("ec2").create_vpc_endpoint(**given)["VpcEndpoint"]["VpcEndpointId"]
    return id_, {"arn": _arn(cloud, "vpc-endpoint", id_)}


@recipe("aws:ec2/flowLog:FlowLog", lambda cloud, thing: cloud.client("ec2").delete_flow_logs(FlowLogIds=[thing.id]))
def _flow_log(cloud: Cloud, inputs: Values) -> tuple[str, Values]:
    given = call(
        inputs, "trafficType", "logDestination", "logDestinationType", "maxAggregationInterval", iamRoleArn="DeliverLogsPermissionArn"
    )
    # moto knows the group by its name, where AWS takes the ARN.
    if given.get("LogDestinationType") == "cloud-watch-logs":
        given |= {"LogGroupName": given.pop("LogDestination").split(":log-group:")[1].removesuffix(":*")}
    made = cloud.client("ec2").create_flow_logs(ResourceIds=[inputs["vpcId"]], ResourceType="VPC", **given)
    return made["FlowLogIds"][0], {}


@recipe("aws:ec2/launchTemplate:LaunchTemplate", lambda cloud, thing: cloud.client("ec2").delete_launch_template(LaunchTemplateId=thing.id))
def _launch_template(cloud: Cloud, inputs: Values) -> tuple[str, Values]:
    given = {"LaunchTemplateName": inputs["name"], "LaunchTemplateData": call(inputs, "imageId", "instanceType", "userData")}
    made = cloud.client("ec2").create_launch_template(**given)["LaunchTemplate"]
    return made["LaunchTemplateId"], {"latestVersion": 1, "defaultVersion": 1}
