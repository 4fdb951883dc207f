"""What AWS itself must tell: databases and caches that run out of something, and money. The service's own alerts are the chart's."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import pulumi
import pulumi_aws as aws

from infra import iam
from infra.catalog import InstanceClass
from infra.config import AlarmsConfig
from infra.iam import Statement

GIB = 2**30
#: Five times what `autovacuum_freeze_max_age` allows: vacuum does not come through. PostgreSQL stops at 2,100 million.
MOST_TRANSACTION_IDS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class AlarmsArgs:
    """Who is told, and what is watched."""

    config: AlarmsConfig
    stage: str
    account: str
    database_id: pulumi.Output[str]
    database_class: InstanceClass
    database_storage_gib: int
    database_connections: int
    """What `max_connections` is set to."""
    replica_ids: Sequence[pulumi.Output[str]]
    broker_nodes: Sequence[pulumi.Output[str]]
    cache_nodes: Sequence[pulumi.Output[str]]
    nat_gateway_ids: Sequence[pulumi.Output[str]]


@dataclass(frozen=True, slots=True)
class _Alarm:
    """One alarm: `metric` beyond `threshold` for `periods` periods."""

    name: str
    namespace: str
    metric: str
    comparison: Literal[">", "<"]
    threshold: float
    dimensions: Mapping[str, pulumi.Output[str]]
    meaning: str
    """What it means and what to do, for whoever is woken."""
    seconds: int = 300
    periods: int = 3
    statistic: str = "Average"
    missing: str = "missing"


class Alarms(pulumi.ComponentResource):
    """A topic with its subscribers, alarms that write to it, and a budget."""

    def __init__(self, name: str, args: AlarmsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("platform:infra:Alarms", name, None, opts)
        self._args = args
        self._topic = self._make_topic()
        for alarm in (*self._database(), *self._caches(), *self._network()):
            self._make_alarm(alarm)
        self._make_budget()
        self.topic_arn: pulumi.Output[str] = self._topic.arn
        self.register_outputs({})

    def _child(self, *depends_on: pulumi.Resource) -> pulumi.ResourceOptions:
        return pulumi.ResourceOptions(parent=self, depends_on=list(depends_on))

    def _make_topic(self) -> aws.sns.Topic:
        account = self._args.account
        mine = {"StringEquals": {"aws:SourceAccount": account}}
        senders = {"Service": "cloudwatch.amazonaws.com"}  # the budget writes its mails itself
        key = aws.kms.Key(
            "alarms",
            description=f"Alarms of {self._args.stage}",
            enable_key_rotation=True,
            policy=iam.document(
                Statement(("kms:*",), ["*"], principals={"AWS": f"arn:aws:iam::{account}:root"}, sid="Account"),
                Statement(("kms:GenerateDataKey*", "kms:Decrypt"), ["*"], mine, senders, sid="Alarms"),
            ),
            opts=self._child(),
        )
        topic = aws.sns.Topic("alarms", kms_master_key_id=key.arn, opts=self._child())
        aws.sns.TopicPolicy(
            "alarms",
            arn=topic.arn,
            policy=iam.document(
                Statement(("sns:Publish",), [topic.arn], mine, senders, sid="Alarms"),
                Statement(
                    ("sns:Publish",), [topic.arn], {"Bool": {"aws:SecureTransport": "false"}}, {"*": "*"}, effect="Deny", sid="TlsOnly"
                ),
            ),
            opts=self._child(),
        )
        for number, email in enumerate(self._args.config.emails):
            aws.sns.TopicSubscription(f"email-{number}", topic=topic.arn, protocol="email", endpoint=email, opts=self._child())
        return topic

    def _make_alarm(self, alarm: _Alarm) -> None:
        aws.cloudwatch.MetricAlarm(
            alarm.name,
            alarm_description=alarm.meaning,
            namespace=alarm.namespace,
            metric_name=alarm.metric,
            dimensions=dict(alarm.dimensions),
            statistic=alarm.statistic,
            comparison_operator="GreaterThanThreshold" if alarm.comparison == ">" else "LessThanThreshold",
            threshold=alarm.threshold,
            period=alarm.seconds,
            evaluation_periods=alarm.periods,
            treat_missing_data=alarm.missing,
            alarm_actions=[self._topic.arn],
            ok_actions=[self._topic.arn],
            opts=self._child(),
        )

    def _database(self) -> Sequence[_Alarm]:
        args = self._args
        of = {"DBInstanceIdentifier": args.database_id}
        memory = args.database_class.memory_gib * GIB
        found = [
            _Alarm(
                "database-storage",
                "AWS/RDS",
                "FreeStorageSpace",
                "<",
                args.database_storage_gib * GIB * 0.1,
                of,
                "Less than a tenth of the storage is free. It grows up to database.maxStorageGib: raise that, or find what grows.",
            ),
            _Alarm(
                "database-memory",
                "AWS/RDS",
                "FreeableMemory",
                "<",
                memory * 0.05,
                of,
                "Less than a twentieth of the memory is free. Look for large sorts in Performance Insights, or take a larger class.",
            ),
            _Alarm(
                "database-cpu",
                "AWS/RDS",
                "CPUUtilization",
                ">",
                80,
                of,
                "The processors were busy for 15 minutes. Look for the statement in Performance Insights, or take a larger class.",
            ),
            _Alarm(
                "database-connections",
                "AWS/RDS",
                "DatabaseConnections",
                ">",
                args.database_connections * 0.85,
                of,
                "Connections come near max_connections. The chart keeps pods below it: look for others.",
                statistic="Maximum",
            ),
            _Alarm(
                "database-transaction-ids",
                "AWS/RDS",
                "MaximumUsedTransactionIDs",
                ">",
                MOST_TRANSACTION_IDS,
                of,
                "Vacuum does not keep up and PostgreSQL will stop at 2,100 million. Look for old transactions and replication slots.",
                statistic="Maximum",
            ),
        ]
        if args.database_class.burstable:
            found.append(
                _Alarm(
                    "database-credits",
                    "AWS/RDS",
                    "CPUCreditBalance",
                    "<",
                    20,
                    of,
                    "CPU credits are nearly spent and the database will slow down. Take a class that is not burstable.",
                )
            )
        found += [
            _Alarm(
                f"database-replica-{number}-lag",
                "AWS/RDS",
                "ReplicaLag",
                ">",
                60,
                {"DBInstanceIdentifier": replica},
                "The replica is more than a minute behind. Look for long queries on it, or a larger class.",
                statistic="Maximum",
            )
            for number, replica in enumerate(args.replica_ids)
        ]
        return found

    def _caches(self) -> Sequence[_Alarm]:
        found: list[_Alarm] = []
        for number, node in enumerate(self._args.broker_nodes):
            of = {"CacheClusterId": node}
            found += [
                _Alarm(
                    f"broker-{number}-memory",
                    "AWS/ElastiCache",
                    "DatabaseMemoryUsagePercentage",
                    ">",
                    70,
                    of,
                    "The broker evicts nothing: at 100 % it refuses writes, and tasks wait in the outbox. See docs/runbooks/queue-old.md.",
                    statistic="Maximum",
                ),
                _Alarm(
                    f"broker-{number}-cpu",
                    "AWS/ElastiCache",
                    "EngineCPUUtilization",
                    ">",
                    80,
                    of,
                    "The engine's one thread is busy. Take a larger class.",
                ),
            ]
        # A group's first node is primary when it is made, and it may change: what lags is watched on every node.
        for number, node in enumerate(self._args.broker_nodes if len(self._args.broker_nodes) > 1 else ()):
            found.append(
                _Alarm(
                    f"broker-{number}-lag",
                    "AWS/ElastiCache",
                    "ReplicationLag",
                    ">",
                    10,
                    {"CacheClusterId": node},
                    "The replica is behind: a failover now would lose what it has not got. The outbox would send tasks again.",
                    statistic="Maximum",
                    missing="notBreaching",
                )
            )
        for number, node in enumerate(self._args.cache_nodes):
            found.append(
                _Alarm(
                    f"cache-{number}-cpu",
                    "AWS/ElastiCache",
                    "EngineCPUUtilization",
                    ">",
                    80,
                    {"CacheClusterId": node},
                    "The engine's one thread is busy. Take a larger class.",
                )
            )
        return found

    def _network(self) -> Sequence[_Alarm]:
        return [
            _Alarm(
                f"nat-{number}-ports",
                "AWS/NATGateway",
                "ErrorPortAllocation",
                ">",
                0,
                {"NatGatewayId": gateway},
                "A NAT gateway ran out of ports to one destination: connections to it fail. Look for a client that does not reuse them.",
                statistic="Sum",
                missing="notBreaching",
            )
            for number, gateway in enumerate(self._args.nat_gateway_ids)
        ]

    def _make_budget(self) -> None:
        emails = list(self._args.config.emails)
        aws.budgets.Budget(
            "monthly",
            budget_type="COST",
            limit_amount=str(self._args.config.monthly_budget_usd),
            limit_unit="USD",
            time_unit="MONTHLY",
            notifications=[
                {
                    "comparison_operator": "GREATER_THAN",
                    "threshold": threshold,
                    "threshold_type": "PERCENTAGE",
                    "notification_type": kind,
                    "subscriber_email_addresses": emails,
                }
                for kind, threshold in (("ACTUAL", 80), ("FORECASTED", 100))
            ],
            opts=self._child(),
        )
