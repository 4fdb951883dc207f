"""Buckets, images, keys, secrets, queues, topics and logs."""

import json
from collections.abc import Iterator
from typing import Final

from infra.policies.base import ANYWHERE, Properties, principals, several, statements
from infra.registrations import Graph

BUCKET: Final = "aws:s3/bucket:Bucket"
BLOCK: Final = "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock"
SHORTEST_RECOVERY: Final = 7
"""Days."""
BLOCKED: Final = ("blockPublicAcls", "blockPublicPolicy", "ignorePublicAcls", "restrictPublicBuckets")
BESIDE: Final = {
    "BucketServerSideEncryptionConfiguration": "is encrypted by chance; add a BucketServerSideEncryptionConfiguration.",
    "BucketVersioning": "keeps no versions; add a BucketVersioning.",
    "BucketOwnershipControls": "has access lists; add BucketOwnershipControls with BucketOwnerEnforced.",
    "BucketLifecycleConfiguration": "keeps everything for ever; add a BucketLifecycleConfiguration.",
    "BucketPolicy": "can be read without TLS; add a BucketPolicy that denies it.",
    "BucketPublicAccessBlock": "can be made public by one statement; add a BucketPublicAccessBlock.",
}
"""What every bucket needs beside it."""


def buckets_are_closed(kind: str, properties: Properties, production: bool) -> Iterator[str]:
    """No public access, no access lists, no deletion with files in it."""
    if kind == BLOCK and (open_ := [name for name in BLOCKED if properties.get(name) is not True]):
        yield f"leaves a way to make the bucket public; set {', '.join(open_)}."
    if kind == BUCKET and properties.get("forceDestroy") and production:
        yield "is deleted with its files; set force_destroy to False in production."
    if kind == "aws:s3/bucketAcl:BucketAcl":
        yield "is an access list; rights are given by policies, and ownership is BucketOwnerEnforced: remove it."
    if kind == "aws:s3/bucketVersioning:BucketVersioning" and properties.get("versioningConfiguration", {}).get("status") != "Enabled":
        yield "does not keep what is overwritten; set status to Enabled."
    controls = kind == "aws:s3/bucketOwnershipControls:BucketOwnershipControls"
    if controls and properties.get("rule", {}).get("objectOwnership") != "BucketOwnerEnforced":
        yield "lets others own objects; set object_ownership to BucketOwnerEnforced."
    if kind == "aws:s3/bucketCorsConfiguration:BucketCorsConfiguration":
        origins = [origin for rule in properties.get("corsRules", []) for origin in rule.get("allowedOrigins", [])]
        if any("*" in origin or origin.startswith("http:") for origin in origins):
            yield "lets pages of any origin, or without TLS, use the bucket; list the origins of the service."


def buckets_have_what_belongs_to_them(graph: Graph, _: bool) -> Iterator[tuple[str, str]]:
    """AWS made one resource many: each that is forgotten is a hole."""
    for bucket in graph.of(BUCKET):
        for kind, sentence in BESIDE.items():
            others = graph.of(f"aws:s3/{kind[0].lower()}{kind[1:]}:{kind}")
            if not any(other.inputs.get("bucket") == bucket.outputs["bucket"] for other in others):
                yield bucket.urn, sentence
        if not any(
            _denies_plain(policy.type, policy.inputs)
            for policy in graph.of("aws:s3/bucketPolicy:BucketPolicy")
            if policy.inputs.get("bucket") == bucket.outputs["bucket"]
        ):
            yield bucket.urn, "can be read without TLS; deny s3:* where aws:SecureTransport is false."
    for lifecycle in graph.of("aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration"):
        if not any("abortIncompleteMultipartUpload" in rule for rule in lifecycle.inputs.get("rules", [])):
            yield lifecycle.urn, "keeps parts of uploads that were given up, and pays for them; add abort_incomplete_multipart_upload."
        if not any("noncurrentVersionExpiration" in rule for rule in lifecycle.inputs.get("rules", [])):
            yield lifecycle.urn, "keeps every version for ever; add noncurrent_version_expiration."


def _denies_plain(kind: str, properties: Properties) -> bool:
    return any(
        statement["Effect"] == "Deny"
        and str(statement.get("Condition", {}).get("Bool", {}).get("aws:SecureTransport")).lower() == "false"
        and "*" in principals(statement, "AWS")
        for statement in statements(kind, properties)
    )


def uploads_have_an_own_key(graph: Graph, _: bool) -> Iterator[tuple[str, str]]:
    """Files of customers are encrypted with a key that is ours; where access logs are written, S3 allows its own alone."""
    logs = {logging.inputs.get("targetBucket") for logging in graph.of("aws:s3/bucketLogging:BucketLogging")}
    for encryption in graph.of("aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration"):
        defaults = [rule.get("applyServerSideEncryptionByDefault", {}) for rule in encryption.inputs.get("rules", [])]
        own = any(default.get("sseAlgorithm") == "aws:kms" and default.get("kmsMasterKeyId") for default in defaults)
        if encryption.inputs.get("bucket") in logs:
            if any(default.get("sseAlgorithm") != "AES256" for default in defaults):
                yield encryption.urn, "is where access logs go, which S3 only writes with its own key; set sse_algorithm to AES256."
        elif not own:
            yield encryption.urn, "does not use an own key; set sse_algorithm to aws:kms and kms_master_key_id."
    for bucket in graph.of(BUCKET):
        if bucket.outputs["bucket"] not in logs and not any(
            logging.inputs.get("bucket") == bucket.outputs["bucket"] for logging in graph.of("aws:s3/bucketLogging:BucketLogging")
        ):
            yield bucket.urn, "does not record who read it; add a BucketLogging."


def images_are_what_they_were(kind: str, properties: Properties, production: bool) -> Iterator[str]:
    """A tag means one image for ever."""
    if kind != "aws:ecr/repository:Repository":
        return
    if not str(properties.get("imageTagMutability", "")).startswith("IMMUTABLE"):
        yield "lets a tag be moved to another image; set image_tag_mutability to IMMUTABLE."
    if not properties.get("imageScanningConfiguration", {}).get("scanOnPush"):
        yield "is not scanned; set scan_on_push."
    if production and properties.get("forceDelete"):
        yield "is deleted with its images; set force_delete to False."


def keys_turn(kind: str, properties: Properties, _: bool) -> Iterator[str]:
    """Keys are rotated, and deleted slowly."""
    if kind != "aws:kms/key:Key":
        return
    if not properties.get("enableKeyRotation"):
        yield "is never rotated; set enable_key_rotation."
    if properties.get("deletionWindowInDays", 30) < 30:  # noqa: PLR2004  # days, the most that AWS allows
        yield "is gone in less than 30 days, and with it what it encrypted; set deletion_window_in_days to 30."
    if not properties.get("policy"):
        yield "has AWS's policy; write one."


def keys_let_their_services_in(graph: Graph, _: bool) -> Iterator[tuple[str, str]]:
    """Logs and alarms come by themselves: no role of ours opens the key for them."""
    needs = {
        "aws:cloudwatch/logGroup:LogGroup": ("kmsKeyId", "logs."),
        "aws:sns/topic:Topic": ("kmsMasterKeyId", "cloudwatch.amazonaws.com"),
    }
    keys = {name: key for key in graph.of("aws:kms/key:Key") for name in (key.id, key.outputs["arn"])}
    for resource in graph.of(*needs):
        name, service = needs[resource.type]
        key = keys.get(resource.inputs.get(name, ""))
        if key and service not in json.dumps([it.get("Principal") for it in statements(key.type, key.inputs)]):
            yield resource.urn, f"is encrypted with {key.name}, which does not let {service} in; add a statement to the key's policy."


def secrets_come_back(kind: str, properties: Properties, _: bool) -> Iterator[str]:
    """Own key, and time to have it back."""
    if kind != "aws:secretsmanager/secret:Secret":
        return
    if "kmsKeyId" not in properties:
        yield "is encrypted with AWS's key; set kms_key_id to the key of secrets."
    if properties.get("recoveryWindowInDays", 30) < SHORTEST_RECOVERY:
        yield f"is deleted at once; set recovery_window_in_days to {SHORTEST_RECOVERY} or more."


def messages_are_encrypted(kind: str, properties: Properties, _: bool) -> Iterator[str]:
    """Queues, topics and logs."""
    if kind == "aws:sqs/queue:Queue" and not (properties.get("sqsManagedSseEnabled") or properties.get("kmsMasterKeyId")):
        yield "is not encrypted; set sqs_managed_sse_enabled or kms_master_key_id."
    if kind == "aws:sns/topic:Topic":
        key = str(properties.get("kmsMasterKeyId", ""))
        if not key:
            yield "is not encrypted; set kms_master_key_id."
        if "alias/aws/sns" in key:
            yield "uses AWS's key, which does not let CloudWatch send alarms; set kms_master_key_id to an own key."
    if kind == "aws:cloudwatch/logGroup:LogGroup":
        if not properties.get("retentionInDays"):
            yield "keeps logs for ever; set retention_in_days."
        if "kmsKeyId" not in properties:
            yield "is not encrypted with an own key; set kms_key_id to the key of logs."


def nothing_is_public(kind: str, properties: Properties, _: bool) -> Iterator[str]:
    """A resource policy that lets everybody in, without saying whom after all."""
    for statement in statements(kind, properties):
        if statement["Effect"] == "Allow" and "*" in principals(statement, "AWS") and not statement.get("Condition"):
            yield f"lets everybody in ({statement.get('Sid', 'a statement')}); name the principals, or a condition."
        addresses = several(statement.get("Condition", {}).get("IpAddress", {}).get("aws:SourceIp"))
        if any(address in ANYWHERE for address in addresses):
            yield "has a condition on addresses that all meet; list yours."
