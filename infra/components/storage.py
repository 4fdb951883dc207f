"""Files: the bucket that clients upload to, and the bucket that says who did what there."""

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from infra import iam
from infra.config import StorageConfig
from infra.iam import Statement

#: Where the service keeps what is imported (`app.services.imports`), and what `doctor` tries.
IMPORTS = "imports/"
DOCTOR = "doctor/"
#: Days in which an object that was deleted or overwritten by mistake can be had back.
NONCURRENT_DAYS = 30
#: Days after which the parts of an upload that never ended are removed.
UNFINISHED_DAYS = 2
#: Seconds that a browser remembers what it may send.
CORS_SECONDS = 3600


@dataclass(frozen=True, slots=True)
class StorageArgs:
    """What the buckets need."""

    config: StorageConfig
    production: bool
    """Whether the buckets outlive the stack."""
    key_arn: pulumi.Output[str]


class Storage(pulumi.ComponentResource):
    """Both buckets are private, versioned, encrypted and speak TLS alone. Neither is emptied to be deleted: AWS refuses a full one."""

    def __init__(self, name: str, args: StorageArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("platform:infra:Storage", name, None, opts)
        self._args = args
        self.logs: aws.s3.Bucket = self._logs()
        self.bucket: aws.s3.Bucket = self._uploads()
        self._policies()
        self.bucket_name: pulumi.Output[str] = self.bucket.bucket
        self.bucket_arn: pulumi.Output[str] = self.bucket.arn
        self.register_outputs({})

    def _child(self, *depends_on: pulumi.Resource) -> pulumi.ResourceOptions:
        return pulumi.ResourceOptions(parent=self, depends_on=list(depends_on))

    def _uploads(self) -> aws.s3.Bucket:
        args = self._args
        bucket, versioning = self._bucket("uploads")
        aws.s3.BucketServerSideEncryptionConfiguration(
            "uploads",
            bucket=bucket.bucket,
            rules=[
                {
                    "apply_server_side_encryption_by_default": {"sse_algorithm": "aws:kms", "kms_master_key_id": args.key_arn},
                    "bucket_key_enabled": True,  # one call of KMS for many objects instead of one for each
                }
            ],
            opts=self._child(),
        )
        self._lifecycle(
            "uploads",
            bucket,
            versioning,
            [
                {"id": "imports", "status": "Enabled", "filter": {"prefix": IMPORTS}, "expiration": {"days": args.config.report_days}},
                {"id": "doctor", "status": "Enabled", "filter": {"prefix": DOCTOR}, "expiration": {"days": 1}},
            ],
        )
        aws.s3.BucketCorsConfiguration(
            "uploads",
            bucket=bucket.bucket,
            cors_rules=[
                {
                    # Presigned uploads are PUT with exactly these headers; files are read back through the API.
                    "allowed_methods": ["PUT"],
                    "allowed_headers": ["content-type", "x-amz-checksum-sha256"],
                    "allowed_origins": list(args.config.origins),
                    "expose_headers": ["ETag"],
                    "max_age_seconds": CORS_SECONDS,
                }
            ],
            opts=self._child(),
        )
        return bucket

    def _logs(self) -> aws.s3.Bucket:
        bucket, versioning = self._bucket("access-logs")
        aws.s3.BucketServerSideEncryptionConfiguration(
            "access-logs",
            bucket=bucket.bucket,
            # S3 delivers access logs only to a bucket that it holds the key of itself.
            rules=[{"apply_server_side_encryption_by_default": {"sse_algorithm": "AES256"}}],
            opts=self._child(),
        )
        self._lifecycle(
            "access-logs",
            bucket,
            versioning,
            [{"id": "logs", "status": "Enabled", "filter": {}, "expiration": {"days": self._args.config.log_days}}],
        )
        return bucket

    def _bucket(self, name: str) -> tuple[aws.s3.Bucket, aws.s3.BucketVersioning]:
        """Make a bucket that is private and versioned; its name has a suffix, for bucket names are the whole world's."""
        kept = pulumi.ResourceOptions(parent=self, protect=True, retain_on_delete=self._args.production)
        bucket = aws.s3.Bucket(name, force_destroy=False, opts=kept)
        # Access lists are off: what may be read is said by policies alone.
        aws.s3.BucketOwnershipControls(name, bucket=bucket.bucket, rule={"object_ownership": "BucketOwnerEnforced"}, opts=self._child())
        versioning = aws.s3.BucketVersioning(name, bucket=bucket.bucket, versioning_configuration={"status": "Enabled"}, opts=self._child())
        return bucket, versioning

    def _lifecycle(
        self,
        name: str,
        bucket: aws.s3.Bucket,
        versioning: aws.s3.BucketVersioning,
        rules: Sequence[aws.s3.BucketLifecycleConfigurationRuleArgsDict],
    ) -> None:
        leftovers: aws.s3.BucketLifecycleConfigurationRuleArgsDict = {
            "id": "leftovers",
            "status": "Enabled",
            "filter": {},
            "noncurrent_version_expiration": {"noncurrent_days": NONCURRENT_DAYS},
            "expiration": {"expired_object_delete_marker": True},
            "abort_incomplete_multipart_upload": {"days_after_initiation": UNFINISHED_DAYS},
        }
        # S3 would take rules about versions before there are any, and apply them late.
        aws.s3.BucketLifecycleConfiguration(name, bucket=bucket.bucket, rules=[*rules, leftovers], opts=self._child(versioning))

    def _policies(self) -> None:
        delivery = Statement(
            ("s3:PutObject",),
            [pulumi.Output.concat(self.logs.arn, "/*")],
            {
                "ArnLike": {"aws:SourceArn": self.bucket.arn},
                # The key's account is this one: somebody else may own a bucket of the same name some day.
                "StringEquals": {"aws:SourceAccount": self._args.key_arn.apply(lambda arn: arn.split(":")[4])},
            },
            {"Service": "logging.s3.amazonaws.com"},
            sid="Delivery",
        )
        self._policy("uploads", self.bucket)
        policy = self._policy("access-logs", self.logs, delivery)
        aws.s3.BucketLogging(
            "uploads",
            bucket=self.bucket.bucket,
            target_bucket=self.logs.bucket,
            target_prefix="uploads/",
            opts=self._child(policy),
        )

    def _policy(self, name: str, bucket: aws.s3.Bucket, *statements: Statement) -> aws.s3.BucketPolicy:
        encrypted = Statement(
            ("s3:*",),
            [bucket.arn, pulumi.Output.concat(bucket.arn, "/*")],
            {"Bool": {"aws:SecureTransport": "false"}},
            {"*": "*"},
            effect="Deny",
            sid="TlsOnly",
        )
        block = aws.s3.BucketPublicAccessBlock(
            name,
            bucket=bucket.bucket,
            block_public_acls=True,
            block_public_policy=True,
            ignore_public_acls=True,
            restrict_public_buckets=True,
            opts=self._child(),
        )
        # S3 refuses two changes of a bucket's access at one time.
        return aws.s3.BucketPolicy(name, bucket=bucket.bucket, policy=iam.document(encrypted, *statements), opts=self._child(block))
