"""Mistakes in the cluster, in rights, in what the engine keeps, and in what is watched."""

import json
from collections.abc import Callable
from typing import Any, Final, cast

import pulumi
import pulumi_aws as aws

from infra import iam
from tests.infra.faults.model import Edit, Fault, Made, inside, option, put, token

PROVIDER: Final = aws.Provider
CLUSTER: Final = ("eks.Cluster", "cluster")
NODES: Final = ("eks.NodeGroup", "system")
TEMPLATE: Final = ("ec2.LaunchTemplate", "system")


def _without_addon(name: str) -> Edit:
    def edit(_: dict[str, Any], opts: pulumi.ResourceOptions, made: Made) -> None:
        waited = cast("list[pulumi.Resource]", opts.depends_on)
        opts.depends_on = [resource for resource in waited if resource is not made[token("eks.Addon"), name]]

    return edit


def _policy(change: Callable[[list[dict[str, Any]]], object], name: str = "policy") -> Edit:
    """Return an edit of the statements of a policy."""

    def changed(text: str) -> str:
        document = json.loads(text)
        change(document["Statement"])
        return json.dumps(document)

    def edit(props: dict[str, Any], _: pulumi.ResourceOptions, __: Made) -> None:
        props[name] = pulumi.Output.from_input(props[name]).apply(changed)

    return edit


def _set(place: int, **values: Any) -> Callable[[list[dict[str, Any]]], object]:
    return lambda statements: statements[place].update(values)


def _unbound(place: int, key: str) -> Callable[[list[dict[str, Any]]], object]:
    """Return a change that leaves a condition out."""

    def change(statements: list[dict[str, Any]]) -> None:
        for operator in statements[place]["Condition"].values():
            operator.pop(key, None)

    return change


def _ask_for(place: int, key: str) -> Callable[[list[dict[str, Any]]], object]:
    """Return a change that wants a condition's key to be there."""

    def change(statements: list[dict[str, Any]]) -> None:
        condition = statements[place]["Condition"]
        condition["StringEquals"][key] = condition["StringEqualsIfExists"].pop(key)

    return change


def _elsewhere(props: dict[str, Any], opts: pulumi.ResourceOptions, _: Made) -> None:
    opts.provider = aws.Provider("elsewhere", region="eu-west-1")


def _provider_without(*names: str) -> Callable[..., aws.Provider]:
    """Return what makes a provider and forgets some of its arguments."""

    def make(name: str, **values: Any) -> aws.Provider:
        return PROVIDER(name, **{key: value for key, value in values.items() if key not in names})

    return make


def _text_of_an_output(_: Any, made: Made) -> str:
    return f"Uploads of {made[token('s3.Bucket'), 'uploads'].arn}"


API: Final = ("iam.RolePolicy", "platform-api")
SECRETS: Final = ("iam.RolePolicy", "external-secrets")
DEPLOY: Final = ("iam.Role", "github-deploy")
ALARM: Final = ("cloudwatch.MetricAlarm", "database-storage")
GITHUB: Final = "token.actions.githubusercontent.com"

FAULTS: Final = (
    Fault("Nodes do not wait for the network add-on.", edits={NODES: _without_addon("vpc-cni")}),
    Fault("Nodes wait for nothing: neither add-ons, nor routes, nor their rights.", edits={NODES: option(depends_on=[])}),
    Fault("CoreDNS does not wait for nodes.", edits={("eks.Addon", "coredns"): option(depends_on=[])}),
    Fault("The Pod Identity agent is forgotten.", without=[("eks.Addon", "eks-pod-identity-agent")]),
    Fault("An add-on's name is misspelt.", edits={("eks.Addon", "metrics-server"): put(addon_name="metric-server")}),
    Fault("Pods can read the node's credentials.", edits={TEMPLATE: inside("metadata_options.http_tokens", "optional")}),
    Fault("Nodes' disks are not encrypted.", edits={TEMPLATE: inside("block_device_mappings.0.ebs.encrypted", "false")}),
    Fault("A run sets the number of nodes back.", edits={NODES: option(ignore_changes=[])}),
    Fault("Nodes have an image of another processor.", edits={NODES: put(ami_type="AL2023_ARM_64_STANDARD")}),
    Fault("Kubernetes secrets have no own key.", edits={CLUSTER: put(encryption_config=None)}),
    Fault("Whoever creates the cluster administers it for ever.", edits={
        CLUSTER: inside("access_config.bootstrap_cluster_creator_admin_permissions", True),
    }),
    Fault("The control plane logs nothing but the API.", edits={CLUSTER: put(enabled_cluster_log_types=["api"])}),
    Fault("The control plane logs something that it does not have.", edits={
        CLUSTER: put(enabled_cluster_log_types=["api", "audit", "authenticator", "controllerManager", "scheduler", "etcd"]),
    }),
    Fault("The cluster goes into extended support.", edits={CLUSTER: inside("upgrade_policy.support_type", "EXTENDED")}),
    Fault("The API server cannot be reached from the VPC.", edits={CLUSTER: inside("vpc_config.endpoint_private_access", False)}),
    Fault("EKS makes its log group itself.", without=[("cloudwatch.LogGroup", "control-plane")]),
    Fault("Control-plane logs are kept for ever.", edits={("cloudwatch.LogGroup", "control-plane"): put(retention_in_days=None)}),
    Fault("The API may do everything with S3.", edits={API: _policy(_set(0, Action="s3:*"))}),
    Fault("An action of IAM is misspelt.", edits={API: _policy(_set(0, Action=["s3:GetObjct"]))}),
    Fault("External Secrets may read every secret.", edits={SECRETS: _policy(_set(0, Resource="*"))}),
    Fault("The deploying workflow is an administrator.", edits={
        DEPLOY: put(managed_policy_arns=["arn:aws:iam::aws:policy/AdministratorAccess"]),
    }),
    Fault("Any role may be handed to any service.", edits={API: _policy(lambda found: found.append(
        {"Effect": "Allow", "Action": "iam:PassRole", "Resource": "*"}
    ))}),
    Fault("A policy allows everything but something.", edits={API: _policy(lambda found: found.append(
        {"Effect": "Allow", "NotAction": "iam:*", "Resource": "*"}
    ))}),
    Fault("Every repository of GitHub may deploy.", edits={DEPLOY: _policy(_unbound(0, f"{GITHUB}:sub"), "assume_role_policy")}),
    Fault("A repository's former name may deploy.", edits={DEPLOY: _policy(_unbound(0, f"{GITHUB}:repository_id"), "assume_role_policy")}),
    Fault("The owner's id is asked for, which AWS does not look for in a token.", edits={
        DEPLOY: _policy(_ask_for(0, f"{GITHUB}:repository_owner_id"), "assume_role_policy"),
    }),
    Fault("A role can be taken on by every account.", edits={
        DEPLOY: _policy(_set(0, Action="sts:AssumeRole", Principal={"AWS": "*"}), "assume_role_policy"),
    }),
    Fault("A pod's role is for another service.", edits={
        ("iam.Role", "platform-api"): put(assume_role_policy=lambda _, __: iam.service_trust("ec2.amazonaws.com")),
    }),
    Fault("A pod may start before its role has rights.", edits={("eks.PodIdentityAssociation", "platform-api"): option(depends_on=[])}),
    Fault("A ServiceAccount of the chart has no role.", without=[("eks.PodIdentityAssociation", "platform-worker-bulk")]),
    Fault("A policy lacks an output.", edits={API: _policy(_set(0, Resource=[None]))}),
    Fault("A key may be used by everybody.", edits={("kms.Key", "cluster"): _policy(lambda found: found[1].pop("Condition"))}),
    Fault("The queue of interruptions is not encrypted.", edits={("sqs.Queue", "interruptions"): put(sqs_managed_sse_enabled=None)}),
    Fault("Events may not write to the queue of interruptions.", without=[("sqs.QueuePolicy", "interruptions")]),
    Fault("Alarms use AWS's key, with which CloudWatch cannot send.", edits={
        ("sns.Topic", "alarms"): put(kms_master_key_id="alias/aws/sns"),
    }),
    Fault("A resource is made by the default provider, in another region.", edits={("ecr.Repository", "repository"): _elsewhere}),
    Fault("A resource has lost its component.", edits={("ecr.Repository", "repository"): option(parent=None)}),
    Fault("Any account will do.", patches={"infra.program.aws.Provider": _provider_without("allowed_account_ids")}),
    Fault("Nothing has tags.", patches={"infra.program.aws.Provider": _provider_without("default_tags")}),
    Fault("An output stands in an f-string.", edits={("s3.Bucket", "uploads"): put(tags=lambda _, made: {
        "key": f"{made[token('kms.Key'), 'storage'].arn}"
    })}),
    Fault("A renamed resource takes the alias of another.", edits={
        ("s3.Bucket", "access-logs"): option(aliases=[pulumi.Alias(name="uploads")]),
    }),
    Fault("An alarm reaches nobody.", edits={ALARM: put(alarm_actions=[])}),
    Fault("An alarm's metric is misspelt.", edits={ALARM: put(metric_name="FreeStorage")}),
    Fault("An alarm watches a database that is not there.", edits={ALARM: put(dimensions={"DBInstanceIdentifier": "main"})}),
    Fault("Nobody subscribes to alarms.", without=[("sns.TopicSubscription", "email-0")]),
    Fault("The budget tells nobody.", edits={("budgets.Budget", "monthly"): put(notifications=[])}),
    Fault("The certificate is for another host.", edits={("acm.Certificate", "certificate"): put(domain_name="www.prod.example.com")}),
    Fault("The certificate is proved by mail.", edits={("acm.Certificate", "certificate"): put(validation_method="EMAIL")}),
    Fault("The load balancer gets a certificate that nobody waited for.", without=[("acm.CertificateValidation", "validated")]),
    Fault("A resource is registered twice.", exports=lambda made: {"second": aws.ecr.Repository(
        "repository", opts=pulumi.ResourceOptions(parent=made["platform:infra:Registry", "registry"])
    ).arn}),
    Fault("What is registered depends on the account that it is planned in.", exports=lambda _: {
        "account": aws.get_caller_identity_output().account_id
    }),
    Fault("An alarm rings at a topic that is gone.", edits={
        ALARM: put(alarm_actions=["arn:aws:sns:us-east-1:333344445555:former"]),
    }),
    Fault(
        "The access policy of administrators is misspelt.",
        edits={("eks.AccessPolicyAssociation", "deploy"): put(
            policy_arn="arn:aws:eks::aws:cluster-access-policy/AmazonEKSAdminPolcy"
        )},
        would_be_caught_by="the first `pulumi up`: EKS refuses the ARN",
    ),
    Fault(
        "The broker's class is sold out in one of the zones.",
        edits={("elasticache.ReplicationGroup", "broker"): put(node_type="cache.r7g.xlarge")},
        would_be_caught_by="the first `pulumi up`: what a zone has at the moment is known to AWS alone",
    ),
    Fault("The key of log groups does not let the service of logs in.", edits={("kms.Key", "logs"): _policy(lambda found: found.pop())}),
    Fault(
        "An alarm's threshold is in GiB, and the metric in bytes.",
        edits={ALARM: put(threshold=20.0)},
        would_be_caught_by="the first days: the alarm rings all the time, or never",
    ),
    Fault(
        "Interruptions of nodes are listened for under a misspelt name.",
        edits={("cloudwatch.EventRule", "interruptions-spot"): put(
            event_pattern=json.dumps({"source": ["aws.ec2"], "detail-type": ["EC2 Spot Instance Interuption Warning"]})
        )},
        would_be_caught_by="a spot instance that is taken away in staging: AWS takes any text for an event's name",
    ),
    Fault(
        "external-dns may write to another zone than the stage's.",
        edits={("eks.Addon", "external-dns"): put(
            configuration_values=lambda now, _: now.replace("prod.example.com", "example.com")
        )},
        would_be_caught_by="the first Ingress, whose record does not appear",
    ),
    Fault(
        "The id of the repository's owner has a digit wrong.",
        config={"github.ownerId": 10000002},
        would_be_caught_by="the first run of the workflow, which is refused its role",
    ),
    Fault(
        "The mail server's name is misspelt.",
        config={"service.smtpHost": "smpt.example.com"},
        would_be_caught_by="`python -m app doctor` in the cluster, which connects to it",
    ),
    Fault(
        "Alarms go to an address that nobody reads.",
        config={"alarms.emails": ["nobody@example.com"]},
        would_be_caught_by="a look at SNS after the first `pulumi up`: the subscription waits for its confirmation",
    ),
)  # fmt: skip
