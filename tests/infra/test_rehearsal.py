"""The short version of ``make infra-rehearsal``: the stand-in of AWS by itself, and one life of a small program on the real engine."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from pulumi.runtime.proto import provider_pb2, provider_pb2_grpc

from tests.infra import stages
from tests.infra.rehearsal.engine import installed, repair
from tests.infra.rehearsal.kinds import FACTS, kind
from tests.infra.rehearsal.making.cloud import Cloud, moto
from tests.infra.rehearsal.provider import Provider, serving
from tests.infra.rehearsal.values import DEFAULTS, UNKNOWN, Values, decode, encode, secret
from tests.infra.rehearsal.world import World

SUBNET = "aws:ec2/subnet:Subnet"
VPC = "aws:ec2/vpc:Vpc"
TRUST = '{"Version": "2012-10-17", "Statement": []}'
PASSWORD = "correct-horse-battery"


def urn(token: str, name: str = "one") -> str:
    return f"urn:pulumi:dev::fastapi-platform::{token}::{name}"


class Engine:
    """Asks the stand-in what the engine would ask."""

    def __init__(self, address: str, world: World) -> None:
        self.world = world
        self._channel = grpc.insecure_channel(address)
        self._provider: Any = provider_pb2_grpc.ResourceProviderStub(self._channel)
        configuration = {"region": "us-east-1", "allowedAccountIds": json.dumps(["111122223333"])}
        self._provider.Configure(provider_pb2.ConfigureRequest(args=encode(configuration), acceptSecrets=True))

    def check(self, token: str, news: Values, olds: Values | None = None) -> tuple[Values, list[str]]:
        request = provider_pb2.CheckRequest(urn=urn(token), olds=encode(olds or {}), news=encode(news), randomSeed=bytes(range(32)))
        answer = self._provider.Check(request)
        return decode(answer.inputs), [failure.reason for failure in answer.failures]

    def create(self, token: str, inputs: Values, *, name: str = "one", preview: bool = False) -> tuple[str, Values]:
        request = provider_pb2.CreateRequest(urn=urn(token, name), properties=encode(inputs), preview=preview)
        answer = self._provider.Create(request)
        return answer.id, decode(answer.properties)

    def diff(self, token: str, olds: Values, news: Values) -> Any:
        return self._provider.Diff(provider_pb2.DiffRequest(id="x", urn=urn(token), old_inputs=encode(olds), news=encode(news)))

    def read(self, token: str, id_: str) -> str:
        return self._provider.Read(provider_pb2.ReadRequest(id=id_, urn=urn(token))).id

    def update(self, token: str, id_: str, news: Values) -> Values:
        return decode(self._provider.Update(provider_pb2.UpdateRequest(id=id_, urn=urn(token), news=encode(news))).properties)

    def delete(self, token: str, id_: str) -> None:
        self._provider.Delete(provider_pb2.DeleteRequest(id=id_, urn=urn(token)))

    def close(self) -> None:
        self._channel.close()


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with moto() as address:
        yield address


@pytest.fixture
def engine(endpoint: str) -> Iterator[Engine]:
    cloud = Cloud(endpoint)
    cloud.forget()
    world = World(cloud)
    with serving(Provider(world, cloud.configure)) as providers:
        engine = Engine(f"127.0.0.1:{providers.rsplit(':', 1)[1]}", world)
        yield engine
        engine.close()


def test_what_is_made_is_made_in_moto(engine: Engine, endpoint: str) -> None:
    vpc, outputs = engine.create(VPC, {"cidrBlock": "10.0.0.0/16"})
    cloud = Cloud(endpoint)
    cloud.configure({"allowedAccountIds": ["111122223333"], "region": "us-east-1"})
    assert vpc in {one["VpcId"] for one in cloud.client("ec2").describe_vpcs()["Vpcs"]}
    assert outputs["arn"] == f"arn:aws:ec2:us-east-1:111122223333:vpc/{vpc}"


def test_a_reference_to_what_does_not_exist_is_refused(engine: Engine) -> None:
    with pytest.raises(grpc.RpcError, match="vpcId is vpc-0, and no such"):
        engine.create(SUBNET, {"vpcId": "vpc-0", "cidrBlock": "10.0.0.0/24"})


def test_what_something_refers_to_is_not_deleted(engine: Engine) -> None:
    vpc, _ = engine.create(VPC, {"cidrBlock": "10.0.0.0/16"})
    subnet, _ = engine.create(SUBNET, {"vpcId": vpc, "cidrBlock": "10.0.0.0/24"}, name="inner")
    with pytest.raises(grpc.RpcError, match="in use by inner"):
        engine.delete(VPC, vpc)
    engine.delete(SUBNET, subnet)
    engine.delete(VPC, vpc)
    assert engine.world.all() == []


def test_what_is_gone_is_neither_read_nor_updated_and_deleting_it_is_no_fault(engine: Engine) -> None:
    vpc, _ = engine.create(VPC, {"cidrBlock": "10.0.0.0/16"})
    assert engine.read(VPC, vpc) == vpc
    engine.delete(VPC, vpc)
    assert engine.read(VPC, vpc) == ""
    with pytest.raises(grpc.RpcError, match="does not exist"):
        engine.update(VPC, vpc, {"cidrBlock": "10.0.0.0/16"})
    engine.delete(VPC, vpc)


def test_an_update_keeps_what_aws_added(engine: Engine) -> None:
    vpc, made = engine.create(VPC, {"cidrBlock": "10.0.0.0/16"})
    changed = engine.update(VPC, vpc, {"cidrBlock": "10.0.0.0/16", "enableDnsHostnames": True})
    assert (changed["arn"], changed["enableDnsHostnames"]) == (made["arn"], True)


def test_a_preview_makes_nothing_and_leaves_open_what_aws_decides(engine: Engine) -> None:
    id_, outputs = engine.create(VPC, {"cidrBlock": "10.0.0.0/16"}, preview=True)
    assert (id_, outputs["arn"], outputs["cidrBlock"]) == ("", UNKNOWN, "10.0.0.0/16")
    assert engine.world.all() == []


def test_a_secret_stays_marked_in_what_is_answered(engine: Engine) -> None:
    key, _ = engine.create("aws:secretsmanager/secret:Secret", {"name": "app"})
    _, outputs = engine.create("aws:secretsmanager/secretVersion:SecretVersion", {"secretId": key, "secretString": secret(PASSWORD)})
    assert outputs.pop("secretString") == secret(PASSWORD)
    assert PASSWORD not in json.dumps(outputs)


def test_a_name_is_made_up_once_and_kept(engine: Engine) -> None:
    first, failures = engine.check("aws:iam/role:Role", {"assumeRolePolicy": "{}"})
    again, _ = engine.check("aws:iam/role:Role", {"assumeRolePolicy": "{ }"}, first)
    assert failures == []
    assert first["name"].startswith("one-")
    assert first[DEFAULTS] == ["name"]
    assert again["name"] == first["name"]


def test_a_property_that_the_type_does_not_have_is_refused(engine: Engine) -> None:
    _, failures = engine.check(VPC, {"cidr": "10.0.0.0/16"})
    assert failures == [f"{VPC} has no property cidr"]


def test_a_type_without_facts_is_refused_with_the_place_to_add_them(engine: Engine) -> None:
    _, failures = engine.check("aws:lambda/function:Function", {})
    assert "facts.toml" in failures[0]


@pytest.mark.parametrize(
    ("token", "olds", "news", "replaces"),
    [
        (VPC, {"cidrBlock": "10.0.0.0/16"}, {"cidrBlock": "10.1.0.0/16"}, ["cidrBlock"]),
        (VPC, {"tags": {"a": "1"}}, {"tags": {"a": "2"}}, []),
        ("aws:ec2/flowLog:FlowLog", {"trafficType": "ALL", "tags": {"a": "1"}}, {"trafficType": "ALL", "tags": {"a": "2"}}, []),
        ("aws:rds/instance:Instance", {"engineVersion": "16.10"}, {"engineVersion": "16.11"}, []),
        ("aws:rds/instance:Instance", {"username": "a"}, {"username": "b"}, ["username"]),
        (
            "aws:eks/cluster:Cluster",
            {"kubernetesNetworkConfig": {"serviceIpv4Cidr": "172.20.0.0/16"}},
            {"kubernetesNetworkConfig": {"serviceIpv4Cidr": "172.21.0.0/16"}},
            ["kubernetesNetworkConfig"],
        ),
        ("aws:eks/cluster:Cluster", {"vpcConfig": {"publicAccessCidrs": []}}, {"vpcConfig": {"publicAccessCidrs": ["192.0.2.0/24"]}}, []),
        ("random:index/randomPassword:RandomPassword", {"length": 32}, {"length": 40}, ["length"]),
    ],
)
def test_only_what_the_provider_cannot_change_is_replaced(
    engine: Engine, token: str, olds: Values, news: Values, replaces: list[str]
) -> None:
    answer = engine.diff(token, olds, news)
    assert list(answer.replaces) == replaces
    assert answer.changes == provider_pb2.DiffResponse.DIFF_SOME


def test_what_keeps_its_name_is_deleted_before_its_replacement_is_made(engine: Engine) -> None:
    named = {"name": "platform", "family": "postgres16"}
    assert engine.diff("aws:rds/parameterGroup:ParameterGroup", named, {**named, "family": "postgres17"}).deleteBeforeReplace
    made_up = {**named, DEFAULTS: ["name"]}
    assert not engine.diff("aws:rds/parameterGroup:ParameterGroup", made_up, {**made_up, "family": "postgres17"}).deleteBeforeReplace


def test_a_cluster_before_its_role_may_act_is_refused(engine: Engine) -> None:
    _, role = engine.create("aws:iam/role:Role", {"name": "control-plane", "assumeRolePolicy": TRUST})
    with pytest.raises(grpc.RpcError, match="no AmazonEKSClusterPolicy yet"):
        engine.create("aws:eks/cluster:Cluster", {"name": "platform", "roleArn": role["arn"]})


def test_a_nat_gateway_before_the_internet_gateway_is_refused(engine: Engine) -> None:
    vpc, _ = engine.create(VPC, {"cidrBlock": "10.0.0.0/16"})
    subnet, _ = engine.create(SUBNET, {"vpcId": vpc, "cidrBlock": "10.0.0.0/24"})
    address, _ = engine.create("aws:ec2/eip:Eip", {"domain": "vpc"})
    inputs = {"subnetId": subnet, "allocationId": address}
    with pytest.raises(grpc.RpcError, match="no internet gateway is attached"):
        engine.create("aws:ec2/natGateway:NatGateway", inputs)
    engine.create("aws:ec2/internetGateway:InternetGateway", {"vpcId": vpc})
    assert engine.create("aws:ec2/natGateway:NatGateway", inputs)[0].startswith("nat-")


def test_a_database_that_protects_itself_is_not_deleted(engine: Engine) -> None:
    inputs = {
        "identifier": "db", "engine": "postgres", "instanceClass": "db.t4g.micro", "allocatedStorage": 20, "username": "postgres",
        "manageMasterUserPassword": True,
    }  # fmt: skip
    database, _ = engine.create("aws:rds/instance:Instance", {**inputs, "deletionProtection": True})
    with pytest.raises(grpc.RpcError, match="deletion protection is on"):
        engine.delete("aws:rds/instance:Instance", database)
    engine.update("aws:rds/instance:Instance", database, inputs)
    with pytest.raises(grpc.RpcError, match="finalSnapshotIdentifier is missing"):
        engine.delete("aws:rds/instance:Instance", database)


def test_a_database_is_not_upgraded_before_its_replicas(engine: Engine) -> None:
    token = "aws:rds/instance:Instance"
    source = {
        "identifier": "source", "engine": "postgres", "engineVersion": "16.9", "instanceClass": "db.m7g.large", "allocatedStorage": 20,
        "username": "postgres", "password": PASSWORD, "backupRetentionPeriod": 7,
    }  # fmt: skip
    replica = {"identifier": "replica", "replicateSourceDb": "source", "engineVersion": "16.9", "instanceClass": "db.m7g.large"}
    source_id, _ = engine.create(token, source)
    replica_id, _ = engine.create(token, replica)
    with pytest.raises(grpc.RpcError, match="read replicas need to be upgraded first: replica"):
        engine.update(token, source_id, {**source, "engineVersion": "16.10"})
    engine.update(token, replica_id, {**replica, "engineVersion": "16.10"})
    assert engine.update(token, source_id, {**source, "engineVersion": "16.10"})["engineVersion"] == "16.10"


def test_half_written_attributes_beside_the_state_are_deleted_and_nothing_else(tmp_path: Path) -> None:
    stack = tmp_path / ".pulumi" / "stacks" / "dev.json"
    stack.parent.mkdir(parents=True)
    written = {"dev.json": "{}", "dev.json.attrs": "", "dev.json.bak": "", "dev.json.bak.attrs": '{"user', "other.json.attrs": "{}"}
    for name, text in written.items():
        stack.with_name(name).write_text(text, encoding="utf-8")
    assert repair(tmp_path) == 2
    assert {file.name for file in stack.parent.iterdir()} == {"dev.json", "dev.json.bak", "other.json.attrs"}
    assert repair(tmp_path) == 0


def test_no_replica_is_made_while_rds_manages_the_administrator(engine: Engine) -> None:
    token = "aws:rds/instance:Instance"
    source = {
        "identifier": "source", "engine": "postgres", "instanceClass": "db.m7g.large", "allocatedStorage": 20, "username": "postgres",
        "manageMasterUserPassword": True, "backupRetentionPeriod": 7,
    }  # fmt: skip
    replica = {"identifier": "replica", "replicateSourceDb": "source", "instanceClass": "db.m7g.large"}
    source_id, _ = engine.create(token, source)
    with pytest.raises(grpc.RpcError, match="RDS manages the administrator's password of the source"):
        engine.create(token, replica)
    engine.update(token, source_id, {**source, "manageMasterUserPassword": False, "password": PASSWORD})
    engine.create(token, replica)


@pytest.mark.parametrize("stage", stages.STAGES)
def test_every_type_of_a_stage_has_facts(stage: str) -> None:
    tokens = {resource.type for resource in stages.graph(stage).resources if resource.type.startswith(("aws:", "random:"))}
    assert tokens
    assert tokens - FACTS["replaces"].keys() == set()


def test_every_fact_is_about_a_property_that_exists() -> None:
    for token in FACTS["replaces"]:
        known = kind(token)
        unknown = [path for path in known.replacing if path != "*" and path.split(".")[0] not in known.inputs]
        assert unknown == [], token
        assert known.name is None or known.name in known.inputs, token


@pytest.mark.timeout(300)
@pytest.mark.skipif(installed() is None, reason="no pulumi on the PATH; with one, a stage is made, broken off and destroyed here")
def test_a_program_on_the_real_engine_is_made_changed_broken_off_and_destroyed() -> None:
    # A process of its own: the runtime of Pulumi is global, and an engine that was killed leaves coroutines behind.
    command = [sys.executable, "-m", "tests.infra.rehearsal", "--stage", "sample", "--seed", "7", "--interruptions", "1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, env={**os.environ, "COLUMNS": "300"}, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Everything was as planned." in done.stdout
