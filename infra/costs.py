"""What a stage costs a month, from its configuration and the dated prices of ``catalog.toml``, without an account.

On-demand prices of us-east-1, without taxes, discounts and free tiers. What hangs on traffic is assumed, and the assumptions are named.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil
from typing import Final

from infra import capacity
from infra.catalog import InstanceClass, catalog
from infra.components.cluster import NODE_DISK
from infra.components.network import ENDPOINTS
from infra.config import ZONES, StageConfig

HOURS: Final = 730
"""Hours of a month, as AWS counts."""
#: One a concern in keys.py, and the alarms' topic's.
KEYS: Final = 7
#: The service's, the migration's and the administrator's.
SECRETS: Final = 3
#: Share of the database that changes a day, kept by backups as often.
CHANGED_DAILY: Final = 0.02
#: Share of the broker's memory that a snapshot holds.
BROKER_FILLED: Final = 0.1
#: How far the API has scaled from its fewest pods to its most, on the average of a month.
SCALED: Final = 0.25
#: What compression leaves of a log.
COMPRESSED: Final = 0.15
MONTH_DAYS: Final = 30


@dataclass(frozen=True, slots=True)
class Traffic:
    """What is assumed of a stage's month."""

    out_gb: int
    """Answers to clients."""
    nat_gb: int
    """What pods fetch from the internet and send there: mails, error reports, images of controllers."""
    zones_gb: int
    """Between zones: pods to the database and the caches."""
    logs_gb: int
    """Control plane, flow logs, PostgreSQL, enhanced monitoring."""
    objects_gb: int
    """Uploads, their former versions and access logs in S3."""
    images_gb: int
    balancer_units: float
    """LCUs on average: one is 25 new connections a second, 3,000 open ones, or 1 GB an hour."""


TRAFFIC: Final = {
    "dev": Traffic(out_gb=10, nat_gb=50, zones_gb=50, logs_gb=15, objects_gb=10, images_gb=20, balancer_units=0.1),
    "staging": Traffic(out_gb=50, nat_gb=150, zones_gb=300, logs_gb=60, objects_gb=50, images_gb=20, balancer_units=1),
    "prod": Traffic(out_gb=2000, nat_gb=500, zones_gb=3000, logs_gb=300, objects_gb=500, images_gb=20, balancer_units=6),
}


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the estimate."""

    component: str
    what: str
    number: float
    unit: str
    price: float
    """US dollars for one unit a month."""

    @property
    def usd(self) -> float:
        """US dollars a month."""
        return self.number * self.price


def estimate(config: StageConfig, traffic: Traffic | None = None) -> list[Line]:
    """Return what a stage costs in a month of 730 hours.

    Args:
        config: The stage; a change of it is priced by asking twice.
        traffic: What passes through it in a month; without it, what is assumed of the stage.
    """
    assumed = traffic or TRAFFIC[config.stage]
    lines = (*_network(config, assumed), *_cluster(config), *_database(config), *_cache(config), *_rest(config, assumed))
    return [line for line in lines if line.number]


def total(lines: list[Line]) -> float:
    """Return the sum in US dollars a month."""
    return sum(line.usd for line in lines)


def nodes(config: StageConfig) -> int:
    """Return the nodes of an average hour, Karpenter's included, as if they were all of the system nodes' class."""
    service = config.service
    kind = catalog().nodes[config.cluster.node_type]
    api = service.api_min + ceil((service.api_max - service.api_min) * SCALED)
    workers = min(2, service.main_max) + service.bulk + 1
    cpu = capacity.SYSTEM_REQUEST[0] + api * capacity.API_REQUEST[0] + workers * capacity.WORKER_REQUEST[0]
    return max(config.cluster.node_min, ceil(cpu / (kind.cpu * 1000 - capacity.NODE_RESERVED[0])))


def alarms(config: StageConfig) -> int:
    """Return how many CloudWatch alarms the stage has."""
    caches = config.cache.replicas + 1
    burstable = catalog().databases[config.database.instance_class].burstable
    broker = caches * (3 if caches > 1 else 2)  # memory and CPU of every node, and the lag where there is a replica
    return 5 + burstable + config.database.replicas + broker + caches + _gateways(config)


def _gateways(config: StageConfig) -> int:
    return 1 if config.network.nat == "single" else ZONES


def _hourly(component: str, what: str, number: float, unit: str, hour: float) -> Line:
    return Line(component, what, number, unit, hour * HOURS)


def _network(config: StageConfig, traffic: Traffic) -> Iterator[Line]:
    prices = catalog().prices
    gateways = _gateways(config)
    yield _hourly("network", "NAT gateways", gateways, "gateway", prices.nat_hour)
    yield Line("network", "Traffic through NAT", traffic.nat_gb, "GB", prices.nat_gb)
    endpoints = len(ENDPOINTS) * ZONES if config.is_production else 0
    yield _hourly("network", "Interface endpoints, one a zone", endpoints, "endpoint", prices.endpoint_hour)
    yield _hourly("network", "Public addresses of NAT gateways and load balancer", gateways + ZONES, "address", prices.address_hour)
    yield _hourly("network", "Application Load Balancer, made by its controller", 1, "balancer", prices.balancer_hour)
    yield _hourly("network", "Its use", traffic.balancer_units, "LCU", prices.balancer_unit_hour)
    yield Line("network", "Traffic to clients", traffic.out_gb, "GB", prices.transfer_out_gb)
    yield Line("network", "Traffic between zones", traffic.zones_gb, "GB", prices.transfer_zone_gb)


def _cluster(config: StageConfig) -> Iterator[Line]:
    prices, count = catalog().prices, nodes(config)
    yield _hourly("cluster", "EKS control plane", 1, "cluster", prices.cluster_hour)
    yield _hourly("cluster", f"Nodes, {config.cluster.node_type}", count, "node", catalog().nodes[config.cluster.node_type].hour)
    yield Line("cluster", "Disks of nodes", count * NODE_DISK, "GB", prices.disk_gb)


def _database(config: StageConfig) -> Iterator[Line]:
    prices, database = catalog().prices, config.database
    kind = catalog().databases[database.instance_class]
    copies = 1 + database.multi_az + database.replicas
    yield _hourly("database", f"PostgreSQL, {database.instance_class}, standby and replicas included", copies, "instance", kind.hour)
    yield Line("database", "Its storage", copies * database.storage_gib, "GB", prices.database_gb)
    backups = database.storage_gib * CHANGED_DAILY * database.backup_days
    yield Line("database", "Backups beyond the size of the database", backups, "GB", prices.database_backup_gb)
    if database.insights == "advanced":
        watched = 1 + database.replicas  # the standby serves nobody
        yield _hourly("database", "Database Insights, advanced", watched * kind.cpu, "vCPU", prices.database_insights_cpu_hour)
    if database.proxy:
        yield _hourly("database", "RDS Proxy", max(2, kind.cpu), "vCPU", prices.database_proxy_cpu_hour)


def _cache(config: StageConfig) -> Iterator[Line]:
    cache, copies = config.cache, config.cache.replicas + 1
    for name, chosen in (("Broker", cache.broker_class), ("Cache", cache.cache_class)):
        yield _hourly("cache", f"{name}, {chosen}", copies, "node", _cache_class(chosen).hour)
    snapshots = _cache_class(cache.broker_class).memory_gib * BROKER_FILLED * cache.snapshot_days
    yield Line("cache", "Snapshots of the broker", snapshots, "GB", catalog().prices.cache_backup_gb)


def _cache_class(name: str) -> InstanceClass:
    return catalog().caches[name]


def _rest(config: StageConfig, traffic: Traffic) -> Iterator[Line]:
    prices = catalog().prices
    yield Line("storage", "Objects", traffic.objects_gb, "GB", prices.object_gb)
    yield Line("registry", "Images", traffic.images_gb, "GB", prices.image_gb)
    yield Line("keys", "KMS keys", KEYS, "key", prices.key)
    yield Line("secrets", "Entries", SECRETS + config.database.proxy, "entry", prices.secret)
    yield Line("dns", "Hosted zone", 1, "zone", prices.zone)
    yield Line("alarms", "CloudWatch alarms", alarms(config), "alarm", prices.alarm)
    yield Line("alarms", "Logs taken in", traffic.logs_gb, "GB", prices.log_gb)
    kept = traffic.logs_gb * COMPRESSED * max(1, config.cluster.log_days / MONTH_DAYS)
    yield Line("alarms", "Logs kept", kept, "GB", prices.log_kept_gb)
