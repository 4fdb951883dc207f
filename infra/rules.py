"""What a stage's configuration must not say together. Each problem names the field, the reason and the remedy."""

from collections.abc import Iterator
from contextlib import suppress
from datetime import date
from functools import partial
from ipaddress import IPv4Network
from typing import TYPE_CHECKING, Final

from infra import capacity
from infra.catalog import InstanceClass, catalog

if TYPE_CHECKING:
    from infra.config import StageConfig

WIDEST_VPC: Final = 16
NARROWEST_VPC: Final = 18
WIDEST_PUBLIC: Final = 16
ZONES: Final = 3
LEAST_BACKUP_DAYS: Final = 14
LEAST_PODS: Final = 2
PRIVATE: Final = tuple(IPv4Network(cidr) for cidr in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"))
#: RDS wants a tenth of room at least, or storage cannot grow by itself.
STORAGE_ROOM: Final = 1.1


def problems(config: "StageConfig", today: date) -> list[str]:
    """Return every contradiction, or nothing.

    Args:
        config: The configuration. Parts that are not valid by themselves may be missing: what needs them is not looked at.
        today: The day to hold ends of support against.
    """
    found: list[str] = []
    groups = (
        *(_network, _service_network, partial(_cluster, today=today), _classes, _database),
        *(_pods, _host, _environment, _production, _connections, _addresses),
    )
    for group in groups:
        with suppress(AttributeError):
            found += group(config)
    return found


def _network(config: "StageConfig") -> Iterator[str]:
    network = config.network
    if not WIDEST_VPC <= network.cidr.prefixlen <= NARROWEST_VPC:
        yield f"network.cidr is {network.cidr}: it must be /{WIDEST_VPC} to /{NARROWEST_VPC}: pods take three quarters."
    if not any(network.cidr.subnet_of(private) for private in PRIVATE):
        yield f"network.cidr is {network.cidr}, which is not private (RFC 1918); choose one within 10.0.0.0/8."
    for other in network.reserved_cidrs:
        if network.cidr.overlaps(other):
            yield f"network.cidr ({network.cidr}) overlaps {other} of network.reservedCidrs; choose a range that nothing else uses."
    if len(set(network.zones)) != ZONES or len(network.zones) != ZONES:
        yield f"network.zones names {len(set(network.zones))} different zones; name {ZONES}, so that one may be lost."
    for zone in network.zones:
        if not (zone.startswith(config.region) and len(zone) == len(config.region) + 1):
            yield f"network.zones has {zone}, which is not in the region {config.region}; write it like {config.region}a."


def _service_network(config: "StageConfig") -> Iterator[str]:
    services, cidr = config.cluster.service_cidr, config.network.cidr
    if cidr.overlaps(services):
        yield f"network.cidr ({cidr}) overlaps cluster.serviceCidr ({services}); choose a range that nothing else uses."


def _cluster(config: "StageConfig", today: date) -> Iterator[str]:
    cluster = config.cluster
    supported = catalog().kubernetes
    usable = ", ".join(version for version, end in supported.items() if end >= today) or "none known; add to infra/catalog.toml"
    if cluster.version not in supported:
        yield f"cluster.version is {cluster.version}, which EKS is not known to support; choose of {usable}."
    elif supported[cluster.version] < today:
        yield (
            f"cluster.version is {cluster.version}, whose standard support ended on {supported[cluster.version]}: AWS would upgrade it "
            f"on a day of its own; choose of {usable}."
        )
    for cidr in cluster.public_cidrs:
        if cidr.prefixlen < WIDEST_PUBLIC:
            yield f"cluster.publicCidrs has {cidr}, which opens the API server to much of the internet; list who needs it."
    if not cluster.administrators:
        yield "cluster.administrators is empty, and nobody could ever administer the cluster; list an IAM role."
    if cluster.node_min > cluster.node_max:
        yield f"cluster.nodeMin ({cluster.node_min}) is above nodeMax ({cluster.node_max}); lower the first or raise the second."


def _classes(config: "StageConfig") -> Iterator[str]:
    for field, name, known in _named_classes(config):
        if name not in known:
            yield f"{field} is {name}, which infra/catalog.toml does not know; choose of {', '.join(known)}, or add its size and price."


def _named_classes(config: "StageConfig") -> tuple[tuple[str, str, dict[str, InstanceClass]], ...]:
    return (
        ("cluster.nodeType", config.cluster.node_type, catalog().nodes),
        ("database.instanceClass", config.database.instance_class, catalog().databases),
        ("cache.brokerClass", config.cache.broker_class, catalog().caches),
        ("cache.cacheClass", config.cache.cache_class, catalog().caches),
    )


def _database(config: "StageConfig") -> Iterator[str]:
    database = config.database
    if database.max_storage_gib < database.storage_gib * STORAGE_ROOM:
        yield (
            f"database.maxStorageGib ({database.max_storage_gib}) leaves less than a tenth above storageGib ({database.storage_gib}), "
            "so that storage could not grow by itself; raise the first."
        )
    if _overlap(database.backup_window, database.maintenance_window):
        yield (
            f"database.backupWindow ({database.backup_window}) overlaps maintenanceWindow ({database.maintenance_window}), which RDS "
            "refuses; move one."
        )


def _overlap(backup: str, maintenance: str) -> bool:
    start, end = (_minutes(time) for time in backup.split("-"))
    first, last = (_minutes(time[4:]) for time in maintenance.split("-"))
    # Both are on a clock of a day: the backup's comes daily, and the maintenance's on one day.
    return any(_between(first, moment, last) for moment in (start, end - 1)) or _between(start, first, end)


def _minutes(time: str) -> int:
    return int(time[:2]) * 60 + int(time[3:])


def _between(start: int, moment: int, end: int) -> bool:
    return start <= moment < end if start <= end else moment >= start or moment < end


def _pods(config: "StageConfig") -> Iterator[str]:
    service = config.service
    if service.api_min > service.api_max:
        yield f"service.apiMin ({service.api_min}) is above apiMax ({service.api_max}); lower the first or raise the second."
    if service.api_min < LEAST_PODS:
        yield f"service.apiMin is {service.api_min}: a drained node would take the only pod; have {LEAST_PODS} or more."


def _environment(config: "StageConfig") -> Iterator[str]:
    wanted = "production" if config.is_production else "staging"
    if config.service.environment != wanted:
        yield f"service.environment is {config.service.environment} on the stage {config.stage}; it must be {wanted}."


def _host(config: "StageConfig") -> Iterator[str]:
    dns = config.dns
    if not dns.host.endswith(f".{dns.zone}"):
        yield f"dns.host ({dns.host}) is not in dns.zone ({dns.zone}), where its certificate is proved; put it there."


def _production(config: "StageConfig") -> Iterator[str]:
    if not config.is_production:
        return
    database = config.database
    if not database.multi_az:
        yield "database.multiAz is false in prod: a lost zone would be an outage until a restore; set it to true."
    if database.backup_days < LEAST_BACKUP_DAYS:
        yield f"database.backupDays is {database.backup_days} in prod; keep {LEAST_BACKUP_DAYS} or more, for some mistakes are found late."
    if config.network.nat != "per-zone":
        yield "network.nat is single in prod: egress of all zones would go with one; set it to per-zone."
    if config.cache.replicas < 1:
        yield "cache.replicas is 0 in prod: nothing could take over from a lost node; set 1 or more."
    if config.cache.snapshot_days < 1:
        yield "cache.snapshotDays is 0 in prod; keep a day or more."
    if config.cluster.node_min < ZONES:
        yield f"cluster.nodeMin is {config.cluster.node_min} in prod; have {ZONES}, one a zone."
    for field, name, known in _named_classes(config):
        if name in known and known[name].burstable:
            yield f"{field} is {name} in prod, which slows down when its CPU credits are spent; choose a class that does not."


def _connections(config: "StageConfig") -> Iterator[str]:
    if config.database.instance_class not in catalog().databases or config.database.proxy:
        return
    offered = capacity.max_connections(config.database) - capacity.RESERVED_CONNECTIONS
    needed = capacity.connections(config.service)
    if needed > offered:
        yield (
            f"database.instanceClass {config.database.instance_class} offers {offered} connections, and the pods may open {needed}; take a "
            "larger class, fewer pods (service.apiMax, mainMax, bulk), or database.proxy."
        )


def _addresses(config: "StageConfig") -> Iterator[str]:
    if config.cluster.node_type not in catalog().nodes or config.network.cidr.prefixlen > NARROWEST_VPC:
        return
    has, wants = capacity.addresses(config), capacity.addresses_needed(config)
    if wants > has:
        yield f"network.cidr ({config.network.cidr}) has {has} addresses a zone for pods, and {wants} may be needed; take a wider one."
