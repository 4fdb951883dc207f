"""A stage's configuration: frozen, typed, and refused as a whole, with every problem and its remedy, before anything is registered."""

from collections.abc import Mapping
from datetime import date
from ipaddress import IPv4Network
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, EmailStr, Field, TypeAdapter, ValidationError
from pydantic.alias_generators import to_camel

from infra import rules

ZONES: Final = 3

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{1,30}$")]
Version = Annotated[int, Field(ge=1, le=999)]
RoleArn = Annotated[str, Field(pattern=r"^arn:aws:iam::\d{12}:role/[\w+=,.@/-]+$")]
Days = Annotated[int, Field(ge=1, le=3653)]
LogDays = Literal[1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653]
"""What CloudWatch Logs takes."""
HostName = Annotated[str, Field(pattern=r"^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,}$")]


class InvalidConfig(Exception):  # noqa: N818  # read as a statement about the configuration
    """The configuration cannot be used.

    Args:
        stage: The stage's name, as far as it is known.
        problems: One sentence each: the field, what is wrong, what to do.
    """

    def __init__(self, stage: str, problems: list[str]) -> None:
        self.problems = problems
        noun = "problem" if len(problems) == 1 else "problems"
        lines = "\n".join(f"  - {problem}" for problem in problems)
        super().__init__(f"The configuration of {stage} has {len(problems)} {noun}; nothing was changed:\n{lines}")


class Part(BaseModel):
    """A part of the configuration: written in camel case, unknown fields refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True)


class NetworkConfig(Part):
    """The VPC."""

    cidr: IPv4Network
    """Addresses of the VPC, /16 to /18: three quarters go to pods."""
    reserved_cidrs: tuple[IPv4Network, ...] = ()
    """Networks that are or will be reached from here (offices, other stages): the VPC must not overlap them."""
    zones: tuple[str, ...]
    """Three availability zones of the region, so that one may be lost."""
    nat: Literal["single", "per-zone"] = "per-zone"
    """One NAT gateway for all zones is a third of the price, and takes egress with its zone."""
    flow_log_days: LogDays = 90
    """Days that records of who spoke to whom are kept: an intrusion is often found weeks later."""

    @property
    def public(self) -> tuple[IPv4Network, ...]:
        """Subnets of load balancers and NAT gateways, one a zone."""
        return tuple(list(self._last_quarter.subnets(new_prefix=self.cidr.prefixlen + 6))[:ZONES])

    @property
    def private(self) -> tuple[IPv4Network, ...]:
        """Subnets of nodes and pods, one a zone: each a quarter of the VPC."""
        return tuple(list(self.cidr.subnets(prefixlen_diff=2))[:ZONES])

    @property
    def data(self) -> tuple[IPv4Network, ...]:
        """Subnets of databases and caches, one a zone, without a way to the internet."""
        return tuple(list(self._last_quarter.subnets(new_prefix=self.cidr.prefixlen + 8))[-ZONES:])

    @property
    def _last_quarter(self) -> IPv4Network:
        return list(self.cidr.subnets(prefixlen_diff=2))[-1]


class ClusterConfig(Part):
    """EKS: the control plane, who may speak to it, and its system nodes."""

    version: str
    """Minor version of Kubernetes, such as `1.35`; one whose standard support has ended is refused."""
    service_cidr: IPv4Network = IPv4Network("172.20.0.0/16")
    """Addresses of Kubernetes Services; never routed, fixed at creation."""
    public_cidrs: tuple[IPv4Network, ...] = ()
    """Networks that may reach the API server over the internet; none: it is private."""
    administrators: tuple[RoleArn, ...]
    """IAM roles of people who administer the cluster."""
    viewers: tuple[RoleArn, ...] = ()
    """IAM roles of people who may read everything but secrets."""
    node_type: str = "m7i.large"
    """Class of system nodes, which carry what must run before Karpenter does, of those in infra/catalog.toml."""
    node_min: Annotated[int, Field(ge=1, le=50)] = 3
    """System nodes at least, and when the group is made: one a zone."""
    node_max: Annotated[int, Field(ge=1, le=50)] = 6
    """System nodes at most: room for people in an incident, and for an upgrade beside the old ones."""
    log_days: LogDays = 90
    """Days that the control plane's logs are kept, the audit log among them: an intrusion is often found weeks later."""


class DatabaseConfig(Part):
    """RDS for PostgreSQL 16."""

    engine_version: Annotated[str, Field(pattern=r"^16\.\d{1,2}$")]
    """Minor version of PostgreSQL, such as `16.10`; RDS never raises it by itself."""
    instance_class: str
    """Processors and memory, of the classes in infra/catalog.toml; connections follow from the memory."""
    storage_gib: Annotated[int, Field(ge=20, le=65536)]
    """GiB at first; it can grow and never shrinks."""
    max_storage_gib: Annotated[int, Field(ge=20, le=65536)]
    """GiB that storage grows to by itself; a tenth above `storageGib` at least."""
    multi_az: bool = True
    """A standby in another zone takes over in a minute or two, at twice the price; prod must have it."""
    replicas: Annotated[int, Field(ge=0, le=5)] = 0
    """Read replicas, each at the price of the instance; none, for the service does not read from them."""
    proxy: bool = False
    """RDS Proxy in front, for more clients than the class has connections; off, for the chart counts connections."""
    backup_days: Annotated[int, Field(ge=1, le=35)] = 14
    """Days that any second can be restored of; some mistakes are found late, and prod must have 14."""
    backup_window: Annotated[str, Field(pattern=r"^\d\d:\d\d-\d\d:\d\d$")] = "02:00-03:00"
    """When the daily backup is taken (UTC): at night in Europe and America."""
    maintenance_window: Annotated[str, Field(pattern=r"^[a-z]{3}:\d\d:\d\d-[a-z]{3}:\d\d:\d\d$")] = "sun:03:30-sun:04:30"
    """When changes that interrupt are made in prod (UTC): after the backup, on the quietest day; the caches' follows it."""
    insights: Literal["standard", "advanced"] = "standard"
    """Database Insights: 7 days free of charge, or 15 months with execution plans and lock trees."""
    log_days: LogDays = 90
    """Days that PostgreSQL's logs are kept."""


class CacheConfig(Part):
    """ElastiCache for Valkey."""

    engine_version: Literal["8.0", "8.1"] = "8.1"
    """Version of Valkey; the newest that ElastiCache offered and the tests knew. There is no way back."""
    broker_class: str
    """Memory and processors of each node of the broker, of the classes in infra/catalog.toml."""
    cache_class: str
    """The same for the cache, which evicts when it is full."""
    replicas: Annotated[int, Field(ge=0, le=5)] = 1
    """Replicas of each group: one fails over by itself, none is an empty group after a lost node."""
    snapshot_days: Annotated[int, Field(ge=0, le=35)] = 7
    """Days that daily snapshots of the broker are kept; 0 makes none. It holds no truth, so a week is enough."""


class StorageConfig(Part):
    """S3: what clients upload, and who did what there."""

    origins: tuple[Annotated[str, Field(pattern=r"^https://[a-z0-9.-]+(:\d+)?$")], ...]
    """Web origins that upload with presigned forms."""
    report_days: Days = 90
    """Days that finished imports and their reports are kept."""
    log_days: Days = 365
    """Days that access logs are kept: a leak is often found months later."""


class DnsConfig(Part):
    """Route 53 and the certificate."""

    zone: HostName
    """The hosted zone that the stage makes, such as `prod.example.com`."""
    host: HostName
    """Where clients reach the API, in the zone."""


class AlarmsConfig(Part):
    """Who is told, and of which costs."""

    emails: Annotated[tuple[EmailStr, ...], Field(min_length=1)]
    """Who gets every alarm and warning of costs; each has to confirm a mail of AWS once."""
    monthly_budget_usd: Annotated[int, Field(ge=1)]
    """US dollars a month; mail comes at 80 % spent, and when a forecast is above it."""


class GithubConfig(Part):
    """The repository whose workflows may deploy. Ids cannot be taken over by somebody who registers a former name."""

    owner: str
    """The user or organization, as it is written in the repository's address."""
    owner_id: Annotated[int, Field(ge=1)]
    """The owner's number: `gh api users/<owner> --jq .id`."""
    repository: str
    """The repository's name, without its owner."""
    repository_id: Annotated[int, Field(ge=1)]
    """The repository's number: `gh api repos/<owner>/<repository> --jq .id`."""


class ServiceConfig(Part):
    """The release of the chart."""

    namespace: Name = "platform"
    """Namespace of the release; roles are bound to it."""
    release: Name = "platform"
    """Name of the release; its ServiceAccounts, which roles are bound to, start with it."""
    environment: Literal["staging", "production"]
    """What the service takes itself for: `dev` on AWS is as closed as `staging`."""
    api_min: Annotated[int, Field(ge=1, le=2000)]
    """Pods of the API at least; two or more, for a node is drained now and then."""
    api_max: Annotated[int, Field(ge=1, le=2000)]
    """Pods of the API at most; connections and addresses must suffice for them, and for a quarter more in a rollout."""
    main_max: Annotated[int, Field(ge=1, le=200)]
    """Pods at most of the worker `main`."""
    bulk: Annotated[int, Field(ge=1, le=200)]
    """Pods of the worker `bulk`."""
    origins: tuple[Annotated[str, Field(pattern=r"^https://[a-z0-9.-]+(:\d+)?$")], ...]
    """CORS origins of the API."""
    smtp_host: HostName
    """Server that mail is handed to, over TLS."""
    smtp_user: str = ""
    """Its password is the secret `smtpPassword` of the stack's configuration."""
    email_from: str
    """Sender of the service's mail, such as `FastAPI Platform <no-reply@example.com>`."""


class SecretsConfig(Part):
    """Versions of what is generated; a new number makes a new value. How to rotate: docs/runbooks/rotate-keys.md."""

    signing_keys: Annotated[tuple[Version, ...], Field(min_length=1, max_length=3)] = (1,)
    """The last signs; those before it still verify."""
    app_password: Version = 1
    """Of the role of PostgreSQL that the service works with."""
    owner_password: Version = 1
    """Of the role of PostgreSQL that owns the schema; migrations use it."""
    administrator_password: Version = 1
    """Of PostgreSQL's administrator, where there are replicas; otherwise RDS manages it, and this says nothing."""
    cache_passwords: Version = 1
    """Of broker and cache; the one before stays valid until the next."""


class StageConfig(Part):
    """Everything about one stage."""

    stage: Literal["dev", "staging", "prod"]
    """The stack's name; `prod` holds customers' data and has more rules."""
    account: Annotated[str, Field(pattern=r"^\d{12}$")]
    """The AWS account; credentials of another are refused."""
    region: Annotated[str, Field(pattern=r"^[a-z]{2}(-[a-z]+)+-\d$")]
    """The AWS region, such as `us-east-1`; prices are those of us-east-1."""
    owner: Name
    """Who answers for it; a tag on everything."""
    network: NetworkConfig
    cluster: ClusterConfig
    database: DatabaseConfig
    cache: CacheConfig
    storage: StorageConfig
    dns: DnsConfig
    alarms: AlarmsConfig
    github: GithubConfig
    service: ServiceConfig
    secrets: SecretsConfig = SecretsConfig()

    @property
    def is_production(self) -> bool:
        """Whether losing it would hurt customers."""
        return self.stage == "prod"


def load(raw: Mapping[str, Any], today: date) -> StageConfig:
    """Return the configuration of a stage.

    Args:
        raw: The object ``stage`` of ``Pulumi.<stage>.yaml``.
        today: The day to hold ends of support against.

    Raises:
        InvalidConfig: with every problem, if there is one.
    """
    stage = str(raw.get("stage", "this stage"))
    try:
        config = StageConfig.model_validate(raw, by_alias=True, by_name=False)
    except ValidationError as error:
        found = [_sentence(fault) for fault in error.errors(include_url=False)]
        raise InvalidConfig(stage, found + rules.problems(_valid_parts(raw, error), today)) from None
    problems = rules.problems(config, today)
    if problems:
        raise InvalidConfig(stage, problems)
    return config


def _valid_parts(raw: Mapping[str, Any], error: ValidationError) -> StageConfig:
    """Return the configuration without the parts that are wrong, so that what is wrong between the others is told as well."""
    wrong = {str(fault["loc"][0]) for fault in error.errors(include_url=False)}
    fields = {name: field for name, field in StageConfig.model_fields.items() if name in raw and name not in wrong}
    parts = {name: TypeAdapter[Any](field.rebuild_annotation()).validate_python(raw[name]) for name, field in fields.items()}
    return StageConfig.model_construct(set(parts), **parts)


def _sentence(fault: Any) -> str:
    place = ".".join(str(part) for part in fault["loc"])
    if fault["type"] == "missing":
        return f"{place} is missing; docs/reference/infrastructure.md says what it is."
    if fault["type"] == "extra_forbidden":
        return f"{place} is not known; remove it or mend its spelling."
    return f"{place} is {fault['input']!r}: {fault['msg'][0].lower()}{fault['msg'][1:]}."
