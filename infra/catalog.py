"""Facts of AWS: instance classes with their sizes, prices, and how long Kubernetes versions are supported."""

import tomllib
from datetime import date
from functools import cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict

FILE = Path(__file__).with_name("catalog.toml")


class InstanceClass(BaseModel):
    """What one instance of a class has, and what it costs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    cpu: int
    """Virtual processors."""
    memory_gib: float
    hour: float
    """US dollars an hour, on demand."""
    burstable: bool = False
    """Whether it slows down when its CPU credits are spent."""
    pods: int = 0
    """Pods at most; of nodes only."""


class Prices(BaseModel):
    """What is charged by the hour, the GB or the thing, in US dollars; what has no unit in its name is charged by the month."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    cluster_hour: float
    nat_hour: float
    nat_gb: float
    endpoint_hour: float
    """Of an interface endpoint in one zone."""
    balancer_hour: float
    balancer_unit_hour: float
    address_hour: float
    transfer_out_gb: float
    transfer_zone_gb: float
    disk_gb: float
    """A month, like every price of stored GB."""
    database_gb: float
    database_backup_gb: float
    database_insights_cpu_hour: float
    database_proxy_cpu_hour: float
    cache_backup_gb: float
    object_gb: float
    image_gb: float
    key: float
    secret: float
    log_gb: float
    """GB taken in."""
    log_kept_gb: float
    alarm: float
    zone: float


class Catalog(BaseModel):
    """The facts of ``catalog.toml``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    prices_of: date
    kubernetes: dict[str, date]
    """The last day of standard support, by version."""
    nodes: dict[str, InstanceClass]
    databases: dict[str, InstanceClass]
    caches: dict[str, InstanceClass]
    prices: Prices


@cache
def catalog() -> Catalog:
    """Return the facts, read once."""
    return Catalog.model_validate(tomllib.loads(FILE.read_text()))
