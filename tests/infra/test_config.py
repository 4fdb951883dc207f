"""What a stage's configuration says wrong is refused before anything is registered, all of it at once, each with a remedy."""

from copy import deepcopy
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml

from infra.config import InvalidConfig, load

INFRA = Path(__file__).parents[2] / "infra"
STAGES = ("dev", "staging", "prod")
TODAY = date(2026, 11, 25)
SECTION = "fastapi-platform:stage"


def raw(stage: str) -> dict[str, Any]:
    return yaml.safe_load((INFRA / f"Pulumi.{stage}.yaml").read_text())["config"][SECTION]


def changed(stage: str, path: str, value: Any) -> dict[str, Any]:
    config = deepcopy(raw(stage))
    *parents, last = path.split(".")
    place = config
    for parent in parents:
        place = place[parent]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return config


def problems(config: dict[str, Any], today: date = TODAY) -> list[str]:
    with pytest.raises(InvalidConfig) as caught:
        load(config, today)
    return caught.value.problems


@pytest.mark.parametrize("stage", STAGES)
def test_every_stage_is_valid_and_frozen(stage: str) -> None:
    config = load(raw(stage), TODAY)
    assert config.stage == stage
    with pytest.raises(ValueError, match="frozen"):
        config.network.nat = "single"


def test_stages_do_not_overlap_and_have_accounts_of_their_own() -> None:
    configs = [load(raw(stage), TODAY) for stage in STAGES]
    assert len({config.account for config in configs}) == len(STAGES)
    for config in configs:
        for other in configs:
            if config is not other:
                assert not config.network.cidr.overlaps(other.network.cidr)
                assert other.network.cidr in config.network.reserved_cidrs


@pytest.mark.parametrize("stage", STAGES)
def test_subnets_are_within_the_vpc_and_apart(stage: str) -> None:
    network = load(raw(stage), TODAY).network
    subnets = [*network.public, *network.private, *network.data]
    assert len(subnets) == 9
    for number, subnet in enumerate(subnets):
        assert subnet.subnet_of(network.cidr)
        assert not any(subnet.overlaps(other) for other in subnets[number + 1 :])


@pytest.mark.parametrize(
    ("stage", "path", "value", "said"),
    [
        ("prod", "network.cidr", "10.30.0.0/20", "network.cidr is 10.30.0.0/20: it must be /16 to /18"),
        ("prod", "network.cidr", "10.0.0.0/12", "network.cidr is 10.0.0.0/12: it must be /16 to /18"),
        ("prod", "network.cidr", "10.30.0.1/16", "network.cidr is '10.30.0.1/16'"),
        ("prod", "network.cidr", "8.8.0.0/16", "which is not private (RFC 1918)"),
        ("prod", "network.cidr", "10.20.0.0/17", "overlaps 10.20.0.0/16 of network.reservedCidrs"),
        ("prod", "network.cidr", "172.20.0.0/16", "overlaps cluster.serviceCidr (172.20.0.0/16)"),
        ("prod", "network.zones", ["us-east-1a", "us-east-1b"], "network.zones names 2 different zones; name 3"),
        ("prod", "network.zones", ["us-east-1a", "us-east-1a", "us-east-1b"], "network.zones names 2 different zones"),
        ("prod", "network.zones", ["eu-west-1a", "us-east-1b", "us-east-1c"], "eu-west-1a, which is not in the region us-east-1"),
        ("prod", "network.nat", "single", "network.nat is single in prod"),
        ("prod", "network.nat", "none", "network.nat is 'none'"),
        ("prod", "cluster.version", "1.29", "cluster.version is 1.29, which EKS is not known to support; choose of 1.34, 1.35"),
        ("prod", "cluster.version", "1.33", "whose standard support ended on 2026-07-29"),
        ("dev", "cluster.publicCidrs", ["0.0.0.0/0"], "cluster.publicCidrs has 0.0.0.0/0, which opens the API server"),
        ("dev", "cluster.administrators", [], "cluster.administrators is empty"),
        ("dev", "cluster.administrators", ["arn:aws:iam::111122223333:user/somebody"], "cluster.administrators.0 is 'arn"),
        ("dev", "cluster.nodeMin", 9, "cluster.nodeMin (9) is above nodeMax (4)"),
        ("prod", "cluster.nodeMin", 2, "cluster.nodeMin is 2 in prod"),
        ("prod", "cluster.nodeType", "t3.large", "cluster.nodeType is t3.large in prod, which slows down"),
        ("prod", "cluster.nodeType", "m9.huge", "cluster.nodeType is m9.huge, which infra/catalog.toml does not know"),
        ("prod", "database.engineVersion", "17.1", "database.engineVersion is '17.1'"),
        ("prod", "database.instanceClass", "db.t4g.large", "database.instanceClass is db.t4g.large in prod, which slows down"),
        ("prod", "database.instanceClass", "db.m7g.tiny", "database.instanceClass is db.m7g.tiny, which"),
        ("prod", "database.multiAz", False, "database.multiAz is false in prod"),
        ("prod", "database.backupDays", 7, "database.backupDays is 7 in prod"),
        ("prod", "database.backupDays", 0, "database.backupDays is 0"),
        ("prod", "database.maxStorageGib", 200, "leaves less than a tenth above storageGib (200)"),
        ("prod", "database.backupWindow", "03:00-04:00", "overlaps maintenanceWindow"),
        ("prod", "cache.replicas", 0, "cache.replicas is 0 in prod"),
        ("prod", "cache.brokerClass", "cache.t4g.small", "cache.brokerClass is cache.t4g.small in prod"),
        ("prod", "cache.snapshotDays", 0, "cache.snapshotDays is 0 in prod"),
        ("prod", "cache.engineVersion", "7.0", "cache.engineVersion is '7.0'"),
        ("prod", "dns", ..., "dns is missing"),
        ("prod", "dns.host", ..., "dns.host is missing"),
        ("prod", "dns.host", "api.example.org", "dns.host (api.example.org) is not in dns.zone"),
        ("prod", "service.environment", "staging", "service.environment is staging on the stage prod; it must be production"),
        ("dev", "service.environment", "production", "it must be staging"),
        ("dev", "service.apiMin", 1, "a drained node would take the only pod"),
        ("dev", "service.apiMin", 5, "service.apiMin (5) is above apiMax (4)"),
        ("dev", "service.apiMax", 60, "offers 380 connections, and the pods may open 851"),
        ("dev", "service.origins", ["http://app.dev.example.com"], "service.origins.0 is 'http"),
        ("dev", "alarms.emails", [], "alarms.emails is []"),
        ("dev", "cluster.logDays", 10, "cluster.logDays is 10"),
        ("dev", "account", "12345", "account is '12345'"),
        ("dev", "databse", {}, "databse is not known; remove it or mend its spelling"),
        ("dev", "secrets", {"signingKeys": []}, "secrets.signingKeys is []"),
    ],
)
def test_what_is_wrong_is_refused_with_a_remedy(stage: str, path: str, value: Any, said: str) -> None:
    found = problems(changed(stage, path, value))
    assert any(said in problem for problem in found), found


def test_a_vpc_too_small_for_its_pods_is_refused() -> None:
    config = changed("prod", "network.cidr", "10.30.0.0/18")
    config["service"] |= {"apiMax": 2000}
    config["database"] |= {"proxy": True}
    config["cluster"]["nodeType"] = "m7i.large"
    found = problems(config)
    assert ["addresses a zone for pods" in problem for problem in found] == [True], found


def test_every_problem_is_told_at_once() -> None:
    config = changed("prod", "network.zones", ["us-east-1a"])
    config["network"]["cidr"] = "0.0.0.0/0"
    config["bogus"] = 1
    del config["cluster"]["version"]
    config["database"]["multiAz"] = False
    found = problems(config)
    assert len(found) >= 5, found
    assert all(problem.endswith(".") for problem in found)


def test_the_refusal_says_that_nothing_was_changed() -> None:
    with pytest.raises(InvalidConfig, match="The configuration of prod has 1 problem; nothing was changed"):
        load(changed("prod", "database.multiAz", False), TODAY)


def test_a_version_is_refused_from_the_day_after_its_support() -> None:
    assert load(changed("prod", "cluster.version", "1.34"), date(2026, 12, 2)).cluster.version == "1.34"
    assert "1.34" in problems(changed("prod", "cluster.version", "1.34"), date(2026, 12, 3))[0]
