"""RDS Proxy: for more clients than the database's class has connections."""

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from infra import iam
from infra.iam import Statement

#: Of `max_connections`; the rest is for migrations and people, who come without the proxy.
MOST_CONNECTIONS_PERCENT = 90
#: Seconds that a client waits for a connection, as long as the service's own pools do.
BORROW_SECONDS = 5
IDLE_SECONDS = 1800
RECOVERY_DAYS = 30
SHORT_RECOVERY_DAYS = 7


@dataclass(frozen=True, slots=True)
class DatabaseProxyArgs:
    """What the proxy needs."""

    name: str
    account: str
    production: bool
    port: int
    database_id: pulumi.Output[str]
    """The instance's identifier."""
    database_security_group_id: pulumi.Output[str]
    vpc_id: pulumi.Output[str]
    subnet_ids: Sequence[pulumi.Output[str]]
    client_security_group_id: pulumi.Output[str]
    key_arn: pulumi.Output[str]
    user: str
    """The one role that may come this way."""
    password: pulumi.Output[str]


class DatabaseProxy(pulumi.ComponentResource):
    """Clients sign in with the password of their role, and the proxy does the same at the database."""

    def __init__(self, name: str, args: DatabaseProxyArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("platform:infra:DatabaseProxy", name, None, opts)
        self._args = args
        group = self._security_group()
        secret, version = self._secret()
        role, policy = self._role(secret)
        self.proxy = aws.rds.Proxy(
            "proxy",
            engine_family="POSTGRESQL",
            require_tls=True,
            idle_client_timeout=IDLE_SECONDS,
            role_arn=role.arn,
            vpc_subnet_ids=list(args.subnet_ids),
            vpc_security_group_ids=[group.id],
            auths=[
                {
                    "auth_scheme": "SECRETS",
                    "iam_auth": "DISABLED",
                    "secret_arn": secret.arn,
                    "client_password_auth_type": "POSTGRES_SCRAM_SHA_256",
                }
            ],
            # It would come up without a password to sign in with.
            opts=self._child(policy, version),
        )
        targets = aws.rds.ProxyDefaultTargetGroup(
            "targets",
            db_proxy_name=self.proxy.name,
            connection_pool_config={
                "max_connections_percent": MOST_CONNECTIONS_PERCENT,
                "connection_borrow_timeout": BORROW_SECONDS,
            },
            opts=self._child(),
        )
        target = aws.rds.ProxyTarget(
            "target",
            db_proxy_name=self.proxy.name,
            target_group_name=targets.name,
            db_instance_identifier=args.database_id,
            opts=self._child(),
        )
        #: Known once there is a database behind it.
        self.endpoint: pulumi.Output[str] = pulumi.Output.all(self.proxy.endpoint, target.id).apply(lambda known: str(known[0]))
        self.register_outputs({})

    def _child(self, *depends_on: pulumi.Resource) -> pulumi.ResourceOptions:
        return pulumi.ResourceOptions(parent=self, depends_on=list(depends_on))

    def _security_group(self) -> aws.ec2.SecurityGroup:
        args = self._args
        group = aws.ec2.SecurityGroup(
            "proxy",
            vpc_id=args.vpc_id,
            description="RDS Proxy: from pods, to PostgreSQL",
            tags={"Name": f"{args.name}-database-proxy"},
            opts=self._child(),
        )
        aws.vpc.SecurityGroupIngressRule(
            "proxy-clients",
            security_group_id=group.id,
            referenced_security_group_id=args.client_security_group_id,
            description="PostgreSQL from pods",
            ip_protocol="tcp",
            from_port=args.port,
            to_port=args.port,
            opts=self._child(),
        )
        aws.vpc.SecurityGroupEgressRule(
            "proxy-database",
            security_group_id=group.id,
            referenced_security_group_id=args.database_security_group_id,
            description="PostgreSQL to the database",
            ip_protocol="tcp",
            from_port=args.port,
            to_port=args.port,
            opts=self._child(),
        )
        aws.vpc.SecurityGroupIngressRule(
            "database-proxy",
            security_group_id=args.database_security_group_id,
            referenced_security_group_id=group.id,
            description="PostgreSQL from the proxy",
            ip_protocol="tcp",
            from_port=args.port,
            to_port=args.port,
            opts=self._child(),
        )
        return group

    def _secret(self) -> tuple[aws.secretsmanager.Secret, aws.secretsmanager.SecretVersion]:
        args = self._args
        secret = aws.secretsmanager.Secret(
            "proxy",
            description="What RDS Proxy signs in with",
            kms_key_id=args.key_arn,
            recovery_window_in_days=RECOVERY_DAYS if args.production else SHORT_RECOVERY_DAYS,
            opts=pulumi.ResourceOptions(parent=self, protect=True, retain_on_delete=args.production),
        )
        body = pulumi.Output.json_dumps({"username": args.user, "password": args.password})
        version = aws.secretsmanager.SecretVersion(
            "proxy", secret_id=secret.arn, secret_string=pulumi.Output.secret(body), opts=pulumi.ResourceOptions(parent=self)
        )
        return secret, version

    def _role(self, secret: aws.secretsmanager.Secret) -> tuple[aws.iam.Role, aws.iam.RolePolicy]:
        args = self._args
        role = aws.iam.Role(
            "proxy",
            assume_role_policy=iam.service_trust("rds.amazonaws.com", account=args.account),
            description="RDS Proxy reads the password of the service's role",
            opts=self._child(),
        )
        read = Statement(("secretsmanager:GetSecretValue", "secretsmanager:DescribeSecret"), [secret.arn])
        decrypt = Statement(("kms:Decrypt",), [args.key_arn], {"StringLike": {"kms:ViaService": "secretsmanager.*.amazonaws.com"}})
        policy = aws.iam.RolePolicy("proxy", role=role.id, policy=iam.document(read, decrypt), opts=pulumi.ResourceOptions(parent=role))
        return role, policy
