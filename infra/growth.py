"""The capacity model: what a number of users asks of the platform, and how many stacks ("cells") carry it.

Everything is computed from assumptions about users and from costs that were measured. A cell is this program's whole stack with the
users of its own: a user and everything that is theirs live in one cell, so cells share nothing and fail alone.
"""

from dataclasses import dataclass
from math import ceil, floor
from typing import Final

from infra import capacity, costs
from infra.catalog import InstanceClass, catalog
from infra.config import ZONES, StageConfig

DAY: Final = 86_400
GIB: Final = 2**30
MICROSECOND: Final = 1e-6


@dataclass(frozen=True, slots=True)
class Request:
    """A kind of request: its share, and processor time in microseconds of one request, measured."""

    share: float
    server: int
    """In the API's process."""
    database: int
    """In PostgreSQL's."""


REQUESTS: Final = {
    "read an item": Request(share=0.7, server=110, database=40),
    "list 50 items": Request(share=0.2, server=360, database=170),
    "change an item": Request(share=0.1, server=170, database=150),
}


@dataclass(frozen=True, slots=True)
class Assumptions:
    """What is assumed of users, and of what a part can carry. Replace by your own as soon as there are metrics."""

    active_daily: float = 0.3
    """Share of users who come on a day."""
    requests_daily: int = 100
    """Requests of one who comes."""
    peak: float = 4
    """The busiest minute over the day's average."""
    online: float = 0.05
    """Share of the day's users who have a live socket open in the busiest minute."""
    items: int = 200
    """Items of a user."""
    item_bytes: int = 2500
    """An item with its six indexes, and the room that vacuum leaves."""
    user_bytes: int = 3000
    """A user with sessions, keys and the traces of their tasks."""
    hot: float = 0.1
    """Share of an active user's data that is read on a day: what PostgreSQL should keep in memory."""
    change_bytes: int = 8000
    """Write-ahead log of a change, with its outbox row and its part of full pages."""
    tasks: float = 0.2
    """Tasks of Celery that a change leads to."""
    task_server: int = 5000
    """Processor time of a task, in microseconds. Assumed, not measured."""
    event_bytes: int = 600
    """A live event in Valkey."""
    event_days: float = 1
    """How long they are kept."""
    broker_commands: int = 6
    """Commands to the broker for a live event or a task, from its publication to its end."""
    sockets_per_pod: int = 5000
    """20 kB each within what a pod asks for. `WEBSOCKET_MAX_CONNECTIONS` allows twice as many."""
    busy: float = 0.65
    """How busy pods are when another is started: the chart's target."""
    database_busy: float = 0.5
    """How busy PostgreSQL may be in the busiest minute: vacuum, backups and a failover want the rest."""
    database_cached: float = 0.7
    """Share of an instance's memory that holds data."""
    answer_bytes: int = 5000
    """An answer on average, compressed: what leaves AWS."""
    log_bytes: int = 200
    """Logs that a request leaves in CloudWatch, flow logs included."""
    requests_per_connection: int = 10
    """Requests of a client over one connection to the load balancer."""


ASSUMED: Final = Assumptions()


@dataclass(frozen=True, slots=True)
class Limits:
    """What one PostgreSQL and one broker are not asked to go beyond: limits of operations rather than of the software."""

    database_class: str = "db.r7g.8xlarge"
    """The largest that the catalog has. Larger ones exist, and would only put off what has to be done."""
    storage_gib: int = 8192
    """To make an index, to vacuum and to restore are then hours, not days. RDS itself ends at 64 TiB."""
    changes: int = 5000
    """Commits a second: one process writes the log, and replicas replay it with one."""
    broker_commands: int = 50_000
    """A second: half of what one thread of Valkey does."""
    pods: int = 500
    """API pods of one cluster's release: each is a target of the load balancer, which takes 1,000, and a rollout has a quarter more."""


LIMITS: Final = Limits()


@dataclass(frozen=True, slots=True)
class Load:
    """What users ask in the busiest minute, and what they leave."""

    requests: float
    """A second."""
    changes: float
    """A second."""
    sockets: float
    server_cpu: float
    """Processors of the API."""
    database_cpu: float
    """Processors of PostgreSQL."""
    worker_cpu: float
    storage_gib: float
    memory_gib: float
    """What PostgreSQL should have in memory."""
    log_mb: float
    """Write-ahead log, MB a second."""
    broker_commands: float
    """A second."""
    broker_gib: float
    """Live events that are kept."""


def load(users: float, assumed: Assumptions = ASSUMED) -> Load:
    """Return the load of a number of registered users. It is proportional to them."""
    active = users * assumed.active_daily
    requests = active * assumed.requests_daily / DAY * assumed.peak
    changes = requests * REQUESTS["change an item"].share
    events_daily = active * assumed.requests_daily * REQUESTS["change an item"].share
    kept = assumed.items * assumed.item_bytes
    return Load(
        requests=requests,
        changes=changes,
        sockets=active * assumed.online,
        server_cpu=requests * sum(kind.share * kind.server for kind in REQUESTS.values()) * MICROSECOND,
        database_cpu=requests * sum(kind.share * kind.database for kind in REQUESTS.values()) * MICROSECOND,
        worker_cpu=changes * assumed.tasks * assumed.task_server * MICROSECOND,
        storage_gib=users * (kept + assumed.user_bytes) / GIB,
        memory_gib=active * kept * assumed.hot / GIB,
        log_mb=changes * assumed.change_bytes / 1e6,
        broker_commands=changes * (1 + assumed.tasks) * assumed.broker_commands,
        broker_gib=events_daily * assumed.event_days * assumed.event_bytes / GIB,
    )


@dataclass(frozen=True, slots=True)
class Cell:
    """What one cell needs for its share of the users."""

    load: Load
    api_pods: int
    """In the busiest minute, before a rollout's surge."""
    worker_pods: int
    nodes: int
    """Of the class `NODE`."""
    connections: int
    """That pods may open, a rollout's surge included."""
    database_class: str
    database_connections: int
    """What the class allows."""
    proxy: bool
    """Whether RDS Proxy must stand between."""
    read_replicas: int
    """Wanted so that reads still come from memory and processors when a zone is lost; 0 if the standby is enough."""
    broker_class: str
    cluster_addresses: int
    """Addresses that pods and nodes take in a zone, with another one lost."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How many cells carry a number of users, what decides it, and what is in each."""

    users: int
    total: Load
    cells: int
    needs: dict[str, int]
    """Cells that each limit alone asks for."""
    cell: Cell


#: Nodes that Karpenter is counted to start: what the prices of the catalog are best for.
NODE: Final = "m7i.2xlarge"
#: Read replicas are worth it from this share of PostgreSQL's allowed processor time.
REPLICA_FROM: Final = 0.5
#: What is allocated for a GiB of data: log, temporary files, growth until the next look.
STORAGE_ROOM: Final = 1.3
#: Open and new connections (a second) of one LCU.
LCU_OPEN: Final = 3000
LCU_NEW: Final = 25
#: Bytes that cross zones for a byte to a client: from the load balancer to a pod, and from the database, two times in three.
ZONE_CROSSINGS: Final = 4 / 3


def plan(users: int, assumed: Assumptions = ASSUMED, limits: Limits = LIMITS) -> Plan:
    """Return what carries a number of users.

    Args:
        users: Registered users.
        assumed: What is assumed of them.
        limits: What one cell is not asked to go beyond.
    """
    whole = load(users, assumed)
    needs = {name: max(1, ceil(users / most)) for name, most in thresholds(assumed, limits).items()}
    cells = max(needs.values())
    if cells > 1:
        cells = ceil(cells / ZONES) * ZONES  # as many at home in each zone
    return Plan(users, whole, cells, needs, _cell(load(users / cells, assumed), assumed))


def thresholds(assumed: Assumptions = ASSUMED, limits: Limits = LIMITS) -> dict[str, int]:
    """Return how many users one cell carries, by each limit: what comes first must be changed first."""
    one, kind = load(1, assumed), catalog().databases[limits.database_class]
    most = {
        "PostgreSQL: storage": limits.storage_gib / one.storage_gib,
        "PostgreSQL: memory for what is read daily": kind.memory_gib * assumed.database_cached / one.memory_gib,
        "PostgreSQL: commits a second": limits.changes / one.changes,
        "PostgreSQL: processors": kind.cpu * assumed.database_busy / one.database_cpu,
        "broker: commands a second": limits.broker_commands / one.broker_commands,
        "broker: memory for live events": _largest_cache().memory_gib * assumed.database_busy / one.broker_gib,
        "API: pods behind one load balancer": limits.pods / _api_pods_exact(one, assumed),
    }
    return {name: floor(count) for name, count in most.items()}


def carries(config: StageConfig, assumed: Assumptions = ASSUMED) -> dict[str, int]:
    """Return how many users a stage carries as it is configured, by each of its parts."""
    one, database = load(1, assumed), config.database
    kind = catalog().databases[database.instance_class]
    worker_pod = capacity.WORKER_REQUEST[0] / 1000 * assumed.busy
    offered = capacity.max_connections(database) - capacity.RESERVED_CONNECTIONS
    api_connections = _api_pods_exact(one, assumed) * (1 + capacity.SURGE) * capacity.API_CONNECTIONS
    most = {
        "service.apiMax": config.service.api_max / _api_pods_exact(one, assumed),
        "service.mainMax": config.service.main_max * worker_pod / one.worker_cpu,
        "database.instanceClass: connections": offered / (api_connections + one.worker_cpu / worker_pod * capacity.MAIN_CONNECTIONS),
        "database.maxStorageGib": database.max_storage_gib / one.storage_gib,
        "database.instanceClass: memory": kind.memory_gib * assumed.database_cached / one.memory_gib,
        "database.instanceClass: processors": kind.cpu * assumed.database_busy / one.database_cpu,
        "cache.brokerClass": catalog().caches[config.cache.broker_class].memory_gib * assumed.database_busy / one.broker_gib,
    }
    return {name: floor(count) for name, count in most.items()}


def price(found: Plan, prod: StageConfig, assumed: Assumptions = ASSUMED) -> float:
    """Return US dollars a month for a plan: its cells, each estimated like a stage.

    Args:
        found: The plan.
        prod: The configuration that each cell starts from.
        assumed: What the plan assumed.
    """
    cell, users = found.cell, found.users / found.cells
    api_min = max(ZONES, ceil(cell.api_pods / assumed.peak))
    changes = {
        "cluster": {"node_type": NODE},
        "database": {
            "instance_class": cell.database_class,
            "storage_gib": ceil(cell.load.storage_gib * STORAGE_ROOM),
            "replicas": cell.read_replicas,
            "proxy": cell.proxy,
        },
        "cache": {"broker_class": cell.broker_class},
        "service": {"api_min": api_min, "api_max": max(api_min, cell.api_pods), "main_max": cell.worker_pods},
    }
    config = prod.model_copy(update={part: getattr(prod, part).model_copy(update=fields) for part, fields in changes.items()})
    return found.cells * costs.total(costs.estimate(config, _traffic(users, assumed)))


def _traffic(users: float, assumed: Assumptions) -> costs.Traffic:
    """Return the traffic of a month; what does not hang on users is production's."""
    base, daily = costs.TRAFFIC["prod"], users * assumed.active_daily * assumed.requests_daily
    out = daily * costs.MONTH_DAYS * assumed.answer_bytes / 1e9
    connections = daily / DAY / assumed.requests_per_connection
    units = max(out / costs.HOURS, users * assumed.active_daily * assumed.online / LCU_OPEN, connections / LCU_NEW)
    return costs.Traffic(
        out_gb=ceil(out),
        nat_gb=base.nat_gb,
        zones_gb=ceil(out * ZONE_CROSSINGS),
        logs_gb=ceil(daily * costs.MONTH_DAYS * assumed.log_bytes / 1e9),
        objects_gb=base.objects_gb,
        images_gb=base.images_gb,
        balancer_units=units,
    )


def _api_pods_exact(asked: Load, assumed: Assumptions) -> float:
    """Return the API pods of a load, not rounded: the more of what processors and what sockets ask for."""
    by_cpu = asked.server_cpu / (capacity.API_REQUEST[0] / 1000 * assumed.busy)
    return max(by_cpu, asked.sockets / assumed.sockets_per_pod)


def _cell(asked: Load, assumed: Assumptions) -> Cell:
    api = max(ZONES, ceil(_api_pods_exact(asked, assumed)))
    workers = max(2, ceil(asked.worker_cpu / (capacity.WORKER_REQUEST[0] / 1000 * assumed.busy)))
    surge = ceil(api * capacity.SURGE)
    wanted = (api + surge) * capacity.API_CONNECTIONS + (workers + 1) * capacity.MAIN_CONNECTIONS + 2 * capacity.BULK_CONNECTIONS
    name, kind = _database_class(asked, assumed)
    offered = min(capacity.MOST_CONNECTIONS, int(kind.memory_gib * capacity.CONNECTIONS_PER_GIB)) - capacity.RESERVED_CONNECTIONS
    nodes = _nodes(api + surge, workers + 4)
    used = asked.database_cpu / (kind.cpu * assumed.database_busy)
    return Cell(
        load=asked,
        api_pods=api,
        worker_pods=workers,
        nodes=nodes,
        connections=wanted,
        database_class=name,
        database_connections=offered,
        proxy=wanted > offered,
        read_replicas=1 if used > REPLICA_FROM else 0,
        broker_class=_broker_class(asked, assumed),
        cluster_addresses=_addresses(nodes, api + surge + workers + 4),
    )


def _nodes(api: int, workers: int) -> int:
    """Return the nodes of class `NODE` for so many pods, three at least."""
    kind = catalog().nodes[NODE]
    asks = zip(capacity.SYSTEM_REQUEST, capacity.API_REQUEST, capacity.WORKER_REQUEST, capacity.NODE_RESERVED, strict=True)
    has = (kind.cpu * 1000, kind.memory_gib * 1024)
    wanted = [
        (system + api * of_api + workers * of_worker) / (size - reserved)
        for size, (system, of_api, of_worker, reserved) in zip(has, asks, strict=True)
    ]
    return max(ZONES, ceil(max(wanted)))


def _addresses(nodes: int, pods: int) -> int:
    per_node = ceil((pods + capacity.SYSTEM_PODS + nodes * capacity.PODS_PER_NODE) / nodes)
    return ceil(nodes / (ZONES - 1)) * (1 + (ceil(per_node / capacity.PREFIX) + 1) * capacity.PREFIX)


def _database_class(asked: Load, assumed: Assumptions) -> tuple[str, InstanceClass]:
    """Return the smallest class that does not slow down and has the processors and the memory."""
    fitting = {
        name: kind
        for name, kind in catalog().databases.items()
        if not kind.burstable
        and kind.cpu * assumed.database_busy >= asked.database_cpu
        and kind.memory_gib * assumed.database_cached >= asked.memory_gib
    }
    name = min(fitting, key=lambda name: fitting[name].hour)
    return name, fitting[name]


def _broker_class(asked: Load, assumed: Assumptions) -> str:
    fitting = {
        name: kind
        for name, kind in catalog().caches.items()
        if not kind.burstable and kind.memory_gib * assumed.database_busy >= asked.broker_gib
    }
    return min(fitting, key=lambda name: fitting[name].hour)


def _largest_cache() -> InstanceClass:
    return max(catalog().caches.values(), key=lambda kind: kind.memory_gib)
