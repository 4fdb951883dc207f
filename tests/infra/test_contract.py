"""What the program makes is what the chart and the workflows count on."""

import json
import re
import string
from ipaddress import ip_network
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from infra.catalog import catalog
from infra.registrations import Graph
from tests.charts.helm import MAJORS, MINORS, Object, render
from tests.infra.stages import STAGES, config, graph

ASSOCIATION = "aws:eks/podIdentityAssociation:PodIdentityAssociation"
INGRESS_RULE = "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule"
#: Groups of Kubernetes that AmazonEKSAdminPolicy knows: https://docs.aws.amazon.com/eks/latest/userguide/access-policy-permissions.html
BUILT_IN: Final = {"", "apps", "autoscaling", "batch", "networking.k8s.io", "policy", "rbac.authorization.k8s.io"}
RUNBOOKS: Final = Path(__file__).parents[2] / "docs" / "runbooks"
GITHUB = "token.actions.githubusercontent.com"


@pytest.fixture(params=STAGES)
def stage(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def made(stage: str) -> Graph:
    return graph(stage)


def values(made: Graph) -> dict[str, Any]:
    return {**made.exports["helmValues"], "image": {**made.exports["helmValues"]["image"], "digest": f"sha256:{'0' * 64}"}}


def release(made: Graph, **options: Any) -> list[Object]:
    return render(values(made), **options)


def of(objects: list[Object], kind: str) -> list[Object]:
    return [one for one in objects if one["kind"] == kind]


@pytest.mark.parametrize("major", MAJORS)
def test_the_output_is_a_values_file_that_the_chart_takes(made: Graph, major: str) -> None:
    objects = release(made, helm=major)
    assert {"Deployment", "Ingress", "ExternalSecret", "NetworkPolicy", "HorizontalPodAutoscaler"} <= {one["kind"] for one in objects}


def test_the_stage_runs_a_kubernetes_that_the_chart_is_tested_with(stage: str) -> None:
    assert config(stage).cluster.version in MINORS


def test_every_service_account_has_its_association(made: Graph, stage: str) -> None:
    namespace = config(stage).service.namespace
    accounts = {one["metadata"]["name"] for one in of(release(made), "ServiceAccount")}
    associated = {one.inputs["serviceAccount"] for one in made.of(ASSOCIATION) if one.inputs["namespace"] == namespace}
    assert accounts == associated


def test_every_pod_runs_as_an_account_with_an_association(made: Graph) -> None:
    associated = {one.inputs["serviceAccount"] for one in made.of(ASSOCIATION)}
    for kind in ("Deployment", "Job"):
        for one in of(release(made), kind):
            assert one["spec"]["template"]["spec"]["serviceAccountName"] in associated, one["metadata"]["name"]


def test_every_secret_that_the_chart_refers_to_is_made(made: Graph) -> None:
    entries = {one.inputs["name"] for one in made.of("aws:secretsmanager/secret:Secret") if "name" in one.inputs}
    asked = {source["extract"]["key"] for one in of(release(made), "ExternalSecret") for source in one["spec"]["dataFrom"]}
    assert asked == entries


def test_the_entries_hold_what_the_service_needs(made: Graph) -> None:
    versions = {one.name: json.loads(one.inputs["secretString"]) for one in made.of("aws:secretsmanager/secretVersion:SecretVersion")}
    assert set(versions["migration"]) == {"MIGRATION_DATABASE_URL"}
    assert set(versions["app"]) >= {"DATABASE_URL", "SECRET_KEY", "REDIS_URL", "CELERY_BROKER_URL", "CACHE_URL", "SMTP_PASSWORD"}
    for name in ("REDIS_URL", "CELERY_BROKER_URL", "CACHE_URL"):
        assert versions["app"][name].startswith("rediss://")
    for url in (versions["app"]["DATABASE_URL"], versions["migration"]["MIGRATION_DATABASE_URL"]):
        assert url.endswith("sslmode=require")


def test_external_secrets_may_read_these_entries_and_no_others(made: Graph) -> None:
    policy = made.one("aws:iam/rolePolicy:RolePolicy", "external-secrets")
    (reading,) = [one for one in json.loads(policy.inputs["policy"])["Statement"] if "secretsmanager:GetSecretValue" in one["Action"]]
    assert set(reading["Resource"]) == {made.one("aws:secretsmanager/secret:Secret", name).outputs["arn"] for name in ("app", "migration")}


def test_pods_may_go_exactly_where_security_groups_let_them_in(made: Graph, stage: str) -> None:
    """The chart's egress names the data subnets, and each port it names is one that a group there opens to pods."""
    network = config(stage).network
    egress = made.exports["helmValues"]["networkPolicy"]["egress"]
    data = {str(subnet) for subnet in network.data}
    for name in ("database", "redis"):
        assert {one["cidr"] for one in egress[name]} == data
    opened = {rule.inputs["fromPort"] for rule in made.of(INGRESS_RULE) if rule.inputs.get("referencedSecurityGroupId")}
    asked = {port for name in ("database", "redis") for one in egress[name] for port in one["ports"]}
    assert opened == asked
    for rule in made.of(INGRESS_RULE):
        assert rule.inputs["fromPort"] == rule.inputs["toPort"]


def test_databases_are_in_the_subnets_that_the_policy_names(made: Graph, stage: str) -> None:
    data = {subnet.id for subnet in made.of("aws:ec2/subnet:Subnet") if subnet.name.startswith("data-")}
    for kind in ("aws:rds/subnetGroup:SubnetGroup", "aws:elasticache/subnetGroup:SubnetGroup"):
        for group in made.of(kind):
            assert set(group.inputs["subnetIds"]) == data


def test_the_load_balancer_comes_from_subnets_that_the_api_lets_in(made: Graph, stage: str) -> None:
    peers = {ip_network(cidr) for cidr in made.exports["helmValues"]["networkPolicy"]["ingressController"]["cidrs"]}
    tagged = [one for one in made.of("aws:ec2/subnet:Subnet") if "kubernetes.io/role/elb" in one.inputs["tags"]]
    assert {ip_network(subnet.inputs["cidrBlock"]) for subnet in tagged} == peers


def test_connections_of_the_chart_fit_the_parameter_group(made: Graph) -> None:
    parameters = {one["name"]: one["value"] for one in made.one("aws:rds/parameterGroup:ParameterGroup", "database").inputs["parameters"]}
    assert int(parameters["max_connections"]) == made.exports["helmValues"]["database"]["maxConnections"]


def test_the_certificate_is_of_the_host(made: Graph, stage: str) -> None:
    certificate = made.one("aws:acm/certificate:Certificate", "certificate")
    assert made.exports["helmValues"]["ingress"]["hosts"] == [certificate.inputs["domainName"]] == [config(stage).dns.host]


def test_workflows_are_bound_to_ids_and_the_environment(made: Graph, stage: str) -> None:
    github = config(stage).github
    for purpose in ("build", "deploy"):
        role = made.one("aws:iam/role:Role", f"github-{purpose}")
        (statement,) = json.loads(role.inputs["assumeRolePolicy"])["Statement"]
        conditions = statement["Condition"]["StringEquals"]
        assert set(conditions) == {f"{GITHUB}:{claim}" for claim in ("aud", "sub", "repository_id")}
        assert conditions[f"{GITHUB}:repository_id"] == str(github.repository_id)
        assert statement["Condition"]["StringEqualsIfExists"] == {f"{GITHUB}:repository_owner_id": str(github.owner_id)}
        assert conditions[f"{GITHUB}:aud"] == "sts.amazonaws.com"
        assert all(subject.endswith(f":environment:{stage}") for subject in conditions[f"{GITHUB}:sub"])


def test_a_workflow_that_builds_cannot_deploy_and_the_other_way_round(made: Graph) -> None:
    actions = {
        purpose: {
            action
            for one in json.loads(made.one("aws:iam/rolePolicy:RolePolicy", f"github-{purpose}").inputs["policy"])["Statement"]
            for action in one["Action"]
        }
        for purpose in ("build", "deploy")
    }
    assert all(action.startswith("ecr:") for action in actions["build"])
    assert actions["deploy"] == {"eks:DescribeCluster"}
    entry = made.one("aws:eks/accessPolicyAssociation:AccessPolicyAssociation", "deploy")
    assert entry.inputs["accessScope"] == {"type": "namespace", "namespaces": ["platform"]}


def test_no_output_is_a_secret(made: Graph) -> None:
    assert made.secret_exports == frozenset()
    passwords = {one.outputs["result"] for one in made.of("random:index/randomPassword:RandomPassword")}
    said = json.dumps(dict(made.exports))
    assert passwords
    assert not [password for password in passwords if password in said]


def bootstrapped(made: Graph, kind: str) -> dict[str, Any]:
    """Return an object of the bootstrap runbook, as the shell there would fill it in."""
    text = (RUNBOOKS / "bootstrap.md").read_text(encoding="utf-8")
    variables = {name: made.exports[output] for name, output in re.findall(r"(\w+)=\$\(pulumi stack output (\w+)\)", text)}
    manifests = re.search(r"<<EOF\n(.*?)^EOF$", text, re.MULTILINE | re.DOTALL)
    assert manifests
    filled = string.Template(manifests[1]).substitute(variables, REGION=made.exports["helmValues"]["config"]["S3_REGION"])
    (found,) = (one for one in yaml.safe_load_all(filled) if one["kind"] == kind)
    return found


def test_the_workflow_may_make_every_kind_of_object_of_the_chart(made: Graph, stage: str) -> None:
    """AWS's policy for namespaces has the built-in groups alone; the rest is the Role's, which is bound to the workflow's group."""
    allowed = {
        (group, resource) for rule in bootstrapped(made, "Role")["rules"] for group in rule["apiGroups"] for resource in rule["resources"]
    }
    monitored = {**values(made), "observability": {"podMonitor": {"enabled": True}, "prometheusRule": {"enabled": True}}}
    kinds = {(one["apiVersion"].rpartition("/")[0], f"{one['kind'].lower()}s") for one in (*release(made), *render(monitored))}
    assert {(group, kind) for group, kind in kinds if group not in BUILT_IN} <= allowed
    binding = bootstrapped(made, "RoleBinding")
    assert binding["roleRef"]["name"] == bootstrapped(made, "Role")["metadata"]["name"]
    assert binding["metadata"]["namespace"] == config(stage).service.namespace
    assert [one["name"] for one in binding["subjects"]] == made.one("aws:eks/accessEntry:AccessEntry", "deploy").inputs["kubernetesGroups"]


def test_nodes_of_karpenter_start_in_the_private_subnets_as_members_of_what_the_database_lets_in(made: Graph) -> None:
    spec = bootstrapped(made, "EC2NodeClass")["spec"]
    ((tag, value),) = spec["subnetSelectorTerms"][0]["tags"].items()
    selected = {one.name for one in made.of("aws:ec2/subnet:Subnet") if one.inputs["tags"].get(tag) == value}
    assert selected == {"private-0", "private-1", "private-2"}
    (group,) = spec["securityGroupSelectorTerms"]
    assert group["id"] in {rule.inputs.get("referencedSecurityGroupId") for rule in made.of(INGRESS_RULE)}
    roles = {role.outputs["name"] for role in made.of("aws:iam/role:Role") if role.name == "karpenter-node"}
    assert {spec["role"]} == roles


def test_nodes_of_karpenter_are_as_the_system_nodes(made: Graph, stage: str) -> None:
    spec = bootstrapped(made, "EC2NodeClass")["spec"]
    template = made.one("aws:ec2/launchTemplate:LaunchTemplate", "system").inputs
    assert spec["metadataOptions"] == {name: template["metadataOptions"][name] for name in spec["metadataOptions"]}
    assert spec["metadataOptions"]["httpTokens"] == "required"
    assert spec["metadataOptions"]["httpPutResponseHopLimit"] == 1
    (disk,), (system,) = spec["blockDeviceMappings"], template["blockDeviceMappings"]
    assert disk["deviceName"] == system["deviceName"]
    assert disk["ebs"]["volumeSize"] == f"{system['ebs']['volumeSize']}Gi"
    assert (disk["ebs"]["volumeType"], disk["ebs"]["encrypted"]) == ("gp3", True)
    assert disk["ebs"]["kmsKeyID"] == system["ebs"]["kmsKeyId"] == made.one("aws:kms/key:Key", "cluster").outputs["arn"]
    assert spec["kubelet"]["maxPods"] == catalog().nodes[config(stage).cluster.node_type].pods


def test_every_output_that_a_runbook_asks_for_is_there(made: Graph) -> None:
    asked = {
        (page.name, name)
        for page in RUNBOOKS.glob("*.md")
        for name in re.findall(r"pulumi stack output (?:--json )?(\w+)", page.read_text(encoding="utf-8"))
    }
    assert asked
    assert [(page, name) for page, name in sorted(asked) if name not in made.exports] == []
