"""cfn-lint reads nearly everything that the program registers, and has nothing against it."""

import pytest

from infra.registrations import Graph
from tests.infra import stages
from tests.infra.cloudformation import coverage, template
from tests.infra.lint import lint
from tests.infra.translations import KINDS, NOT_THERE


def test_cfn_lint_has_nothing_against_a_stage(recorded: Graph) -> None:
    assert lint(recorded) == []


def test_what_is_not_translated_has_a_reason(recorded: Graph) -> None:
    covered, total, left = coverage(recorded)
    assert left == sorted(NOT_THERE)
    assert covered / total >= 0.95


@pytest.mark.parametrize("kind", ["AWS::RDS::DBInstance", "AWS::EKS::Cluster", "AWS::S3::Bucket", "AWS::ElastiCache::ReplicationGroup"])
def test_the_template_has_as_many_of_a_kind_as_the_stage(kind: str) -> None:
    graph = stages.graph("prod")
    (token,) = [token for token, found in KINDS.items() if found.type == kind]
    body, _ = template(graph)
    assert len([it for it in body["Resources"].values() if it["Type"] == kind]) == len(graph.of(token))


def test_what_belongs_to_a_bucket_is_folded_into_it() -> None:
    body, urns = template(stages.graph("prod"))
    (bucket,) = [it for key, it in body["Resources"].items() if it["Type"] == "AWS::S3::Bucket" and urns[key].endswith("::uploads")]
    assert {
        "BucketEncryption",
        "CorsConfiguration",
        "LifecycleConfiguration",
        "PublicAccessBlockConfiguration",
        "VersioningConfiguration",
    } <= set(bucket["Properties"])


def test_a_part_of_a_stage_can_be_looked_at() -> None:
    graph = stages.graph("dev")
    body, _ = template(graph, only=[graph.one("aws:s3/bucketVersioning:BucketVersioning", "uploads").urn])
    assert [it["Type"] for it in body["Resources"].values()] == ["AWS::S3::Bucket"]
