"""What keeps data: RDS, ElastiCache, S3, Secrets Manager, KMS."""

from typing import TYPE_CHECKING

from tests.infra.rehearsal.making.cloud import Cloud, recipe
from tests.infra.rehearsal.making.shapes import call
from tests.infra.rehearsal.outputs import identifier
from tests.infra.rehearsal.values import Values

if TYPE_CHECKING:
    from tests.infra.rehearsal.world import Thing

POSTGRESQL_PORT = 5432
VALKEY_PORT = 6379


@recipe("aws:kms/key:Key", lambda cloud, thing: cloud.client("kms").schedule_key_deletion(KeyId=thing.id, PendingWindowInDays=7))
def _key(cloud: Cloud, inputs: Values) -> tuple[str, Values]:
    made = cloud.client("kms").create_key(**call(inputs, "description", "policy"))["KeyMetadata"]
    return made["KeyId"], {"arn": made["Arn"], "keyId": made["KeyId"]}


@recipe("aws:kms/alias:Alias", lambda cloud, thing: cloud.client("kms").delete_alias(AliasName=thing.id))
def _alias(cloud: Cloud, inputs: Values) -> tuple[str, Values]:
    cloud.client("kms").create_alias(AliasName=inputs["name"], TargetKeyId=inputs["targetKeyId"])
    return inputs["name"], {"arn": f"arn:aws:kms:{cloud.region}:{cloud.account}:{inputs['name']}"}


@recipe("aws:s3/bucket:Bucket", lambda cloud, thing: cloud.client("s3").delete_bucket(Bucket=thing.id))
def _bucket(cloud: Cloud, inputs: Values) -> tuple[str, Values]:
    bucket = inputs["bucket"]
    place = {} if cloud.region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": cloud.region}}
    cloud.client("s3").create_bucket(Bucket=bucket, **place)
    regional = f"{bucket}.s3.{cloud.region}.amazonaws.com"
    return bucket, {
        "arn": f"arn:aws:s3:::{bucket}",
        "bucketDomainName": f"{bucket}.s3.amazonaws.com",
        "bucketRegionalDomainName": regional,
        "region": cloud.region,
    }


@recipe("aws:s3/bucketPolicy:BucketPolicy", lambda cloud, thing: cloud.client("s3").delete_bucket_policy(Bucket=thing.id))
def _bucket_policy(cloud: Cloud, inputs: Values) -> tuple[str, Values]:
    cloud.client("s3").put_bucket_policy(Bucket=inputs["bucket"], Policy=inputs["policy"])
    return inputs["bucket"], {}


@recipe(
    "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock",
    lambda cloud, thing: cloud.client("s3").delete_public_access_block(Bucket=thing.id),
)
def _public_access(cloud: Cloud, inputs: Values) -> tuple[str, Values]:
    given = call(inputs, "blockPublicAcls", "blockPublicPolicy", "ignorePublicAcls", "restrictPublicBuckets")
    cloud.client("s3").put_public_access_block(Bucket=inputs["bucket"], PublicAccessBlockConfiguration=given)
    return inputs["bucket"], {}


def _unversion(cloud: Cloud, thing: "Thing") -> None:
    cloud.client("s3").put_bucket_versioning(Bucket=thing.id, VersioningConfiguration={"Status": "Suspended"})


@recipe("aws:s3/bucketVersioning:BucketVersioning", _unversion)
def _versioning(cloud: Cloud, inputs: Values) -> tuple[str, Values]:
    given = call(inputs["versioningConfiguration"], "status")
    cloud.client("s3").put_bucket_versioning(Bucket=inputs["bucket"], VersioningConfiguration=given)
    return inputs["bucket"], {}


@recipe(
    "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration",
    lambda cloud, thing: cloud.client("s3").delete_bucket_encryption(Bucket=thing.id),
)
def _encryption(cloud: Cloud, inputs: Values) -> tuple[str, Values]:
    rules = [
        call(rule, "bucketKeyEnabled")
        | {
            "ApplyServerSideEncryptionByDefault": call(
                rule["applyServerSideEncryptionByDefault"], sseAlgorithm="SSEAlgorithm", kmsMasterKeyId="KMSMasterKeyID"
            )
        }
        for rule in inputs["rules"]
    ]
    cloud.client("s3").put_bucket_encryption(Bucket=inputs["bucket"], ServerSideEncryptionConfiguration={"Rules": rules})
    return inputs["bucket"], {}


@recipe(
    "aws:s3/bucketOwnershipControls:BucketOwnershipControls",
    lambda cloud, thing: cloud.client("s3").delete_bucket_ownership_controls(Bucket=thing.id),
)
def _ownership(cloud: Cloud, inputs: Values) -> tuple[str, Values]:
    controls = {"Rules": [call(inputs["rule"], "objectOwnership")]}
    cloud.client("s3").put_bucket_ownership_controls(Bucket=inputs["bucket"], OwnershipControls=controls)
    return inputs["bucket"], {}


@recipe(
    "aws:s3/bucketCorsConfiguration:BucketCorsConfiguration", lambda cloud, thing: cloud.client("s3").delete_bucket_cors(Bucket=thing.id)
)
def _cors(cloud: Cloud, inputs: Values) -> tuple[str, Values]:
    names = ("allowedHeaders", "allowedMethods", "allowedOrigins", "exposeHeaders", "maxAgeSeconds")
    rules = {"CORSRules": [call(rule, *names) for rule in inputs["corsRules"]]}
    cloud.client("s3").put_bucket_cors(Bucket=inputs["bucket"], CORSConfiguration=rules)
    return inputs["bucket"], {}


def _delete_secret(cloud: Cloud, thing: "Thing") -> None:
    cloud.client("secretsmanager").delete_secret(SecretId=thing.id, ForceDeleteWithoutRecovery=True)


@recipe("aws:secretsmanager/secret:Secret", _delete_secret)
def _secret(cloud: Cloud, inputs: Values) -> tuple[str, Values]:
    arn = cloud.client("secretsmanager").create_secret(**call(inputs, "name", "description", "kmsKeyId"))["ARN"]
    return arn, {"arn": arn}


def _keep(_cloud: Cloud, _thing: "Thing") -> None:
    """Let it be: a version goes with its secret, and moto cannot delete the others."""


@recipe("aws:secretsmanager/secretVersion:SecretVersion", _keep)
def _secret_version(cloud: Cloud, inputs: Values) -> tuple[str, Values]:
    made = cloud.client("secretsmanager").put_secret_value(**call(inputs, "secretId", "secretString"))
    return f"{made['ARN']}|{made['VersionId']}", {"arn": made["ARN"], "versionId": made["VersionId"]}


@recipe("aws:rds/subnetGroup:SubnetGroup", lambda cloud, thing: cloud.client("rds").delete_db_subnet_group(DBSubnetGroupName=thing.id))
def _database_subnets(cloud: Cloud, inputs: Values) -> tuple[str, Values]:
    description = inputs.get("description", "Managed by Pulumi")
    given = call(inputs, "subnetIds", name="DBSubnetGroupName")
    arn = cloud.client("rds").create_db_subnet_group(**given, DBSubnetGroupDescription=description)["DBSubnetGroup"]["DBSubnetGroupArn"]
    return inputs["name"], {"arn": arn}


@recipe(
    "aws:rds/parameterGroup:ParameterGroup",
    lambda cloud, thing: cloud.client("rds").delete_db_parameter_group(DBParameterGroupName=thing.id),
)
def _database_parameters(cloud: Cloud, inputs: Values) -> tuple[str, Values]:
    description = inputs.get("description", "Managed by Pulumi")
    given = call(inputs, name="DBParameterGroupName", family="DBParameterGroupFamily")
    made = cloud.client("rds").create_db_parameter_group(**given, Description=description)["DBParameterGroup"]
    return inputs["name"], {"arn": made["DBParameterGroupArn"]}


def _delete_database(cloud: Cloud, thing: "Thing") -> None:
    cloud.client("rds").modify_db_instance(DBInstanceIdentifier=thing.inputs["identifier"], DeletionProtection=False)
    cloud.client("rds").delete_db_instance(DBInstanceIdentifier=thing.inputs["identifier"], SkipFinalSnapshot=True)


@recipe("aws:rds/instance:Instance", _delete_database)
def _database(cloud: Cloud, inputs: Values) -> tuple[str, Values]:
    rds, name = cloud.client("rds"), inputs["identifier"]
    if inputs.get("replicateSourceDb"):
        given = call(
            inputs, identifier="DBInstanceIdentifier", replicateSourceDb="SourceDBInstanceIdentifier", instanceClass="DBInstanceClass"
        )
        made = rds.create_db_instance_read_replica(**given)["DBInstance"]
    else:
        given = call(
            inputs, "allocatedStorage", "engine", "engineVersion", "kmsKeyId", "storageEncrypted", "multiAz", "vpcSecurityGroupIds",
            "manageMasterUserPassword", "deletionProtection", "backupRetentionPeriod",
            identifier="DBInstanceIdentifier", instanceClass="DBInstanceClass", username="MasterUsername", password="MasterUserPassword",
            dbName="DBName", dbSubnetGroupName="DBSubnetGroupName", parameterGroupName="DBParameterGroupName", multiAz="MultiAZ",
        )  # fmt: skip
        given.pop("MultiAz", None)
        made = rds.create_db_instance(**given)["DBInstance"]
    address = f"{name}.{cloud.account[:10]}.{cloud.region}.rds.amazonaws.com"
    user_secret = f"arn:aws:secretsmanager:{cloud.region}:{cloud.account}:secret:rds!db-{name}-AbCdEf"
    managed = [{"secretArn": user_secret, "secretStatus": "active", "kmsKeyId": inputs.get("masterUserSecretKmsKeyId", "")}]
    port = inputs.get("port", POSTGRESQL_PORT)
    return identifier("db").upper(), {
        "arn": made["DBInstanceArn"],
        "address": address,
        "endpoint": f"{address}:{port}",
        "port": port,
        "masterUserSecrets": managed if inputs.get("manageMasterUserPassword") else [],
        "engineVersionActual": inputs.get("engineVersion", "16"),
        "resourceId": identifier("db").upper(),
    }


@recipe("aws:elasticache/subnetGroup:SubnetGroup", _keep)
def _cache_subnets(cloud: Cloud, inputs: Values) -> tuple[str, Values]:
    given = call(inputs, "subnetIds", name="CacheSubnetGroupName")
    description = inputs.get("description", "Managed by Pulumi")
    made = cloud.client("elasticache").create_cache_subnet_group(**given, CacheSubnetGroupDescription=description)
    return inputs["name"], {"arn": made["CacheSubnetGroup"]["ARN"]}


def _delete_user(cloud: Cloud, thing: "Thing") -> None:
    cloud.client("elasticache").delete_user(UserId=thing.id)
    cloud.client("elasticache").describe_users(UserId=thing.id)  # moto's users go when they are looked at


@recipe("aws:elasticache/user:User", _delete_user)
def _user(cloud: Cloud, inputs: Values) -> tuple[str, Values]:
    given = call(inputs, "userId", "userName", "engine", "accessString", "passwords", "noPasswordRequired")
    mode = inputs.get("authenticationMode")
    if mode:
        given["AuthenticationMode"] = call(mode, "type", "passwords")
    made = cloud.client("elasticache").create_user(**given)
    return inputs["userId"], {"arn": made["ARN"]}


def _delete_group(cloud: Cloud, thing: "Thing") -> None:
    cloud.client("elasticache").delete_replication_group(ReplicationGroupId=thing.id)


@recipe("aws:elasticache/replicationGroup:ReplicationGroup", _delete_group)
def _replication_group(cloud: Cloud, inputs: Values) -> tuple[str, Values]:
    name = inputs["replicationGroupId"]
    given = call(
        inputs, "engine", "engineVersion", "automaticFailoverEnabled", "atRestEncryptionEnabled", "transitEncryptionEnabled", "kmsKeyId",
        replicationGroupId="ReplicationGroupId", description="ReplicationGroupDescription", nodeType="CacheNodeType",
        numCacheClusters="NumCacheClusters", multiAzEnabled="MultiAZEnabled", subnetGroupName="CacheSubnetGroupName",
    )  # fmt: skip
    cloud.client("elasticache").create_replication_group(**given)
    port = inputs.get("port", VALKEY_PORT)
    return name, {
        "arn": f"arn:aws:elasticache:{cloud.region}:{cloud.account}:replicationgroup:{name}",
        "primaryEndpointAddress": f"master.{name}.abc123.use1.cache.amazonaws.com",
        "readerEndpointAddress": f"replica.{name}.abc123.use1.cache.amazonaws.com",
        "port": port,
        "memberClusters": [f"{name}-{number:03}" for number in range(1, int(inputs.get("numCacheClusters", 1)) + 1)],
    }
