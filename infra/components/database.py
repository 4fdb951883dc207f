"""PostgreSQL on RDS: the truth of the service."""

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from infra import capacity, iam
from infra.components.database_proxy import RECOVERY_DAYS, SHORT_RECOVERY_DAYS, DatabaseProxy, DatabaseProxyArgs
from infra.components.passwords import password
from infra.config import DatabaseConfig

PORT = 5432
FAMILY = "postgres16"
#: The bootstrap administrator. It makes the two roles, by `python -m app database-roles`, and nothing else signs in with it.
ADMINISTRATOR = "platform_admin"
#: Made by `database-roles` as well; the same names as on a laptop.
DATABASE = "platform"
APP = "platform_app"
OWNER = "platform_owner"
#: Valid until 2061, and signs server certificates that RDS renews by itself.
CERTIFICATE_AUTHORITY = "rds-ca-rsa2048-g1"
LOGS = ("postgresql", "upgrade")
#: Seconds between two measurements of enhanced monitoring.
MONITORING_SECONDS = 60
#: Days of Database Insights, by its mode: the only numbers that RDS takes for each.
INSIGHTS_DAYS = {"standard": 7, "advanced": 465}
#: `log_statement` stays off, for it would write down passwords of roles.
PARAMETERS = {
    "idle_in_transaction_session_timeout": "60000",  # ms; sessions of the service say less themselves, this is for people's
    "log_connections": "1",
    "log_disconnections": "1",
    "log_lock_waits": "1",
    "log_min_duration_statement": "1000",  # ms
    "log_temp_files": "10240",  # KiB; a sort that does not fit into work_mem
    "track_io_timing": "1",  # whether a slow statement waits for the disk or the processor
    # The outbox is a queue: its dead rows are in the way of every look at it, long before a tenth of them is dead.
    "autovacuum_vacuum_scale_factor": "0.02",
    "autovacuum_naptime": "15",  # s
    # MB; imports write hundreds of thousands of rows at once, and each checkpoint makes pages be written whole again.
    "max_wal_size": "4096",
    "random_page_cost": "1.1",  # there is no disk arm in gp3
}


@dataclass(frozen=True, slots=True)
class DatabaseArgs:
    """What the database needs."""

    config: DatabaseConfig
    name: str
    """The instance's identifier: log groups are named by it, and made before it."""
    account: str
    production: bool
    """Whether it outlives the stack, and waits with changes for the maintenance window."""
    vpc_id: pulumi.Output[str]
    subnet_ids: Sequence[pulumi.Output[str]]
    client_security_group_id: pulumi.Output[str]
    """Who may connect: the security group of pods."""
    key_arn: pulumi.Output[str]
    logs_key_arn: pulumi.Output[str]
    app_password: int
    """Version of the password of the service's role."""
    owner_password: int
    """Version of the password of the schema's owner."""
    administrator_password: int
    """Version of the administrator's, where RDS does not manage it."""


class Database(pulumi.ComponentResource):
    """An instance with a standby in another zone, read replicas and, if there are many clients, a proxy."""

    def __init__(self, name: str, args: DatabaseArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("platform:infra:Database", name, None, opts)
        self._args = args
        group = self._security_group()
        self.security_group_id: pulumi.Output[str] = group.id
        self._parameters = self._parameter_group()
        self._monitoring, attached = self._monitoring_role()
        # RDS makes no replica of a database whose administrator it manages: with replicas, it is managed here.
        # https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/rds-secrets-manager.html
        secret = password("administrator-password", args.administrator_password, self) if args.config.replicas else None
        self.instance: aws.rds.Instance = self._primary(attached, secret)
        self.replicas: list[aws.rds.Instance] = [self._replica(number, attached) for number in range(args.config.replicas)]
        self.endpoint: pulumi.Output[str] = self.instance.endpoint
        self.address: pulumi.Output[str] = self.instance.address
        self.port: pulumi.Output[int] = self.instance.port
        self.master_secret_arn: pulumi.Output[str] = (
            self.instance.master_user_secrets[0].secret_arn if secret is None else self._administrator(secret)
        )
        app = password("app-password", args.app_password, self)
        owner = password("owner-password", args.owner_password, self)
        self.app_url: pulumi.Output[str] = _url(APP, app, self._proxy(app).endpoint if args.config.proxy else self.address)
        # Migrations take the database itself: they change settings of their session, as no pooled connection may.
        self.owner_url: pulumi.Output[str] = _url(OWNER, owner, self.address)
        self.register_outputs({})

    def _child(self, *depends_on: pulumi.Resource) -> pulumi.ResourceOptions:
        return pulumi.ResourceOptions(parent=self, depends_on=list(depends_on))

    def _security_group(self) -> aws.ec2.SecurityGroup:
        group = aws.ec2.SecurityGroup(
            "database",
            vpc_id=self._args.vpc_id,
            description="PostgreSQL: from pods",
            tags={"Name": f"{self._args.name}-database"},
            opts=self._child(),
        )
        aws.vpc.SecurityGroupIngressRule(
            "database-clients",
            security_group_id=group.id,
            referenced_security_group_id=self._args.client_security_group_id,
            description="PostgreSQL from pods",
            ip_protocol="tcp",
            from_port=PORT,
            to_port=PORT,
            opts=self._child(),
        )
        return group

    def _parameter_group(self) -> aws.rds.ParameterGroup:
        static = {
            # The chart refuses to render what would open more.
            "max_connections": str(capacity.max_connections(self._args.config)),
            "rds.force_ssl": "1",
            "shared_preload_libraries": "pg_stat_statements",
        }
        return aws.rds.ParameterGroup(
            "database",
            family=FAMILY,
            description="PostgreSQL of the platform",
            parameters=[
                {"name": name, "value": value, "apply_method": "pending-reboot" if name in static else "immediate"}
                for name, value in sorted({**PARAMETERS, **static}.items())
            ],
            opts=self._child(),
        )

    def _monitoring_role(self) -> tuple[aws.iam.Role, aws.iam.RolePolicyAttachment]:
        role = aws.iam.Role(
            "database-monitoring",
            assume_role_policy=iam.service_trust("monitoring.rds.amazonaws.com", account=self._args.account),
            description="RDS writes measurements of the operating system to CloudWatch Logs",
            opts=self._child(),
        )
        attachment = aws.iam.RolePolicyAttachment(
            "database-monitoring",
            role=role.name,
            policy_arn="arn:aws:iam::aws:policy/service-role/AmazonRDSEnhancedMonitoringRole",
            opts=pulumi.ResourceOptions(parent=role),
        )
        return role, attachment

    def _log_groups(self, name: str, identifier: str) -> list[aws.cloudwatch.LogGroup]:
        """Make the groups before RDS does, which would keep everything for ever and without our key."""
        return [
            aws.cloudwatch.LogGroup(
                f"{name}-{log}",
                name=f"/aws/rds/instance/{identifier}/{log}",
                retention_in_days=self._args.config.log_days,
                kms_key_id=self._args.logs_key_arn,
                opts=self._child(),
            )
            for log in LOGS
        ]

    def _administrator(self, secret: pulumi.Output[str]) -> pulumi.Output[str]:
        """Keep the administrator's password as RDS would, and return the entry's ARN."""
        args = self._args
        entry = aws.secretsmanager.Secret(
            "administrator",
            description=f"Administrator of {args.name}",
            kms_key_id=args.key_arn,
            recovery_window_in_days=RECOVERY_DAYS if args.production else SHORT_RECOVERY_DAYS,
            opts=pulumi.ResourceOptions(parent=self, protect=True, retain_on_delete=args.production),
        )
        body = pulumi.Output.secret(pulumi.Output.json_dumps({"username": ADMINISTRATOR, "password": secret}))
        aws.secretsmanager.SecretVersion(
            "administrator", secret_id=entry.arn, secret_string=body, opts=pulumi.ResourceOptions(parent=entry, protect=False)
        )
        return entry.arn

    def _primary(self, attached: pulumi.Resource, secret: pulumi.Output[str] | None) -> aws.rds.Instance:  # one resource, one call
        args = self._args
        config = args.config
        subnets = aws.rds.SubnetGroup("database", description="Data subnets", subnet_ids=list(args.subnet_ids), opts=self._child())
        logs = self._log_groups("database", args.name)
        return aws.rds.Instance(
            "database",
            identifier=args.name,
            engine="postgres",
            engine_version=config.engine_version,
            # The version is the configuration's. One that RDS raised by itself would be a difference, and passed no other stage first.
            auto_minor_version_upgrade=False,
            allow_major_version_upgrade=False,  # a major one is a procedure: docs/runbooks/upgrade-postgresql.md
            # Past the end of standard support RDS upgrades, rather than to charge for a version that nobody moved on from.
            engine_lifecycle_support="open-source-rds-extended-support-disabled",
            instance_class=config.instance_class,
            parameter_group_name=self._parameters.name,
            apply_immediately=not args.production,
            maintenance_window=config.maintenance_window,
            allocated_storage=config.storage_gib,
            max_allocated_storage=config.max_storage_gib,
            storage_type="gp3",
            storage_encrypted=True,
            kms_key_id=args.key_arn,
            multi_az=config.multi_az,
            db_subnet_group_name=subnets.name,
            vpc_security_group_ids=[self.security_group_id],
            publicly_accessible=False,
            port=PORT,
            ca_cert_identifier=CERTIFICATE_AUTHORITY,
            username=ADMINISTRATOR,
            # Made, kept and rotated by Secrets Manager; nobody here ever sees it.
            manage_master_user_password=True if secret is None else None,
            master_user_secret_kms_key_id=args.key_arn if secret is None else None,
            password=secret,
            backup_retention_period=config.backup_days,
            backup_window=config.backup_window,
            copy_tags_to_snapshot=True,
            delete_automated_backups=False,  # who deletes the instance by mistake can still restore any second
            deletion_protection=True,
            skip_final_snapshot=False,
            # Stable: a name with a date in it would be a change each day. A second deletion is refused until this snapshot is renamed.
            final_snapshot_identifier=f"{args.name}-final",
            performance_insights_enabled=True,
            performance_insights_kms_key_id=args.key_arn,
            performance_insights_retention_period=INSIGHTS_DAYS[config.insights],
            database_insights_mode=config.insights,
            monitoring_interval=MONITORING_SECONDS,
            monitoring_role_arn=self._monitoring.arn,
            enabled_cloudwatch_logs_exports=list(LOGS),
            opts=pulumi.ResourceOptions(
                parent=self,
                protect=True,
                retain_on_delete=args.production,
                depends_on=[attached, *logs],
                custom_timeouts=pulumi.CustomTimeouts(create="90m", update="120m", delete="90m"),
            ),
        )

    def _replica(self, number: int, attached: pulumi.Resource) -> aws.rds.Instance:
        """Make a read replica. It is not protected: it holds nothing that the primary does not."""
        args = self._args
        config = args.config
        identifier = f"{args.name}-replica-{number}"
        logs = self._log_groups(f"replica-{number}", identifier)
        return aws.rds.Instance(
            f"replica-{number}",
            identifier=identifier,
            # By identifier, not ARN: subnets and key are then the primary's.
            replicate_source_db=self.instance.identifier,
            engine="postgres",
            engine_version=config.engine_version,
            auto_minor_version_upgrade=False,
            instance_class=config.instance_class,
            parameter_group_name=self._parameters.name,
            apply_immediately=not args.production,
            maintenance_window=config.maintenance_window,
            max_allocated_storage=config.max_storage_gib,
            storage_type="gp3",
            storage_encrypted=True,
            vpc_security_group_ids=[self.security_group_id],
            publicly_accessible=False,
            ca_cert_identifier=CERTIFICATE_AUTHORITY,
            copy_tags_to_snapshot=True,
            skip_final_snapshot=True,  # RDS takes none of a replica
            performance_insights_enabled=True,
            performance_insights_kms_key_id=args.key_arn,
            performance_insights_retention_period=INSIGHTS_DAYS[config.insights],
            database_insights_mode=config.insights,
            monitoring_interval=MONITORING_SECONDS,
            monitoring_role_arn=self._monitoring.arn,
            enabled_cloudwatch_logs_exports=list(LOGS),
            opts=pulumi.ResourceOptions(
                parent=self, depends_on=[attached, *logs], custom_timeouts=pulumi.CustomTimeouts(create="90m", update="120m")
            ),
        )

    def _proxy(self, app: pulumi.Output[str]) -> DatabaseProxy:
        args = self._args
        return DatabaseProxy(
            "database-proxy",
            DatabaseProxyArgs(
                name=args.name,
                account=args.account,
                production=args.production,
                port=PORT,
                database_id=self.instance.identifier,
                database_security_group_id=self.security_group_id,
                vpc_id=args.vpc_id,
                subnet_ids=args.subnet_ids,
                client_security_group_id=args.client_security_group_id,
                key_arn=args.key_arn,
                user=APP,
                password=app,
            ),
            pulumi.ResourceOptions(parent=self),
        )


def _url(role: str, secret: pulumi.Output[str], address: pulumi.Output[str]) -> pulumi.Output[str]:
    # Encrypted, and not `verify-full`: RDS's authority is in no system's store of certificates, and the image brings none.
    return pulumi.Output.concat("postgresql://", role, ":", secret, "@", address, f":{PORT}/{DATABASE}?sslmode=require")
