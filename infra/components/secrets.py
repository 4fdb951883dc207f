"""What the service must not show: two entries of Secrets Manager that the chart names and External Secrets reads."""

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from infra.components.passwords import password
from infra.config import SecretsConfig

#: Characters of a signing key: 380 bits.
KEY_LENGTH = 64
#: Days in which an entry that was deleted by mistake can be had back. A name is taken for as long: other stages are sooner made anew.
RECOVERY_DAYS = 30
SHORT_RECOVERY_DAYS = 7


@dataclass(frozen=True, slots=True)
class SecretsArgs:
    """What the entries hold."""

    config: SecretsConfig
    stage: str
    production: bool
    """Whether the entries outlive the stack."""
    key_arn: pulumi.Output[str]
    database_url: pulumi.Output[str]
    migration_database_url: pulumi.Output[str]
    broker_url: pulumi.Output[str]
    live_url: pulumi.Output[str]
    cache_url: pulumi.Output[str]
    smtp_password: pulumi.Output[str] | None = None
    sentry_dsn: pulumi.Output[str] | None = None


class Secrets(pulumi.ComponentResource):
    """Two entries, so that what serves requests cannot read the password that may change the schema.

    They are passed on by name, and no value leaves the stack.
    """

    def __init__(self, name: str, args: SecretsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("platform:infra:Secrets", name, None, opts)
        self._args = args
        self.app: aws.secretsmanager.Secret = self._entry("app", "Settings of the API, the workers and the scheduler", self._settings())
        self.migration: aws.secretsmanager.Secret = self._entry(
            "migration", "PostgreSQL as the owner of the schema", {"MIGRATION_DATABASE_URL": args.migration_database_url}
        )
        self.app_name: pulumi.Output[str] = self.app.name
        self.migration_name: pulumi.Output[str] = self.migration.name
        self.register_outputs({})

    def _settings(self) -> Mapping[str, pulumi.Output[str]]:
        args = self._args
        # The last signs; those before it still verify.
        *former, newest = [password("signing-key", version, self, length=KEY_LENGTH) for version in args.config.signing_keys]
        settings = {
            "DATABASE_URL": args.database_url,
            "SECRET_KEY": newest,
            "REDIS_URL": args.live_url,
            "CELERY_BROKER_URL": args.broker_url,
            "CACHE_URL": args.cache_url,
        }
        if former:
            settings["SECRET_KEY_FALLBACKS"] = pulumi.Output.all(*former).apply(",".join)
        if args.smtp_password is not None:
            settings["SMTP_PASSWORD"] = args.smtp_password
        if args.sentry_dsn is not None:
            settings["SENTRY_DSN"] = args.sentry_dsn
        return settings

    def _entry(self, name: str, description: str, values: Mapping[str, pulumi.Output[str]]) -> aws.secretsmanager.Secret:
        args = self._args
        entry = aws.secretsmanager.Secret(
            name,
            name=f"{pulumi.get_project()}/{args.stage}/{name}",  # the chart refers to it
            description=description,
            kms_key_id=args.key_arn,
            recovery_window_in_days=RECOVERY_DAYS if args.production else SHORT_RECOVERY_DAYS,
            opts=pulumi.ResourceOptions(parent=self, protect=True, retain_on_delete=args.production),
        )
        aws.secretsmanager.SecretVersion(
            name,
            secret_id=entry.arn,
            secret_string=pulumi.Output.secret(pulumi.Output.json_dumps(dict(values))),
            # A child is protected with its parent, and every new value is a new version in place of the old one.
            opts=pulumi.ResourceOptions(parent=entry, protect=False),
        )
        return entry
