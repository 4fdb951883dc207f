"""How types and inputs of the AWS provider are called in CloudFormation."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, cast

from infra.registrations import Resource

type Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Kind:
    """A type of CloudFormation, and where its properties differ from the provider's inputs."""

    type: str
    names: Mapping[str, str] = field(default_factory=dict[str, str])
    """By input, at any depth. An empty name drops the input: CloudFormation has no such property."""
    mend: Callable[[Json, Resource], Json] = lambda properties, _: properties
    """Changes what a name does not."""
    documents: tuple[str, ...] = ()
    """Properties that are JSON as text."""


def _tags(value: Mapping[str, Any]) -> list[Json]:
    return [{"Key": key, "Value": text} for key, text in value.items()]


def pascal(value: Any, names: Mapping[str, str]) -> Any:
    """Return a value with its keys as CloudFormation spells them: by a table, or with a capital."""
    if isinstance(value, dict):
        items = cast("Json", value)
        renamed = {key: names.get(key, key[:1].upper() + key[1:]) for key in items}
        return {
            renamed[key]: _tags(item) if key == "tags" else dict(item) if key in FREE else pascal(item, names)
            for key, item in items.items()
            if renamed[key] and item is not None
        }
    if isinstance(value, list):
        return [pascal(item, names) for item in cast("list[Any]", value)]
    return value


#: Inputs whose keys are data.
FREE: Final = {"dimensions", "labels"}


def _launch_template(properties: Json, _: Resource) -> Json:
    kept = {"LaunchTemplateName"}
    data = {name: value for name, value in properties.items() if name not in kept}
    for device in data.get("BlockDeviceMappings", []):
        disk = device.get("Ebs", {})
        disk.update({name: value == "true" for name, value in disk.items() if value in {"true", "false"}})
    return {"LaunchTemplateData": data}


def _flow_log(properties: Json, _: Resource) -> Json:
    return properties | {"ResourceType": "VPC"}


def _dimensions(properties: Json, _: Resource) -> Json:
    named = [{"Name": name, "Value": value} for name, value in properties.pop("Dimensions", {}).items()]
    return properties | {"Dimensions": named}


def _parameters(family: str) -> Callable[[Json, Resource], Json]:
    def mend(properties: Json, resource: Resource) -> Json:
        values = {item["Name"]: str(item["Value"]) for item in properties.pop(family, [])}
        properties.pop("Name", None)
        return {"Description": resource.name, family: values} | properties

    return mend


def _described(name: str) -> Callable[[Json, Resource], Json]:
    return lambda properties, resource: {name: resource.name} | properties


def _budget(properties: Json, _: Resource) -> Json:
    notifications = [
        {
            "Notification": {name: note[name] for name in ("ComparisonOperator", "Threshold", "ThresholdType", "NotificationType")},
            "Subscribers": [{"SubscriptionType": "EMAIL", "Address": address} for address in note.get("SubscriberEmailAddresses", [])],
        }
        for note in properties.get("Notifications", [])
    ]
    limit = {"Amount": float(properties["LimitAmount"]), "Unit": properties["LimitUnit"]}
    budget = {"BudgetType": properties["BudgetType"], "TimeUnit": properties["TimeUnit"], "BudgetLimit": limit}
    return {"Budget": budget, "NotificationsWithSubscribers": notifications}


def _cluster(properties: Json, _: Resource) -> Json:
    logs = [{"Type": name} for name in properties.pop("EnabledClusterLogTypes", [])]
    encryption = properties.pop("EncryptionConfig", None)
    return (
        properties
        | ({"Logging": {"ClusterLogging": {"EnabledTypes": logs}}} if logs else {})
        | ({"EncryptionConfig": [encryption]} if encryption else {})
    )


def _zone(properties: Json, _: Resource) -> Json:
    comment = properties.pop("Comment", None)
    return properties | ({"HostedZoneConfig": {"Comment": comment}} if comment else {})


def _record(properties: Json, _: Resource) -> Json:
    return properties | {"TTL": str(properties["TTL"])}


def _repository(properties: Json, _: Resource) -> Json:
    encryption = properties.pop("EncryptionConfigurations", [])
    return properties | ({"EncryptionConfiguration": encryption[0]} if encryption else {})


def _role_policy(properties: Json, resource: Resource) -> Json:
    return {"PolicyName": resource.outputs["name"]} | properties


KINDS: Final[dict[str, Kind]] = {
    "aws:acm/certificate:Certificate": Kind("AWS::CertificateManager::Certificate"),
    "aws:budgets/budget:Budget": Kind("AWS::Budgets::Budget", mend=_budget),
    "aws:cloudwatch/eventRule:EventRule": Kind("AWS::Events::Rule", documents=("EventPattern",)),
    "aws:cloudwatch/logGroup:LogGroup": Kind("AWS::Logs::LogGroup", {"name": "LogGroupName"}),
    "aws:cloudwatch/metricAlarm:MetricAlarm": Kind("AWS::CloudWatch::Alarm", {"okActions": "OKActions"}, _dimensions),
    "aws:ec2/eip:Eip": Kind("AWS::EC2::EIP"),
    "aws:ec2/flowLog:FlowLog": Kind("AWS::EC2::FlowLog", {"vpcId": "ResourceId", "iamRoleArn": "DeliverLogsPermissionArn"}, _flow_log),
    "aws:ec2/internetGateway:InternetGateway": Kind("AWS::EC2::InternetGateway", {"vpcId": ""}),
    "aws:ec2/launchTemplate:LaunchTemplate": Kind(
        "AWS::EC2::LaunchTemplate", {"description": "", "updateDefaultVersion": "", "tags": ""}, _launch_template
    ),
    "aws:ec2/natGateway:NatGateway": Kind("AWS::EC2::NatGateway"),
    "aws:ec2/route:Route": Kind("AWS::EC2::Route"),
    "aws:ec2/routeTable:RouteTable": Kind("AWS::EC2::RouteTable"),
    "aws:ec2/routeTableAssociation:RouteTableAssociation": Kind("AWS::EC2::SubnetRouteTableAssociation"),
    "aws:ec2/securityGroup:SecurityGroup": Kind("AWS::EC2::SecurityGroup", {"description": "GroupDescription"}),
    "aws:ec2/subnet:Subnet": Kind("AWS::EC2::Subnet"),
    "aws:ec2/vpc:Vpc": Kind("AWS::EC2::VPC"),
    "aws:ec2/vpcEndpoint:VpcEndpoint": Kind("AWS::EC2::VPCEndpoint"),
    "aws:ecr/repository:Repository": Kind(
        "AWS::ECR::Repository", {"name": "RepositoryName", "forceDelete": "EmptyOnDelete", "kmsKey": "KmsKey"}, _repository
    ),
    "aws:eks/accessEntry:AccessEntry": Kind("AWS::EKS::AccessEntry"),
    "aws:eks/addon:Addon": Kind("AWS::EKS::Addon", {"resolveConflictsOnCreate": "", "resolveConflictsOnUpdate": "ResolveConflicts"}),
    "aws:eks/cluster:Cluster": Kind("AWS::EKS::Cluster", {"vpcConfig": "ResourcesVpcConfig"}, _cluster),
    "aws:eks/nodeGroup:NodeGroup": Kind(
        "AWS::EKS::Nodegroup", {"nodeRoleArn": "NodeRole", "subnetIds": "Subnets", "nodeGroupName": "NodegroupName"}
    ),
    "aws:eks/podIdentityAssociation:PodIdentityAssociation": Kind("AWS::EKS::PodIdentityAssociation"),
    "aws:elasticache/parameterGroup:ParameterGroup": Kind(
        "AWS::ElastiCache::ParameterGroup",
        {"family": "CacheParameterGroupFamily", "parameters": "Properties"},
        _parameters("Properties"),
    ),
    "aws:elasticache/replicationGroup:ReplicationGroup": Kind(
        "AWS::ElastiCache::ReplicationGroup",
        {
            "description": "ReplicationGroupDescription",
            "nodeType": "CacheNodeType",
            "parameterGroupName": "CacheParameterGroupName",
            "subnetGroupName": "CacheSubnetGroupName",
            "maintenanceWindow": "PreferredMaintenanceWindow",
            "multiAzEnabled": "MultiAZEnabled",
            "applyImmediately": "",
            "finalSnapshotIdentifier": "",
            "logDeliveryConfigurations": "",
        },
    ),
    "aws:elasticache/subnetGroup:SubnetGroup": Kind(
        "AWS::ElastiCache::SubnetGroup", {"name": "CacheSubnetGroupName"}, _described("Description")
    ),
    "aws:elasticache/user:User": Kind("AWS::ElastiCache::User"),
    "aws:elasticache/userGroup:UserGroup": Kind("AWS::ElastiCache::UserGroup"),
    "aws:iam/openIdConnectProvider:OpenIdConnectProvider": Kind("AWS::IAM::OIDCProvider", {"clientIdLists": "ClientIdList"}),
    "aws:iam/role:Role": Kind(
        "AWS::IAM::Role", {"assumeRolePolicy": "AssumeRolePolicyDocument", "name": "RoleName"}, documents=("AssumeRolePolicyDocument",)
    ),
    "aws:iam/rolePolicy:RolePolicy": Kind(
        "AWS::IAM::RolePolicy",
        {"role": "RoleName", "policy": "PolicyDocument", "name": "PolicyName"},
        _role_policy,
        ("PolicyDocument",),
    ),
    "aws:kms/alias:Alias": Kind("AWS::KMS::Alias", {"name": "AliasName"}, lambda found, it: {"AliasName": f"alias/{it.name}"} | found),
    "aws:kms/key:Key": Kind(
        "AWS::KMS::Key", {"policy": "KeyPolicy", "deletionWindowInDays": "PendingWindowInDays"}, documents=("KeyPolicy",)
    ),
    "aws:rds/instance:Instance": Kind(
        "AWS::RDS::DBInstance",
        {
            "applyImmediately": "",
            "caCertIdentifier": "CACertificateIdentifier",
            "dbName": "DBName",
            "dbSubnetGroupName": "DBSubnetGroupName",
            "enabledCloudwatchLogsExports": "EnableCloudwatchLogsExports",
            "finalSnapshotIdentifier": "",
            "iamDatabaseAuthenticationEnabled": "EnableIAMDatabaseAuthentication",
            "identifier": "DBInstanceIdentifier",
            "instanceClass": "DBInstanceClass",
            "maintenanceWindow": "PreferredMaintenanceWindow",
            "backupWindow": "PreferredBackupWindow",
            "multiAz": "MultiAZ",
            "parameterGroupName": "DBParameterGroupName",
            "password": "MasterUserPassword",
            "performanceInsightsEnabled": "EnablePerformanceInsights",
            "performanceInsightsKmsKeyId": "PerformanceInsightsKMSKeyId",
            "replicateSourceDb": "SourceDBInstanceIdentifier",
            "skipFinalSnapshot": "",
            "username": "MasterUsername",
            "vpcSecurityGroupIds": "VPCSecurityGroups",
        },
        lambda found, _: _instance(found),
    ),
    "aws:rds/parameterGroup:ParameterGroup": Kind("AWS::RDS::DBParameterGroup", {"applyMethod": ""}, _parameters("Parameters")),
    "aws:rds/subnetGroup:SubnetGroup": Kind(
        "AWS::RDS::DBSubnetGroup",
        {"name": "DBSubnetGroupName", "description": "DBSubnetGroupDescription"},
        _described("DBSubnetGroupDescription"),
    ),
    "aws:route53/record:Record": Kind(
        "AWS::Route53::RecordSet",
        {"zoneId": "HostedZoneId", "ttl": "TTL", "records": "ResourceRecords", "allowOverwrite": ""},
        _record,
    ),
    "aws:route53/zone:Zone": Kind("AWS::Route53::HostedZone", {"forceDestroy": ""}, _zone),
    "aws:s3/bucket:Bucket": Kind("AWS::S3::Bucket", {"bucket": "BucketName", "forceDestroy": ""}),
    "aws:s3/bucketPolicy:BucketPolicy": Kind("AWS::S3::BucketPolicy", {"policy": "PolicyDocument"}, documents=("PolicyDocument",)),
    "aws:secretsmanager/secret:Secret": Kind("AWS::SecretsManager::Secret", {"recoveryWindowInDays": ""}),
    "aws:sns/topic:Topic": Kind("AWS::SNS::Topic", {"name": "TopicName"}),
    "aws:sns/topicPolicy:TopicPolicy": Kind(
        "AWS::SNS::TopicPolicy",
        {"arn": "Topics", "policy": "PolicyDocument"},
        lambda found, _: found | {"Topics": [found["Topics"]]},
        ("PolicyDocument",),
    ),
    "aws:sns/topicSubscription:TopicSubscription": Kind("AWS::SNS::Subscription", {"topic": "TopicArn"}),
    "aws:sqs/queue:Queue": Kind("AWS::SQS::Queue", {"messageRetentionSeconds": "MessageRetentionPeriod", "name": "QueueName"}),
    "aws:sqs/queuePolicy:QueuePolicy": Kind(
        "AWS::SQS::QueuePolicy",
        {"queueUrl": "Queues", "policy": "PolicyDocument"},
        lambda found, _: found | {"Queues": [found["Queues"]]},
        ("PolicyDocument",),
    ),
    "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule": Kind(
        "AWS::EC2::SecurityGroupEgress",
        {
            "securityGroupId": "GroupId",
            "cidrIpv4": "CidrIp",
            "cidrIpv6": "CidrIpv6",
            "referencedSecurityGroupId": "DestinationSecurityGroupId",
            "prefixListId": "DestinationPrefixListId",
            "tags": "",
        },
    ),
    "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule": Kind(
        "AWS::EC2::SecurityGroupIngress",
        {
            "securityGroupId": "GroupId",
            "cidrIpv4": "CidrIp",
            "cidrIpv6": "CidrIpv6",
            "referencedSecurityGroupId": "SourceSecurityGroupId",
            "tags": "",
        },
    ),
}


def _instance(properties: Json) -> Json:
    """CloudFormation nests the administrator's secret, wants storage as text, and lets replicas inherit their encryption."""
    if "SourceDBInstanceIdentifier" in properties:
        properties.pop("StorageEncrypted", None)  # the provider wants it said again, or sees a difference at every run
    if key := properties.pop("MasterUserSecretKmsKeyId", None):
        properties["MasterUserSecret"] = {"KmsKeyId": key}
    if "AllocatedStorage" in properties:
        properties["AllocatedStorage"] = str(properties["AllocatedStorage"])
    return properties


#: Resources that CloudFormation has as a property of another: the type, the input that names the other one, and the property.
FOLDED: Final[dict[str, tuple[str, str]]] = {
    "aws:cloudwatch/eventTarget:EventTarget": ("rule", "Targets"),
    "aws:ecr/lifecyclePolicy:LifecyclePolicy": ("repository", "LifecyclePolicy"),
    "aws:eks/accessPolicyAssociation:AccessPolicyAssociation": ("principalArn", "AccessPolicies"),
    "aws:iam/rolePolicyAttachment:RolePolicyAttachment": ("role", "ManagedPolicyArns"),
    "aws:s3/bucketCorsConfiguration:BucketCorsConfiguration": ("bucket", "CorsConfiguration"),
    "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration": ("bucket", "LifecycleConfiguration"),
    "aws:s3/bucketLogging:BucketLogging": ("bucket", "LoggingConfiguration"),
    "aws:s3/bucketOwnershipControls:BucketOwnershipControls": ("bucket", "OwnershipControls"),
    "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock": ("bucket", "PublicAccessBlockConfiguration"),
    "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration": ("bucket", "BucketEncryption"),
    "aws:s3/bucketVersioning:BucketVersioning": ("bucket", "VersioningConfiguration"),
    "aws:secretsmanager/secretVersion:SecretVersion": ("secretId", "SecretString"),
}
#: What CloudFormation has no word for.
NOT_THERE: Final = {
    "aws:acm/certificateValidation:CertificateValidation": "CloudFormation waits for a certificate by itself",
    "aws:ec2/defaultSecurityGroup:DefaultSecurityGroup": "CloudFormation cannot take over what AWS made",
    "random:index/randomPassword:RandomPassword": "it is not of AWS",
}
