"""A small program, to try the stand-in itself: a little of everything that can go wrong."""

import json
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_aws as aws
import pulumi_random as random


def policy(action: str, **further: Any) -> str:
    """Return a policy with one statement."""
    return json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": action, **further}]})


ACCOUNT = "111122223333"
REGION = "eu-central-1"
TRUST = policy("sts:AssumeRole", Principal={"Service": "ec2.amazonaws.com"})
POLICY = policy("s3:ListAllMyBuckets", Resource="*")
SUBNETS = ("10.0.0.0/24", "10.0.1.0/24")


@dataclass(frozen=True, slots=True)
class Sample:
    """What the program may be told.

    Args:
        engine_version: Of the database.
        username: Of its administrator; another one makes another database.
        component: The component's name.
        alias: Its former name.
    """

    engine_version: str = "16.9"
    username: str = "postgres"
    component: str = "data"
    alias: str | None = None

    def __call__(self) -> None:
        """Register everything."""
        provider = aws.Provider("aws", region=REGION, allowed_account_ids=[ACCOUNT], default_tags={"tags": {"stage": "sample"}})
        vpc = aws.ec2.Vpc("vpc", cidr_block="10.0.0.0/16", opts=pulumi.ResourceOptions(provider=provider))
        aliases = [pulumi.Alias(name=self.alias)] if self.alias else None
        data = Data(self, vpc, pulumi.ResourceOptions(providers={"aws": provider}, aliases=aliases))
        pulumi.export("endpoint", data.database.endpoint)
        pulumi.export("url", data.url)


class Data(pulumi.ComponentResource):
    """A database with its surroundings."""

    def __init__(self, sample: Sample, vpc: aws.ec2.Vpc, opts: pulumi.ResourceOptions) -> None:
        super().__init__("platform:rehearsal:Data", sample.component, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        guarded = pulumi.ResourceOptions(parent=self, protect=True)
        zones = [f"{REGION}{zone}" for zone in "ab"]
        subnets = [
            aws.ec2.Subnet(f"data-{number}", vpc_id=vpc.id, cidr_block=cidr, availability_zone=zone, opts=child)
            for number, (cidr, zone) in enumerate(zip(SUBNETS, zones, strict=True))
        ]
        group = aws.ec2.SecurityGroup("database", vpc_id=vpc.id, description="Database", opts=child)
        aws.vpc.SecurityGroupIngressRule(
            "database", security_group_id=group.id, ip_protocol="tcp", from_port=5432, to_port=5432, cidr_ipv4="10.0.0.0/16", opts=child
        )
        key = aws.kms.Key("database", description="Database", opts=guarded)
        place = aws.rds.SubnetGroup("database", subnet_ids=[subnet.id for subnet in subnets], opts=child)
        password = random.RandomPassword("app", length=32, special=False, opts=child)
        self.database = aws.rds.Instance(
            "database",
            engine="postgres",
            engine_version=sample.engine_version,
            instance_class="db.t4g.micro",
            allocated_storage=20,
            storage_encrypted=True,
            kms_key_id=key.arn,
            username=sample.username,
            manage_master_user_password=True,
            db_subnet_group_name=place.name,
            vpc_security_group_ids=[group.id],
            final_snapshot_identifier="sample-last",
            opts=guarded,
        )
        self.url: pulumi.Output[str] = pulumi.Output.concat("postgresql://app:", password.result, "@", self.database.endpoint)
        secret = aws.secretsmanager.Secret("app", kms_key_id=key.arn, opts=guarded)
        aws.secretsmanager.SecretVersion("app", secret_id=secret.id, secret_string=self.url, opts=pulumi.ResourceOptions(parent=secret))
        bucket = aws.s3.Bucket("files", opts=guarded)
        aws.s3.BucketPublicAccessBlock("files", bucket=bucket.id, block_public_acls=True, opts=pulumi.ResourceOptions(parent=bucket))
        role = aws.iam.Role("reader", assume_role_policy=TRUST, opts=child)
        aws.iam.RolePolicy("reader", role=role.name, policy=POLICY, opts=pulumi.ResourceOptions(parent=role))
        self.register_outputs({})
