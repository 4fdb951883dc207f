"""Databases and caches."""

import re
from collections.abc import Iterator
from typing import Any, Final

from infra.catalog import catalog
from infra.policies.base import Properties
from infra.registrations import Graph

INSTANCE: Final = "aws:rds/instance:Instance"
PARAMETERS: Final = "aws:rds/parameterGroup:ParameterGroup"
GROUP: Final = "aws:elasticache/replicationGroup:ReplicationGroup"
CACHE_PARAMETERS: Final = "aws:elasticache/parameterGroup:ParameterGroup"
USER: Final = "aws:elasticache/user:User"
LEAST_BACKUP_DAYS: Final = 14
STATIC: Final = {
    "autovacuum_freeze_max_age",
    "autovacuum_max_workers",
    "huge_pages",
    "max_connections",
    "max_locks_per_transaction",
    "max_prepared_transactions",
    "max_replication_slots",
    "max_wal_senders",
    "max_worker_processes",
    "rds.logical_replication",
    "shared_buffers",
    "shared_preload_libraries",
    "superuser_reserved_connections",
    "track_activity_query_size",
    "wal_buffers",
}
"""Parameters of PostgreSQL that only a restart changes; RDS refuses them with apply method `immediate`."""
BURSTABLE: Final = re.compile(r"^(db|cache)\.t\d")


def _is_replica(properties: Properties) -> bool:
    return "replicateSourceDb" in properties


def database_is_closed(kind: str, properties: Properties, _: bool) -> Iterator[str]:
    """Encrypted with an own key, and not to be reached from outside."""
    if kind != INSTANCE:
        return
    if properties.get("publiclyAccessible"):
        yield "can be reached from the internet; set publicly_accessible to False."
    if not properties.get("storageEncrypted") and not _is_replica(properties):
        yield "is not encrypted, which cannot be changed later; set storage_encrypted."
    if "kmsKeyId" not in properties and not _is_replica(properties):
        yield "is encrypted with AWS's key or none; set kms_key_id to the key of the database."
    if properties.get("performanceInsightsEnabled") and "performanceInsightsKmsKeyId" not in properties:
        yield "keeps statements in Performance Insights with AWS's key; set performance_insights_kms_key_id."
    if properties.get("manageMasterUserPassword") and "masterUserSecretKmsKeyId" not in properties:
        yield "keeps its administrator's password with AWS's key; set master_user_secret_kms_key_id."


def database_is_kept(kind: str, properties: Properties, production: bool) -> Iterator[str]:
    """What is deleted by mistake can be had back."""
    if kind != INSTANCE or _is_replica(properties):
        return
    if not properties.get("deletionProtection"):
        yield "can be deleted by one call; set deletion_protection."
    if properties.get("skipFinalSnapshot") or "finalSnapshotIdentifier" not in properties:
        yield "would be deleted without a last snapshot; set final_snapshot_identifier and leave skip_final_snapshot False."
    if properties.get("deleteAutomatedBackups", True) and production:
        yield "loses its backups with itself; set delete_automated_backups to False."
    days = properties.get("backupRetentionPeriod", 0)
    if days < (LEAST_BACKUP_DAYS if production else 1):
        yield f"keeps backups for {days} days; keep {LEAST_BACKUP_DAYS} in production, and one at least."
    if not properties.get("copyTagsToSnapshot"):
        yield "makes snapshots that nobody can tell the owner of; set copy_tags_to_snapshot."


def database_stays_up(kind: str, properties: Properties, production: bool) -> Iterator[str]:
    """No surprise: neither a lost zone, nor spent credits, nor a full disk, nor a change in the middle of the day."""
    if kind != INSTANCE:
        return
    if properties.get("allowMajorVersionUpgrade"):
        yield "may be upgraded to another major version by a changed number; set allow_major_version_upgrade only while it is meant."
    if properties.get("storageType") != "gp3":
        yield f"is on {properties.get('storageType', 'the default storage')}; set storage_type to gp3, which does not slow down."
    if not _is_replica(properties) and properties.get("maxAllocatedStorage", 0) <= properties.get("allocatedStorage", 0):
        yield "cannot grow by itself; set max_allocated_storage above allocated_storage."
    if not production:
        return
    if not _is_replica(properties) and not properties.get("multiAz"):
        yield "is in one zone; set multi_az in production."
    if properties.get("applyImmediately"):
        yield "would restart at once for some changes; set apply_immediately to False in production."
    if not properties.get("performanceInsightsEnabled"):
        yield "tells nobody which statement is slow; set performance_insights_enabled."


def production_is_not_burstable(kind: str, properties: Properties, production: bool) -> Iterator[str]:
    """Burstable classes slow down when their CPU credits are spent, which is when they are needed."""
    name = properties.get("instanceClass") or properties.get("nodeType") or ""
    if production and kind in {INSTANCE, GROUP} and BURSTABLE.match(name):
        yield f"is {name}, which slows down under load; choose an m or r class in production."


def classes_are_known(kind: str, properties: Properties, _: bool) -> Iterator[str]:
    """A class that the catalogue knows has a price and a size; one that it does not is often misspelt."""
    known = {INSTANCE: ("instanceClass", catalog().databases), GROUP: ("nodeType", catalog().caches)}
    if kind in known:
        name, classes = known[kind]
        if properties.get(name) not in classes:
            yield f"is of the class {properties.get(name)}; choose one of infra/catalog.toml, or add its size and price."


def parameters_of_the_database(kind: str, properties: Properties, _: bool) -> Iterator[str]:
    """TLS for everybody, and each parameter applied as it can be."""
    if kind != PARAMETERS:
        return
    parameters = {parameter["name"]: parameter for parameter in properties.get("parameters", [])}
    if str(parameters.get("rds.force_ssl", {}).get("value")) != "1":
        yield "lets clients in without TLS; set rds.force_ssl to 1."
    for name, parameter in parameters.items():
        if name in STATIC and parameter.get("applyMethod") != "pending-reboot":
            yield f"sets {name}, which only a restart changes; set its apply_method to pending-reboot."
        if parameter.get("value") in {None, ""}:
            yield f"sets {name} to nothing; give it a value or leave it out."


def database_fits_its_parameters(graph: Graph, _: bool) -> Iterator[tuple[str, str]]:
    """Engine, version and family are one thing said three times."""
    families = {group.outputs["name"]: group.inputs.get("family", "") for group in graph.of(PARAMETERS)}
    for instance in graph.of(INSTANCE):
        inputs = instance.inputs
        if _is_replica(inputs):
            continue
        wanted = f"{inputs.get('engine')}{str(inputs.get('engineVersion', '')).partition('.')[0]}"
        family = families.get(inputs.get("parameterGroupName", ""))
        if family is None:
            yield instance.urn, "has no parameter group of its own, and no TLS with it; set parameter_group_name."
        elif family != wanted:
            yield instance.urn, f"is {wanted} with parameters of {family}; make the parameter group's family {wanted}."


def chart_knows_the_connections(graph: Graph, _: bool) -> Iterator[tuple[str, str]]:
    """The chart refuses to render more pods than the database has connections for: it must be told the number that is set."""
    told = graph.exports.get("helmValues", {}).get("database", {}).get("maxConnections")
    for group in graph.of(PARAMETERS):
        if told is not None and str(_parameter(group.inputs, "max_connections")) != str(told):
            yield group.urn, f"sets another max_connections than the chart is told ({told}); take both from infra.capacity."


def caches_are_closed(kind: str, properties: Properties, _: bool) -> Iterator[str]:
    """TLS from creation (it cannot be demanded later without a step between), own key, users with passwords."""
    if kind != GROUP:
        return
    if not properties.get("transitEncryptionEnabled") or properties.get("transitEncryptionMode", "required") != "required":
        yield "speaks without TLS; set transit_encryption_enabled and transit_encryption_mode required."
    if not properties.get("atRestEncryptionEnabled") or "kmsKeyId" not in properties:
        yield "is not encrypted with an own key; set at_rest_encryption_enabled and kms_key_id."
    if not properties.get("userGroupIds"):
        yield "lets in who asks; set user_group_ids."
    if "authToken" in properties:
        yield "has one password for everybody; use a user group instead of auth_token."


def caches_fail_over(kind: str, properties: Properties, production: bool) -> Iterator[str]:
    """A replica is of use only if it takes over."""
    if kind != GROUP:
        return
    several = properties.get("numCacheClusters", 1) > 1
    if production and not several:
        yield "has one node; set num_cache_clusters to 2 or more in production."
    if several and not (properties.get("automaticFailoverEnabled") and properties.get("multiAzEnabled")):
        yield "has replicas that do not take over, or share a zone; set automatic_failover_enabled and multi_az_enabled."
    if properties.get("clusterMode", "disabled") != "disabled" or properties.get("numNodeGroups", 1) > 1:
        yield "is sharded, which Celery cannot use; leave cluster mode off."
    if production and properties.get("applyImmediately"):
        yield "would restart at once for some changes; set apply_immediately to False in production."


def cache_users_are_few(kind: str, properties: Properties, _: bool) -> Iterator[str]:
    """The default user is off, and others have a password and no dangerous commands."""
    if kind != USER:
        return
    rights = str(properties.get("accessString", "")).split()
    if properties.get("userName") == "default":
        if "on" in rights:
            yield "is the default user and is on; switch it off (access_string `off ...`)."
        return
    if properties.get("noPasswordRequired") or properties.get("authenticationMode", {}).get("type") == "no-password-required":
        yield "needs no password; set authentication_mode to a password."
    if "on" in rights and "+@all" in rights and "-@dangerous" not in rights and "-@admin" not in rights:
        yield "may do everything, FLUSHALL and CONFIG included; take -@all and add what the service uses, or -@dangerous."


def caches_fit_their_parameters(graph: Graph, production: bool) -> Iterator[tuple[str, str]]:
    """The broker evicts nothing, the cache something; families fit engines."""
    groups = {group.outputs["name"]: group for group in graph.of(CACHE_PARAMETERS)}
    for resource in graph.of(GROUP):
        inputs = resource.inputs
        wanted = f"{inputs.get('engine')}{str(inputs.get('engineVersion', '')).partition('.')[0]}"
        group = groups.get(inputs.get("parameterGroupName", ""))
        if group is None:
            yield resource.urn, "has no parameter group of its own, so that AWS decides what it evicts; set parameter_group_name."
            continue
        if group.inputs.get("family") != wanted:
            yield resource.urn, f"is {wanted} with parameters of {group.inputs.get('family')}; make the family {wanted}."
        policy = _parameter(group.inputs, "maxmemory-policy")
        if "broker" in resource.name and policy != "noeviction":
            yield resource.urn, f"carries tasks and evicts them ({policy or 'volatile-lru'}); set maxmemory-policy to noeviction."
        if "broker" not in resource.name and policy in {None, "noeviction"}:
            yield resource.urn, "is a cache that refuses writes when it is full; set maxmemory-policy to an LRU."
        if "broker" in resource.name and production and not inputs.get("snapshotRetentionLimit"):
            yield resource.urn, "carries tasks and has no snapshots; set snapshot_retention_limit."


def _parameter(properties: Properties, name: str) -> Any:
    return next((parameter.get("value") for parameter in properties.get("parameters", []) if parameter.get("name") == name), None)


def administrators_are_managed(graph: Graph, _: bool) -> Iterator[tuple[str, str]]:
    """By RDS, but where there are replicas: it refuses to make one of a database whose administrator's password it manages."""
    copied = {replica.inputs["replicateSourceDb"] for replica in graph.of(INSTANCE) if _is_replica(replica.inputs)}
    for instance in graph.of(INSTANCE):
        managed = instance.inputs.get("manageMasterUserPassword")
        if not copied.isdisjoint({instance.outputs["identifier"], instance.outputs["arn"]}):
            if managed:
                yield instance.urn, "has replicas, which RDS does not make while it manages the administrator; give it a password of ours."
        elif not _is_replica(instance.inputs) and not managed:
            yield instance.urn, "has an administrator that RDS does not manage; use manage_master_user_password, and no password."


def readers_are_not_left_behind(graph: Graph, production: bool) -> Iterator[tuple[str, str]]:
    """A replica as small as its source at least, with its rules."""
    instances = {instance.outputs["identifier"]: instance for instance in graph.of(INSTANCE)}
    instances |= {instance.outputs["arn"]: instance for instance in graph.of(INSTANCE)}
    for replica in graph.of(INSTANCE):
        source = instances.get(replica.inputs.get("replicateSourceDb", ""))
        if source is None:
            continue
        if replica.inputs.get("instanceClass") != source.inputs.get("instanceClass"):
            yield replica.urn, "is of another class than its source, and could not take over or keep up; give both the same."
        if production and BURSTABLE.match(replica.inputs.get("instanceClass", "")):
            yield replica.urn, "is burstable; choose an m or r class."
