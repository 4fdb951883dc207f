"""Each stage as a whole: what it is made of, and that none of it changes unnoticed."""

import json
import os

import pulumi
import pytest

from infra import policies
from infra.registrations import Graph
from tests.infra import golden, plan, stages
from tests.infra.faults.model import Fault, option, register

REPLACING = {
    "aws:ecr/repository:Repository": {"name": "other"},
    "aws:elasticache/replicationGroup:ReplicationGroup": {"replication_group_id": "other"},
    "aws:rds/instance:Instance": {"username": "other"},
    "aws:route53/zone:Zone": {"name": "other.example.com"},
    "aws:s3/bucket:Bucket": {"bucket": "other"},
    "aws:secretsmanager/secret:Secret": {"name": "other"},
}


def test_every_urn_is_in_the_golden_file(recorded: Graph) -> None:
    if os.environ.get("UPDATE_GOLDEN"):
        golden.keep(recorded.stack, recorded)
    assert golden.compare(recorded.stack, recorded) == [], "if it is meant: UPDATE_GOLDEN=1 pytest tests/infra/test_graph.py -k golden"


def test_the_sdk_warns_of_nothing(recorded: Graph) -> None:
    assert recorded.warnings == ()


def test_a_second_run_registers_the_same() -> None:
    stages.graph.cache_clear()
    first = stages.graph("dev")
    stages.graph.cache_clear()
    assert stages.graph("dev") == first


def test_stages_differ_in_what_is_meant_to_differ() -> None:
    dev, staging, prod = (set(golden.kept(stage)) for stage in stages.STAGES)
    only_prod = {urn.rpartition("$")[2] for urn in prod - staging}
    assert {name.partition("::")[0] for name in only_prod} <= {
        "aws:cloudwatch/logGroup:LogGroup",
        "aws:cloudwatch/metricAlarm:MetricAlarm",
        "aws:ec2/eip:Eip",
        "aws:ec2/natGateway:NatGateway",
        "aws:ec2/securityGroup:SecurityGroup",
        "aws:ec2/vpcEndpoint:VpcEndpoint",
        "aws:eks/accessEntry:AccessEntry",
        "aws:eks/accessPolicyAssociation:AccessPolicyAssociation",
        "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule",
    }
    assert {urn for urn in dev - staging if "credits" not in urn} == set()


@pytest.mark.parametrize("secret", stages.SECRETS.values(), ids=stages.SECRETS)
def test_a_secret_of_the_configuration_is_in_no_output_and_in_no_plain_input(recorded: Graph, secret: str) -> None:
    assert secret not in json.dumps(recorded.exports)
    holders = [it for it in recorded.resources if any(secret in json.dumps(value) for value in it.inputs.values())]
    assert [it.name for it in holders] == ["app"]
    assert holders[0].secrets == {"secretString"}


def test_no_output_is_secret_and_none_is_missing(recorded: Graph) -> None:
    assert recorded.secret_exports == frozenset()
    assert {"helmValues", "host", "nameServers", "clusterName"} <= recorded.exports.keys()
    assert all(value not in (None, "", []) for value in recorded.exports.values())


def test_nothing_protected_can_be_deleted(recorded: Graph) -> None:
    nothing = Graph(recorded.stack, (), {}, frozenset())
    refused = {step.urn for step in plan.refused(recorded, nothing)}
    assert refused == {it.urn for it in recorded.resources if it.protect}
    assert {it.type for it in recorded.resources if it.protect} >= REPLACING.keys() | {"aws:kms/key:Key", "aws:eks/cluster:Cluster"}


@pytest.mark.parametrize("kind", REPLACING)
def test_nothing_protected_can_be_replaced(kind: str) -> None:
    before = stages.graph("prod")
    for resource in [it for it in before.of(kind) if it.protect]:
        module, name = kind.removeprefix("aws:").split("/")[0], kind.rpartition(":")[2]
        fault = Fault("", edits={(f"{module}.{name}", resource.name): lambda props, _, __: props.update(REPLACING[kind])})
        assert resource.urn in {step.urn for step in plan.refused(before, register(fault))}


def test_a_renamed_resource_with_an_alias_is_the_same_resource() -> None:
    before = stages.graph("prod")
    place = ("ecr.Repository", "repository")
    renamed = Fault("", renames={place: "images"}, edits={place: option(aliases=[pulumi.Alias(name="repository")])})
    with_alias = register(renamed)
    assert plan.refused(before, with_alias) == []
    assert [str(step) for step in plan.plan(before, with_alias) if step.action in {"replace", "delete"} and before[step.urn].protect] == []
    without = register(Fault("", renames={place: "images"}))
    assert [step.action for step in plan.refused(before, without)] == ["delete"]


def test_a_database_with_a_replica_has_an_administrator_of_ours_and_no_policy_is_against_it() -> None:
    made = register(Fault("", given={"database.replicas": 1}))
    assert policies.check(made, production=True) == []
    database = made.one("aws:rds/instance:Instance", "database")
    assert "manageMasterUserPassword" not in database.inputs
    assert database.secrets >= {"password"}
    version = made.one("aws:secretsmanager/secretVersion:SecretVersion", "administrator")
    assert version.secrets == {"secretString"}
    assert json.loads(version.inputs["secretString"]) == {"username": "platform_admin", "password": database.inputs["password"]}
    assert made.exports["databaseAdministrator"] == made.one("aws:secretsmanager/secret:Secret", "administrator").outputs["arn"]


def test_what_does_not_change_is_left_alone(recorded: Graph) -> None:
    assert plan.plan(recorded, recorded) == []
