"""Alarms, and the money."""

from collections.abc import Iterator
from typing import Final

from infra.policies.base import Properties
from infra.registrations import Graph

ALARM: Final = "aws:cloudwatch/metricAlarm:MetricAlarm"
DATABASE_METRICS: Final = ("FreeStorageSpace", "FreeableMemory", "CPUUtilization", "DatabaseConnections")
WATCHED: Final = {
    "aws:rds/instance:Instance": ("AWS/RDS", "DBInstanceIdentifier"),
    "aws:elasticache/replicationGroup:ReplicationGroup": ("AWS/ElastiCache", "CacheClusterId"),
}


def alarms_reach_somebody(kind: str, properties: Properties, _: bool) -> Iterator[str]:
    """An alarm that nobody hears is none."""
    if kind == ALARM and not (properties.get("alarmActions") and properties.get("dimensions")):
        yield "rings nowhere, or for nothing; set alarm_actions to the topic, and dimensions."
    if kind == ALARM and not properties.get("alarmDescription"):
        yield "does not say what to do; set alarm_description."
    if kind == "aws:budgets/budget:Budget" and not properties.get("notifications"):
        yield "tells nobody; set notifications."


def what_matters_is_watched(graph: Graph, _: bool) -> Iterator[tuple[str, str]]:
    """Databases by what fills up, caches by their nodes."""
    if not graph.of(ALARM):
        yield "", "has no alarm; add the component Alarms."
        return
    watched = {
        (alarm.inputs.get("metricName"), value) for alarm in graph.of(ALARM) for value in alarm.inputs.get("dimensions", {}).values()
    }
    for instance in graph.of("aws:rds/instance:Instance"):
        identifier = instance.outputs["identifier"]
        wanted = ("ReplicaLag",) if "replicateSourceDb" in instance.inputs else DATABASE_METRICS
        for metric in wanted:
            if (metric, identifier) not in watched:
                yield instance.urn, f"is not watched by {metric}; add an alarm with its DBInstanceIdentifier."
    for group in graph.of("aws:elasticache/replicationGroup:ReplicationGroup"):
        for node in group.outputs["memberClusters"]:
            if not any(value == node for _metric, value in watched):
                yield group.urn, f"has the node {node}, which no alarm watches; add one."


def somebody_listens(graph: Graph, _: bool) -> Iterator[tuple[str, str]]:
    """An alarm rings at a topic that is there, a topic has subscribers, and a month has a budget."""
    there = {topic.outputs["arn"] for topic in graph.of("aws:sns/topic:Topic")}
    for alarm in graph.of(ALARM):
        for action in alarm.inputs.get("alarmActions", []):
            if action not in there:
                yield alarm.urn, f"rings at {action}, which is not made here; take the topic's ARN."
    topics = {subscription.inputs.get("topic") for subscription in graph.of("aws:sns/topicSubscription:TopicSubscription")}
    for topic in graph.of("aws:sns/topic:Topic"):
        if topic.outputs["arn"] not in topics:
            yield topic.urn, "has no subscriber; add one."
    if not graph.of("aws:budgets/budget:Budget"):
        yield "", "has no budget; add one."
