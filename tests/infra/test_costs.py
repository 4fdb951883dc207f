"""The estimate counts what the program makes, stays below the budget, and moves with the configuration."""

from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml

from infra import costs
from infra.config import StageConfig, load
from infra.generate import graph
from infra.registrations import Graph

INFRA = Path(__file__).parents[2] / "infra"
STAGES = ("dev", "staging", "prod")


def stage(name: str, **changes: Any) -> StageConfig:
    raw = yaml.safe_load((INFRA / f"Pulumi.{name}.yaml").read_text())["config"]["fastapi-platform:stage"]
    for part, fields in changes.items():
        raw[part] |= fields
    return load(raw, date(2026, 11, 25))


def cost(config: StageConfig) -> float:
    return costs.total(costs.estimate(config))


def number(config: StageConfig, what: str) -> float:
    return sum(line.number for line in costs.estimate(config) if line.what.startswith(what))


@pytest.fixture(scope="module", params=STAGES)
def made(request: pytest.FixtureRequest) -> tuple[StageConfig, Graph]:
    return stage(request.param), graph(request.param)


@pytest.mark.parametrize("name", STAGES)
def test_a_usual_month_stays_below_the_share_of_the_budget_that_raises_the_first_alarm(name: str) -> None:
    config = stage(name)
    assert cost(config) < config.alarms.monthly_budget_usd * 0.8


@pytest.mark.parametrize(
    ("what", "kind"),
    [
        ("NAT gateways", "aws:ec2/natGateway:NatGateway"),
        ("PostgreSQL", "aws:rds/instance:Instance"),
        ("KMS keys", "aws:kms/key:Key"),
        ("CloudWatch alarms", "aws:cloudwatch/metricAlarm:MetricAlarm"),
        ("Hosted zone", "aws:route53/zone:Zone"),
    ],
)
def test_what_is_counted_is_what_the_program_makes(made: tuple[StageConfig, Graph], what: str, kind: str) -> None:
    config, registered = made
    found = registered.of(kind)
    standbys = sum(bool(resource.inputs.get("multiAz")) for resource in found)
    assert number(config, what) == len(found) + standbys


def test_interface_endpoints_and_secrets_are_counted_as_made(made: tuple[StageConfig, Graph]) -> None:
    config, registered = made
    endpoints = [item for item in registered.of("aws:ec2/vpcEndpoint:VpcEndpoint") if item.inputs["vpcEndpointType"] == "Interface"]
    assert number(config, "Interface endpoints") == sum(len(endpoint.inputs["subnetIds"]) for endpoint in endpoints)
    administrator = 1  # made by RDS
    assert number(config, "Entries") == len(registered.of("aws:secretsmanager/secret:Secret")) + administrator


def test_a_second_zone_for_the_database_costs_as_much_as_the_first() -> None:
    before, after = stage("dev"), stage("dev", database={"multiAz": True})
    instance = 0.065 * 730 + 20 * 0.115
    assert cost(after) - cost(before) == pytest.approx(instance)


def test_a_nat_gateway_a_zone_costs_two_more_with_their_addresses_and_alarms() -> None:
    before, after = stage("staging"), stage("staging", network={"nat": "per-zone"})
    assert cost(after) - cost(before) == pytest.approx(2 * ((0.045 + 0.005) * 730 + 0.10))


def test_twice_the_class_costs_the_difference_for_each_copy() -> None:
    before, after = stage("prod"), stage("prod", database={"instanceClass": "db.r7g.2xlarge"})
    copies, watched_processors = 2, 4  # the standby is an instance, and not watched
    assert cost(after) - cost(before) == pytest.approx((copies * (0.956 - 0.478) + watched_processors * 0.0125) * 730)


def test_a_proxy_is_charged_by_the_processors_of_the_instance_and_has_an_entry() -> None:
    before, after = stage("staging"), stage("staging", database={"proxy": True})
    assert cost(after) - cost(before) == pytest.approx(2 * 0.015 * 730 + 0.40)


def test_more_pods_need_more_nodes() -> None:
    before, after = stage("staging"), stage("staging", service={"apiMin": 8})
    assert costs.nodes(after) > costs.nodes(before)
