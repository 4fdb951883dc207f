"""What a stage can carry: connections against the database's class, pods against nodes and subnets."""

from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING, Final

from infra.catalog import catalog

if TYPE_CHECKING:
    from infra.config import DatabaseConfig, ServiceConfig, StageConfig

#: RDS itself would allow 112 a GiB (`DBInstanceClassMemory/9531392`) of a memory that is a little less than the class's.
CONNECTIONS_PER_GIB: Final = 100
MOST_CONNECTIONS: Final = 5000
#: For people, monitoring and RDS itself.
RESERVED_CONNECTIONS: Final = 20

# What the chart's defaults open; the chart refuses to render what does not fit, with the same numbers.
API_CONNECTIONS: Final = 10
MAIN_CONNECTIONS: Final = 7 + 4 * 4
BULK_CONNECTIONS: Final = 7 + 4 * 2
SURGE: Final = 0.25

#: Millicores and MiB that the chart's pods ask for.
API_REQUEST: Final = (500, 256)
WORKER_REQUEST: Final = (250, 384)
#: Of each node, for the kubelet, the system and the pods that every node runs.
NODE_RESERVED: Final = (300, 1024)
#: Add-ons and controllers: CoreDNS, metrics-server, CSI, load balancer controller, External Secrets, external-dns, Karpenter.
SYSTEM_REQUEST: Final = (2000, 4096)
SYSTEM_PODS: Final = 16
#: Pods that every node runs on top: CNI, proxy, Pod Identity agent, CSI node, a collector of logs and metrics.
PODS_PER_NODE: Final = 6
PREFIX: Final = 16
"""Addresses that the VPC CNI takes at once (prefix delegation)."""
#: AWS keeps five addresses of every subnet.
RESERVED_ADDRESSES: Final = 5
ZONES: Final = 3


@dataclass(frozen=True, slots=True)
class Pods:
    """Most pods of the release at one time, those of a rollout included."""

    api: int
    main: int
    bulk: int
    others: int
    """Scheduler, migration and the two of `helm test`."""

    @property
    def total(self) -> int:
        """All of them."""
        return self.api + self.main + self.bulk + self.others


def pods(service: "ServiceConfig") -> Pods:
    """Return the most pods that a release may have."""
    return Pods(service.api_max + ceil(service.api_max * SURGE), service.main_max + 1, service.bulk + 1, others=4)


def connections(service: "ServiceConfig") -> int:
    """Return the connections that all pods may open to PostgreSQL."""
    most = pods(service)
    return most.api * API_CONNECTIONS + most.main * MAIN_CONNECTIONS + most.bulk * BULK_CONNECTIONS + 2


def max_connections(database: "DatabaseConfig") -> int:
    """Return what `max_connections` is set to for a class."""
    memory = catalog().databases[database.instance_class].memory_gib
    return min(MOST_CONNECTIONS, int(memory * CONNECTIONS_PER_GIB))


def nodes(config: "StageConfig") -> int:
    """Return the nodes that the most pods need, by processor, memory and number, of the system nodes' class."""
    kind = catalog().nodes[config.cluster.node_type]
    most = pods(config.service)
    workers = most.main + most.bulk + most.others
    cpu = SYSTEM_REQUEST[0] + most.api * API_REQUEST[0] + workers * WORKER_REQUEST[0]
    memory = SYSTEM_REQUEST[1] + most.api * API_REQUEST[1] + workers * WORKER_REQUEST[1]
    by_cpu = ceil(cpu / (kind.cpu * 1000 - NODE_RESERVED[0]))
    by_memory = ceil(memory / (kind.memory_gib * 1024 - NODE_RESERVED[1]))
    by_number = ceil((most.total + SYSTEM_PODS) / (kind.pods - PODS_PER_NODE))
    return max(by_cpu, by_memory, by_number, config.cluster.node_min)


def addresses_needed(config: "StageConfig") -> int:
    """Return the addresses that one zone must have where another is lost: half of everything."""
    count = ceil(nodes(config) / (ZONES - 1))
    total = pods(config.service).total + SYSTEM_PODS + nodes(config) * PODS_PER_NODE
    per_node = ceil(total / nodes(config))
    prefixes = ceil(per_node / PREFIX) + 1  # one is kept warm
    return count * (1 + prefixes * PREFIX)


def addresses(config: "StageConfig") -> int:
    """Return the addresses that one zone has for nodes and pods."""
    return min(subnet.num_addresses for subnet in config.network.private) - RESERVED_ADDRESSES
