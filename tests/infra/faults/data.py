"""Mistakes in databases, caches, buckets, images, keys and secrets."""

from typing import Any, Final

import pulumi

from tests.infra.faults.model import Change, Fault, Made, inside, option, put, token

DATABASE: Final = ("rds.Instance", "database")
BROKER: Final = ("elasticache.ReplicationGroup", "broker")
CACHE: Final = ("elasticache.ReplicationGroup", "cache")
UPLOADS: Final = "uploads"
LOGS: Final = "access-logs"


def _without_parameter(name: str) -> Change:
    return lambda now, _: [parameter for parameter in now if parameter["name"] != name]


def _with_parameter(name: str, **values: str) -> Change:
    return lambda now, _: [parameter | values if parameter["name"] == name else parameter for parameter in now]


def _arn(kind: str, name: str) -> Change:
    return lambda _, made: made[token(kind), name].arn


def _password(made: Made) -> pulumi.Output[str]:
    return next(resource for (kind, _), resource in made.items() if kind == token("random.RandomPassword")).result


def _public(_: Any, made: Made) -> pulumi.Output[str]:
    bucket = made[token("s3.Bucket"), UPLOADS]
    allow = {
        "Effect": "Allow",
        "Principal": "*",
        "Action": "s3:GetObject",
        "Resource": [bucket.arn, pulumi.Output.concat(bucket.arn, "/*")],
    }
    return pulumi.Output.json_dumps({"Version": "2012-10-17", "Statement": [allow]})


FAULTS: Final = (
    Fault("The database can be reached from the internet.", edits={DATABASE: put(publicly_accessible=True)}),
    Fault("The database is not encrypted.", edits={DATABASE: put(storage_encrypted=False, kms_key_id=None)}),
    Fault("The database is encrypted with AWS's key.", edits={DATABASE: put(kms_key_id=None)}),
    Fault("The database is given the key of another concern.", edits={DATABASE: put(kms_key_id=_arn("kms.Key", "secrets"))}),
    Fault("The database's administrator has a password in the program.", edits={
        DATABASE: put(password="administrator-1", manage_master_user_password=None, master_user_secret_kms_key_id=None),
    }),
    Fault("The database has no deletion protection.", edits={DATABASE: put(deletion_protection=False)}),
    Fault("The database is deleted without a last snapshot.", edits={DATABASE: put(skip_final_snapshot=True)}),
    Fault("The database's last snapshot has no name.", edits={DATABASE: put(final_snapshot_identifier=None)}),
    Fault("Production's backups are kept for a week.", config={"database.backupDays": 7}),
    Fault("The database's storage is of the old kind.", edits={DATABASE: put(storage_type="gp2")}),
    Fault("The database's storage cannot grow.", edits={DATABASE: put(max_allocated_storage=None)}),
    Fault("Changes to the database are made at once, in production.", edits={DATABASE: put(apply_immediately=True)}),
    Fault("The database's class is spelt like a node's.", edits={DATABASE: put(instance_class="r7g.xlarge")}),
    Fault("The database's class is burstable, whatever the configuration says.", edits={DATABASE: put(instance_class="db.t4g.large")}),
    Fault("A key's store is taken for its ARN, and there is none.", edits={
        DATABASE: put(kms_key_id=lambda _, made: made[token("kms.Key"), "database"].custom_key_store_id),
    }),
    Fault("The engine is called postgresql.", edits={DATABASE: put(engine="postgresql")}),
    Fault("The parameters are of another version than the database.", patches={"infra.components.database.FAMILY": "postgres15"}),
    Fault("The database has a version that RDS does not offer.", edits={DATABASE: put(engine_version="16.99")}),
    Fault("Clients are let in to the database without TLS.", edits={
        ("rds.ParameterGroup", "database"): put(parameters=_without_parameter("rds.force_ssl")),
    }),
    Fault("A parameter that wants a restart is applied at once.", edits={
        ("rds.ParameterGroup", "database"): put(parameters=_with_parameter("max_connections", apply_method="immediate")),
    }),
    Fault("The database takes fewer connections than the chart is told.", edits={
        ("rds.ParameterGroup", "database"): put(parameters=_with_parameter("max_connections", value="100")),
    }),
    Fault(
        "RDS manages the administrator of a database with a replica.",
        given={"database.replicas": 1},
        edits={DATABASE: put(manage_master_user_password=True, password=None)},
    ),
    Fault(
        "A replica is smaller than its source.",
        given={"database.replicas": 1},
        edits={("rds.Instance", "replica-0"): put(instance_class="db.r7g.large")},
    ),
    Fault("The backup is made while the database is maintained.", config={"database.backupWindow": "03:00-04:00"}),
    Fault("The database exports a log that PostgreSQL does not have.", edits={
        DATABASE: put(enabled_cloudwatch_logs_exports=["postgresql", "slowquery"]),
    }),
    Fault("The database has another name from now on.", edits={DATABASE: put(identifier="main")}),
    Fault("The database's resource is renamed without an alias.", renames={DATABASE: "postgres"}),
    Fault("The database is not protected.", edits={DATABASE: option(protect=None)}),
    Fault("The upload bucket would be deleted with its stack.", edits={("s3.Bucket", UPLOADS): option(retain_on_delete=None)}),
    Fault("The broker evicts tasks when it is full.", edits={
        ("elasticache.ParameterGroup", "broker"): put(parameters=[{"name": "maxmemory-policy", "value": "allkeys-lru"}]),
    }),
    Fault("The cache refuses writes when it is full.", edits={
        ("elasticache.ParameterGroup", "cache"): put(parameters=[{"name": "maxmemory-policy", "value": "noeviction"}]),
    }),
    Fault("The cache's parameters are those of Redis.", edits={("elasticache.ParameterGroup", "cache"): put(family="redis7")}),
    Fault("The broker speaks without TLS.", edits={BROKER: put(transit_encryption_enabled=False, transit_encryption_mode=None)}),
    Fault("TLS to the cache is preferred, not required.", edits={CACHE: put(transit_encryption_mode="preferred")}),
    Fault("The broker lets in who asks.", edits={BROKER: put(user_group_ids=None)}),
    Fault("A user of the broker may do everything.", edits={("elasticache.User", "broker"): put(access_string="on ~* &* +@all")}),
    Fault("A user of the cache needs no password.", edits={
        ("elasticache.User", "cache"): put(authentication_mode={"type": "no-password-required"}),
    }),
    Fault("The broker's replica does not take over.", edits={BROKER: put(automatic_failover_enabled=False)}),
    Fault("The broker is sharded.", edits={BROKER: put(num_cache_clusters=None, num_node_groups=2, replicas_per_node_group=1)}),
    Fault("The cache's class is spelt like a node's.", edits={CACHE: put(node_type="m7g.large")}),
    Fault("The cache's engine is Redis with a version of Valkey.", edits={CACHE: put(engine="redis")}),
    Fault("The upload bucket may be made public.", edits={("s3.BucketPublicAccessBlock", UPLOADS): put(block_public_policy=False)}),
    Fault("The logs' bucket has no block of public access.", without=[("s3.BucketPublicAccessBlock", LOGS)]),
    Fault("The upload bucket is public.", edits={("s3.BucketPolicy", UPLOADS): put(policy=_public)}),
    Fault("The upload bucket can be read without TLS.", without=[("s3.BucketPolicy", UPLOADS)]),
    Fault("Pages of every origin may upload.", edits={
        ("s3.BucketCorsConfiguration", UPLOADS): inside("cors_rules.0.allowed_origins", ["*"]),
    }),
    Fault("The upload bucket keeps no versions.", edits={
        ("s3.BucketVersioning", UPLOADS): put(versioning_configuration={"status": "Suspended"}),
    }),
    Fault("Uploads that were given up are kept for ever.", edits={
        ("s3.BucketLifecycleConfiguration", UPLOADS): inside("rules.2.abort_incomplete_multipart_upload", None),
    }),
    Fault("The upload bucket is deleted with its files.", edits={("s3.Bucket", UPLOADS): put(force_destroy=True)}),
    Fault("The upload bucket has a fixed name.", edits={("s3.Bucket", UPLOADS): put(bucket="uploads")}),
    Fault("Uploads are encrypted with S3's key.", edits={
        ("s3.BucketServerSideEncryptionConfiguration", UPLOADS): put(
            rules=[{"apply_server_side_encryption_by_default": {"sse_algorithm": "AES256"}}]
        ),
    }),
    Fault("Uploads are encrypted with a key that is gone.", edits={
        ("s3.BucketServerSideEncryptionConfiguration", UPLOADS): inside(
            "rules.0.apply_server_side_encryption_by_default.kms_master_key_id",
            "arn:aws:kms:us-east-1:333344445555:key/11111111-2222-3333-4444-555555555555",
        ),
    }),
    Fault("Access logs are to be written with a key that S3 does not take.", edits={
        ("s3.BucketServerSideEncryptionConfiguration", LOGS): put(
            rules=[{"apply_server_side_encryption_by_default": {"sse_algorithm": "aws:kms"}}]
        ),
    }),
    Fault("An image's tag can be moved.", edits={("ecr.Repository", "repository"): put(image_tag_mutability="MUTABLE")}),
    Fault("A key is never rotated.", edits={("kms.Key", "storage"): put(enable_key_rotation=False)}),
    Fault("A key is gone after a week.", edits={("kms.Key", "database"): put(deletion_window_in_days=7)}),
    Fault("A key is not protected.", edits={("kms.Key", "database"): option(protect=None)}),
    Fault("A secret is deleted at once.", edits={("secretsmanager.Secret", "app"): put(recovery_window_in_days=0)}),
    Fault("A secret stands in the state in plain.", edits={
        ("secretsmanager.SecretVersion", "app"): put(secret_string=lambda now, _: pulumi.Output.unsecret(now)),
    }),
    Fault("A password stands in a tag.", edits={
        ("secretsmanager.Secret", "app"): put(tags=lambda _, made: {"password": pulumi.Output.unsecret(_password(made))}),
    }),
    Fault("The stack hands out a password.", exports=lambda made: {"databasePassword": _password(made)}),
    Fault("The stack hands out a password that is not even marked.", exports=lambda made: {
        "databaseUrl": pulumi.Output.concat("postgresql://app:", pulumi.Output.unsecret(_password(made)), "@db")
    }),
    Fault("A password has eight characters.", edits={("random.RandomPassword", "app-password-1"): put(length=8)}),
)  # fmt: skip
