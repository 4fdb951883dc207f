"""Who may do what, and what is watched: IAM, EKS, ECR, SQS, SNS, Route 53, ACM, CloudWatch, budgets."""

from typing import TYPE_CHECKING, Any

from tests.infra.rehearsal.making.cloud import Cloud, recipe
from tests.infra.rehearsal.making.shapes import call
from tests.infra.rehearsal.outputs import identifier
from tests.infra.rehearsal.values import Values

if TYPE_CHECKING:
    from tests.infra.rehearsal.world import Thing


def _keep(_cloud: Cloud, _thing: "Thing") -> None:
    """It goes with something else."""


@recipe("aws:iam/role:Role", lambda cloud, thing: cloud.client("iam").delete_role(RoleName=thing.id))
def _role(cloud: Cloud, inputs: Values) -> tuple[str, Values]:
    given = call(inputs, "path", "description", "maxSessionDuration", name="RoleName", assumeRolePolicy="AssumeRolePolicyDocument")
    made = cloud.client("iam").create_role(**given)["Role"]
    return inputs["name"], {"arn": made["Arn"], "uniqueId": made["RoleId"]}


def _delete_inline(cloud: Cloud, thing: "Thing") -> None:
    cloud.client("iam").delete_role_policy(**call(thing.inputs, role="RoleName", name="PolicyName"))


@recipe("aws:iam/rolePolicy:RolePolicy", _delete_inline)
def _inline(cloud: Cloud, inputs: Values) -> tuple[str, Values]:
    cloud.client("iam").put_role_policy(**call(inputs, role="RoleName", name="PolicyName", policy="PolicyDocument"))
    return f"{inputs['role']}:{inputs['name']}", {}


def _of_aws(inputs: Values) -> bool:
    """Say whether a policy is AWS's own: moto has these only where it is told to load all of them, which takes seconds."""
    return inputs["policyArn"].startswith("arn:aws:iam::aws:")


def _detach(cloud: Cloud, thing: "Thing") -> None:
    if not _of_aws(thing.inputs):
        cloud.client("iam").detach_role_policy(**call(thing.inputs, "policyArn", role="RoleName"))


@recipe("aws:iam/rolePolicyAttachment:RolePolicyAttachment", _detach)
def _attachment(cloud: Cloud, inputs: Values) -> tuple[str, Values]:
    if not _of_aws(inputs):
        cloud.client("iam").attach_role_policy(**call(inputs, "policyArn", role="RoleName"))
    return f"{inputs['role']}/{inputs['policyArn']}", {}


def _delete_identity_provider(cloud: Cloud, thing: "Thing") -> None:
    cloud.client("iam").delete_open_id_connect_provider(OpenIDConnectProviderArn=thing.id)


@recipe("aws:iam/openIdConnectProvider:OpenIdConnectProvider", _delete_identity_provider)
def _identity_provider(cloud: Cloud, inputs: Values) -> tuple[str, Values]:
    given = call(inputs, url="Url", clientIdLists="ClientIDList")
    arn = cloud.client("iam").create_open_id_connect_provider(**given, ThumbprintList=["0" * 40])["OpenIDConnectProviderArn"]
    return arn, {"arn": arn}


@recipe("aws:eks/cluster:Cluster", lambda cloud, thing: cloud.client("eks").delete_cluster(name=thing.id))
def _cluster(cloud: Cloud, inputs: Values) -> tuple[str, Values]:
    network = {name: inputs["vpcConfig"][name] for name in ("subnetIds", "securityGroupIds") if inputs["vpcConfig"].get(name)}
    given = {name: inputs[name] for name in ("name", "version", "roleArn") if name in inputs}
    made = cloud.client("eks").create_cluster(**given, resourcesVpcConfig=network)["cluster"]
    issuer = f"https://oidc.eks.{cloud.region}.amazonaws.com/id/{identifier('A').upper()}"
    # EKS makes a security group for the control plane and the nodes, in the VPC of the subnets.
    ec2 = cloud.client("ec2")
    (subnet,) = ec2.describe_subnets(SubnetIds=network["subnetIds"][:1])["Subnets"]
    group = ec2.create_security_group(GroupName=f"eks-cluster-sg-{inputs['name']}", Description="EKS", VpcId=subnet["VpcId"])["GroupId"]
    return inputs["name"], {
        "arn": made["arn"],
        "endpoint": f"https://{identifier('A').upper()}.gr7.{cloud.region}.eks.amazonaws.com",
        "certificateAuthority": {"data": "LS0tLS1CRUdJTg=="},
        "certificateAuthorities": [{"data": "LS0tLS1CRUdJTg=="}],
        "identities": [{"oidcs": [{"issuer": issuer}]}],
        "status": "ACTIVE",
        "vpcConfig": {**inputs["vpcConfig"], "clusterSecurityGroupId": group, "vpcId": subnet["VpcId"]},
    }


@recipe(
    "aws:eks/nodeGroup:NodeGroup",
    lambda cloud, thing: cloud.client("eks").delete_nodegroup(
        clusterName=thing.inputs["clusterName"], nodegroupName=thing.inputs["nodeGroupName"]
    ),
)
def _node_group(cloud: Cloud, inputs: Values) -> tuple[str, Values]:
    renamed = {"nodeGroupName": "nodegroupName", "nodeRoleArn": "nodeRole", "subnetIds": "subnets", "scalingConfig": "scalingConfig"}
    given = call(inputs, clusterName="clusterName", instanceTypes="instanceTypes", **renamed)
    made = cloud.client("eks").create_nodegroup(**given)["nodegroup"]
    return f"{inputs['clusterName']}:{inputs['nodeGroupName']}", {"arn": made["nodegroupArn"], "status": "ACTIVE"}


@recipe("aws:ecr/repository:Repository", lambda cloud, thing: cloud.client("ecr").delete_repository(repositoryName=thing.id, force=True))
def _repository(cloud: Cloud, inputs: Values) -> tuple[str, Values]:
    made = cloud.client("ecr").create_repository(repositoryName=inputs["name"])["repository"]
    url = f"{cloud.account}.dkr.ecr.{cloud.region}.amazonaws.com/{inputs['name']}"
    return inputs["name"], {"arn": made["repositoryArn"], "repositoryUrl": url, "registryId": cloud.account}


@recipe(
    "aws:ecr/lifecyclePolicy:LifecyclePolicy", lambda cloud, thing: cloud.client("ecr").delete_lifecycle_policy(repositoryName=thing.id)
)
def _lifecycle(cloud: Cloud, inputs: Values) -> tuple[str, Values]:
    cloud.client("ecr").put_lifecycle_policy(repositoryName=inputs["repository"], lifecyclePolicyText=inputs["policy"])
    return inputs["repository"], {"registryId": cloud.account}


@recipe("aws:sqs/queue:Queue", lambda cloud, thing: cloud.client("sqs").delete_queue(QueueUrl=thing.outputs["motoUrl"]))
def _queue(cloud: Cloud, inputs: Values) -> tuple[str, Values]:
    made = cloud.client("sqs").create_queue(QueueName=inputs["name"])["QueueUrl"]
    url = f"https://sqs.{cloud.region}.amazonaws.com/{cloud.account}/{inputs['name']}"
    return url, {"arn": f"arn:aws:sqs:{cloud.region}:{cloud.account}:{inputs['name']}", "url": url, "motoUrl": made}


def _set_queue_policy(cloud: Cloud, url: str, policy: str) -> None:
    (queue,) = [thing for thing in cloud.client("sqs").list_queues()["QueueUrls"] if thing.endswith(url.rsplit("/", 1)[1])]
    cloud.client("sqs").set_queue_attributes(QueueUrl=queue, Attributes={"Policy": policy})


@recipe("aws:sqs/queuePolicy:QueuePolicy", lambda cloud, thing: _set_queue_policy(cloud, thing.id, ""))
def _queue_policy(cloud: Cloud, inputs: Values) -> tuple[str, Values]:
    _set_queue_policy(cloud, inputs["queueUrl"], inputs["policy"])
    return inputs["queueUrl"], {}


@recipe("aws:sns/topic:Topic", lambda cloud, thing: cloud.client("sns").delete_topic(TopicArn=thing.id))
def _topic(cloud: Cloud, inputs: Values) -> tuple[str, Values]:
    arn = cloud.client("sns").create_topic(**call(inputs, "name"))["TopicArn"]
    return arn, {"arn": arn, "owner": cloud.account}


@recipe("aws:sns/topicPolicy:TopicPolicy", _keep)
def _topic_policy(cloud: Cloud, inputs: Values) -> tuple[str, Values]:
    cloud.client("sns").set_topic_attributes(TopicArn=inputs["arn"], AttributeName="Policy", AttributeValue=inputs["policy"])
    return inputs["arn"], {"owner": cloud.account}


@recipe("aws:sns/topicSubscription:TopicSubscription", lambda cloud, thing: cloud.client("sns").unsubscribe(SubscriptionArn=thing.id))
def _subscription(cloud: Cloud, inputs: Values) -> tuple[str, Values]:
    given = call(inputs, topic="TopicArn", protocol="Protocol", endpoint="Endpoint")
    arn = cloud.client("sns").subscribe(**given, ReturnSubscriptionArn=True)["SubscriptionArn"]
    return arn, {"arn": arn}


@recipe("aws:route53/zone:Zone", lambda cloud, thing: cloud.client("route53").delete_hosted_zone(Id=thing.id))
def _zone(cloud: Cloud, inputs: Values) -> tuple[str, Values]:
    made = cloud.client("route53").create_hosted_zone(Name=inputs["name"], CallerReference=identifier("rehearsal"))
    id_ = made["HostedZone"]["Id"].rsplit("/", 1)[1]
    servers = [f"ns-{number}.awsdns-0{number}.org" for number in range(1, 5)]
    return id_, {"zoneId": id_, "arn": f"arn:aws:route53:::hostedzone/{id_}", "nameServers": servers, "primaryNameServer": servers[0]}


def _change(cloud: Cloud, action: str, inputs: Values) -> None:
    name = f"{inputs['name'].rstrip('.')}."  # moto notes it with a dot, and deletes what has the very same name
    record: dict[str, Any] = {"Name": name, "Type": inputs["type"], "TTL": inputs.get("ttl", 300)}
    record["ResourceRecords"] = [{"Value": value} for value in inputs.get("records", [])]
    batch = {"Changes": [{"Action": action, "ResourceRecordSet": record}]}
    cloud.client("route53").change_resource_record_sets(HostedZoneId=inputs["zoneId"], ChangeBatch=batch)


@recipe("aws:route53/record:Record", lambda cloud, thing: _change(cloud, "DELETE", thing.inputs))
def _record(cloud: Cloud, inputs: Values) -> tuple[str, Values]:
    # moto refuses to create what was deleted before. That there is only one is seen to by the ids.
    _change(cloud, "UPSERT", inputs)
    return f"{inputs['zoneId']}_{inputs['name']}_{inputs['type']}", {"fqdn": inputs["name"].rstrip(".")}


@recipe("aws:acm/certificate:Certificate", lambda cloud, thing: cloud.client("acm").delete_certificate(CertificateArn=thing.id))
def _certificate(cloud: Cloud, inputs: Values) -> tuple[str, Values]:
    given = call(inputs, "domainName", "validationMethod", "subjectAlternativeNames")
    arn = cloud.client("acm").request_certificate(**given)["CertificateArn"]
    names = dict.fromkeys([inputs["domainName"], *inputs.get("subjectAlternativeNames", [])])
    options = [
        {
            "domainName": name,
            "resourceRecordName": f"_{identifier('x')[2:]}.{name.removeprefix('*.')}.",
            "resourceRecordType": "CNAME",
            "resourceRecordValue": f"_{identifier('x')[2:]}.acm-validations.aws.",
        }
        for name in names
    ]
    return arn, {"arn": arn, "domainValidationOptions": options, "status": "PENDING_VALIDATION"}


@recipe("aws:acm/certificateValidation:CertificateValidation", _keep)
def _validation(_: Cloud, inputs: Values) -> tuple[str, Values]:
    return inputs["certificateArn"], {}


@recipe("aws:cloudwatch/logGroup:LogGroup", lambda cloud, thing: cloud.client("logs").delete_log_group(logGroupName=thing.id))
def _log_group(cloud: Cloud, inputs: Values) -> tuple[str, Values]:
    given = call(inputs, name="logGroupName", kmsKeyId="kmsKeyId")
    cloud.client("logs").create_log_group(**given)
    return inputs["name"], {"arn": f"arn:aws:logs:{cloud.region}:{cloud.account}:log-group:{inputs['name']}"}


@recipe("aws:cloudwatch/metricAlarm:MetricAlarm", lambda cloud, thing: cloud.client("cloudwatch").delete_alarms(AlarmNames=[thing.id]))
def _alarm(cloud: Cloud, inputs: Values) -> tuple[str, Values]:
    dimensions = [{"Name": name, "Value": value} for name, value in inputs.get("dimensions", {}).items()]
    given = call(
        inputs, "comparisonOperator", "evaluationPeriods", "metricName", "namespace", "period", "statistic", "extendedStatistic",
        "threshold", "treatMissingData", name="AlarmName",
    )  # fmt: skip
    cloud.client("cloudwatch").put_metric_alarm(**given, Dimensions=dimensions)
    return inputs["name"], {"arn": f"arn:aws:cloudwatch:{cloud.region}:{cloud.account}:alarm:{inputs['name']}"}


@recipe("aws:cloudwatch/eventRule:EventRule", lambda cloud, thing: cloud.client("events").delete_rule(Name=thing.id))
def _rule(cloud: Cloud, inputs: Values) -> tuple[str, Values]:
    arn = cloud.client("events").put_rule(**call(inputs, "name", "description", "eventPattern", "scheduleExpression"))["RuleArn"]
    return inputs["name"], {"arn": arn}


def _delete_target(cloud: Cloud, thing: "Thing") -> None:
    cloud.client("events").remove_targets(Rule=thing.inputs["rule"], Ids=[thing.id.rsplit("-", 1)[-1]])


@recipe("aws:cloudwatch/eventTarget:EventTarget", _delete_target)
def _target(cloud: Cloud, inputs: Values) -> tuple[str, Values]:
    id_ = inputs.get("targetId", identifier("t").removeprefix("t-"))
    cloud.client("events").put_targets(Rule=inputs["rule"], Targets=[{"Id": id_, "Arn": inputs["arn"]}])
    return f"{inputs['rule']}-{id_}", {}
