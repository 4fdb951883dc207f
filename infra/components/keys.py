"""Keys that belong to the stage: one a concern, so that what may use one says nothing about the others."""

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from infra import iam
from infra.iam import Statement

#: The longest that AWS offers: until then a key that was deleted by mistake can be had back, and with it what it encrypted.
DELETION_DAYS = 30


@dataclass(frozen=True, slots=True)
class KeysArgs:
    """Whose keys they are."""

    account: str
    region: str
    production: bool
    """Whether keys outlive the stack: what they encrypted is lost with them."""


class Keys(pulumi.ComponentResource):
    """Customer-managed KMS keys. Each leaves the say over itself to the account's IAM, where the roles of users name the key.

    RDS, ElastiCache, S3, Secrets Manager and EKS use a key by a grant or in the name of whoever asks them, and need no statement of
    their own. A service that comes by itself has one.
    """

    def __init__(self, name: str, args: KeysArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("platform:infra:Keys", name, None, opts)
        self._args = args
        self.database: aws.kms.Key = self._key("database", "Database, its snapshots and its administrator's password")
        self.cache: aws.kms.Key = self._key("cache", "Broker and cache")
        self.storage: aws.kms.Key = self._key("storage", "Uploaded files")
        self.secrets: aws.kms.Key = self._key("secrets", "Secrets of the service")
        self.cluster: aws.kms.Key = self._key("cluster", "Kubernetes secrets and volumes of nodes", [self._volumes()])
        self.logs: aws.kms.Key = self._key("logs", "Log groups", [self._log_groups()])
        self.register_outputs({})

    def _key(self, concern: str, description: str, users: Sequence[Statement] = ()) -> aws.kms.Key:
        args = self._args
        # Without it nobody, the administrator included, could ever change the key again.
        account = Statement(("kms:*",), ["*"], principals={"AWS": f"arn:aws:iam::{args.account}:root"}, sid="Account")
        key = aws.kms.Key(
            concern,
            description=description,
            enable_key_rotation=True,  # yearly; what older material encrypted stays readable
            deletion_window_in_days=DELETION_DAYS,
            policy=iam.document(account, *users),
            opts=pulumi.ResourceOptions(parent=self, protect=True, retain_on_delete=args.production),
        )
        # For people: consoles and trails show the alias. Nothing refers to a key by it, for it can be pointed elsewhere.
        aws.kms.Alias(concern, target_key_id=key.id, opts=pulumi.ResourceOptions(parent=self))
        return key

    def _log_groups(self) -> Statement:
        """Let CloudWatch Logs use the key, for log groups of this account and region alone.

        https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/encrypt-log-data-kms.html
        """
        args = self._args
        groups = f"arn:aws:logs:{args.region}:{args.account}:log-group:*"
        return Statement(
            ("kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:DescribeKey"),
            ["*"],
            {"ArnLike": {"kms:EncryptionContext:aws:logs:arn": groups}},
            {"Service": f"logs.{args.region}.amazonaws.com"},
            sid="LogGroups",
        )

    def _volumes(self) -> Statement:
        """Let whoever of this account starts an instance use the key, by way of EC2 alone, as AWS's own key of volumes does.

        Nodes are started by service-linked roles (Auto Scaling, EC2 Fleet), whose policies nobody can add to. They cannot be named as
        principals either: KMS refuses a policy with a role that does not exist yet, and they appear with their first use.
        """
        args = self._args
        return Statement(
            ("kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:CreateGrant", "kms:DescribeKey"),
            ["*"],
            {"StringEquals": {"kms:CallerAccount": args.account, "kms:ViaService": f"ec2.{args.region}.amazonaws.com"}},
            {"AWS": "*"},
            sid="Volumes",
        )
