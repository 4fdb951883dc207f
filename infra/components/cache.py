"""ElastiCache for Valkey: a broker that may not forget, and a cache that may."""

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from infra.components.passwords import password
from infra.config import CacheConfig

PORT = 6379
#: Everything but what lists, stops or empties a server; INFO is among the dangerous, and clients ask for it.
ACCESS = "on ~* &* +@all -@dangerous +info"


@dataclass(frozen=True, slots=True)
class CacheArgs:
    """What both groups need."""

    config: CacheConfig
    name: str
    """Prefix of ids that ElastiCache wants to be given."""
    production: bool
    vpc_id: pulumi.Output[str]
    subnet_ids: Sequence[pulumi.Output[str]]
    client_security_group_id: pulumi.Output[str]
    key_arn: pulumi.Output[str]
    logs_key_arn: pulumi.Output[str]
    password_version: int
    """Of both groups' passwords."""


class Cache(pulumi.ComponentResource):
    """Two groups, for one that is full must not take the other along: the broker refuses writes then, and the cache evicts.

    Neither holds a truth: what the broker loses is sent again from the outbox. Encrypted in transit and with a user from the first
    day, since neither can be switched on later without a break.
    """

    def __init__(self, name: str, args: CacheArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("platform:infra:Cache", name, None, opts)
        self._args = args
        self._subnets = aws.elasticache.SubnetGroup(
            "cache", subnet_ids=list(args.subnet_ids), description="Data subnets", opts=pulumi.ResourceOptions(parent=self)
        )
        security = aws.ec2.SecurityGroup(
            "cache", vpc_id=args.vpc_id, description="Broker and cache: Valkey from pods", opts=pulumi.ResourceOptions(parent=self)
        )
        self.security_group_id: pulumi.Output[str] = security.id
        aws.vpc.SecurityGroupIngressRule(
            "cache",
            security_group_id=security.id,
            description="Valkey from pods",
            referenced_security_group_id=args.client_security_group_id,
            ip_protocol="tcp",
            from_port=PORT,
            to_port=PORT,
            opts=pulumi.ResourceOptions(parent=self),
        )
        config = args.config
        broker, cache = self._passwords("broker"), self._passwords("cache")
        self.broker: aws.elasticache.ReplicationGroup = self._group(
            "broker", config.broker_class, "noeviction", broker, snapshot_days=config.snapshot_days
        )
        self.cache: aws.elasticache.ReplicationGroup = self._group("cache", config.cache_class, "allkeys-lru", cache)
        host = self.broker.primary_endpoint_address
        self.live_url: pulumi.Output[str] = _url("broker", broker[0], host, 0)
        self.broker_url: pulumi.Output[str] = _url("broker", broker[0], host, 1)
        """Queues have a database of their own, so that looking at one does not list the other."""
        self.cache_url: pulumi.Output[str] = _url("cache", cache[0], self.cache.primary_endpoint_address, 0)
        self.register_outputs({})

    def _passwords(self, group: str) -> list[pulumi.Output[str]]:
        """Return a group's password, and the one before it: both open it, so that pods may take over the new one in their own time."""
        newest = self._args.password_version
        return [password(f"{group}-password", version, self) for version in (newest, newest - 1) if version > 0]

    def _group(
        self, name: str, node_type: str, policy: str, secrets: Sequence[pulumi.Output[str]], *, snapshot_days: int = 0
    ) -> aws.elasticache.ReplicationGroup:
        args, config = self._args, self._args.config
        child = pulumi.ResourceOptions(parent=self)
        parameters = aws.elasticache.ParameterGroup(
            name,
            family="valkey8",
            description=f"{name} of {args.name}",
            parameters=[{"name": "maxmemory-policy", "value": policy}],
            opts=child,
        )
        user = aws.elasticache.User(
            name,
            user_id=f"{args.name}-{name}",
            user_name=name,
            engine="valkey",
            access_string=ACCESS,
            authentication_mode={"type": "password", "passwords": list(secrets)},
            opts=child,
        )
        # Nobody else: without a `default` user in the group a connection without a name is refused.
        users = aws.elasticache.UserGroup(name, user_group_id=f"{args.name}-{name}", engine="valkey", user_ids=[user.user_id], opts=child)
        logs = aws.cloudwatch.LogGroup(f"{name}-slow", retention_in_days=30, kms_key_id=args.logs_key_arn, opts=child)
        available = config.replicas > 0
        return aws.elasticache.ReplicationGroup(
            name,
            description=f"{name} of {args.name}",
            engine="valkey",
            engine_version=config.engine_version,
            node_type=node_type,
            parameter_group_name=parameters.name,
            num_cache_clusters=config.replicas + 1,
            automatic_failover_enabled=available,
            multi_az_enabled=available,
            port=PORT,
            subnet_group_name=self._subnets.name,
            security_group_ids=[self.security_group_id],
            transit_encryption_enabled=True,
            transit_encryption_mode="required",
            at_rest_encryption_enabled=True,
            kms_key_id=args.key_arn,
            user_group_ids=[users.user_group_id],
            snapshot_retention_limit=snapshot_days,
            final_snapshot_identifier=f"{args.name}-{name}-final" if name == "broker" else None,
            snapshot_window="01:00-02:00",
            maintenance_window="sun:04:30-sun:05:30",  # after the database's, so that they are never away together
            # The version is the configuration's: back from one that AWS raised by itself, the only way is a new group.
            auto_minor_version_upgrade=False,
            apply_immediately=not args.production,
            log_delivery_configurations=[
                {"log_type": "slow-log", "log_format": "json", "destination_type": "cloudwatch-logs", "destination": logs.name}
            ],
            # The broker alone: an empty cache fills itself.
            opts=pulumi.ResourceOptions(parent=self, protect=name == "broker", retain_on_delete=args.production and name == "broker"),
        )


def _url(user: str, secret: pulumi.Output[str], host: pulumi.Output[str], database: int) -> pulumi.Output[str]:
    # Without the last part Celery's transport would encrypt, but take anybody's certificate for the server's.
    place = pulumi.Output.concat("@", host, f":{PORT}/{database}?ssl_cert_reqs=required")
    return pulumi.Output.secret(pulumi.Output.concat("rediss://", user, ":", secret, place))
