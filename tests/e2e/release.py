"""The chart's release under test: its values, and what helm does with it."""

import json
from asyncio.subprocess import Process
from copy import deepcopy
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any, cast

import yaml

from tests.e2e.cluster import Cluster, Object, component, is_ready, name
from tests.e2e.environment import Environment
from tests.e2e.manifests import BUCKET, S3_PORT, S3_SECRET, SMTP_PORT

CHART = Path(__file__).parents[2] / "charts" / "fastapi-platform"
DEVELOPMENT = CHART / "ci" / "dev-values.yaml"
TIMEOUT = "10m"
#: Of an installation and an upgrade; the values come by standard input. What is named after these goes before them.
OPTIONS = (str(CHART), "--values", str(DEVELOPMENT), "--values", "-", "--wait", "--timeout", TIMEOUT)

type Values = dict[str, Any]


class Support(Enum):
    """Whether the service has S3 and SMTP."""

    NONE = "none"
    RUNNING = "running"


def merge(*layers: Values) -> Values:
    """Return values with later layers over earlier ones, as helm lays them."""
    merged: Values = {}
    for layer in layers:
        for key, value in layer.items():
            former = merged.get(key)
            if isinstance(value, dict) and isinstance(former, dict):
                merged[key] = merge(cast("Values", former), cast("Values", value))
            else:
                merged[key] = deepcopy(cast("object", value))
    return merged


def image(reference: str) -> Values:
    """Return the values of an image ``NAME:TAG``."""
    repository, _, tag = reference.rpartition(":")
    return {"image": {"repository": repository, "tag": tag}}


def base(environment: Environment, host: str) -> Values:
    """Return the values over those for development: two API pods behind the ingress, small, and ending in seconds."""
    peer = [{"podLabels": {"app": "support"}, "ports": [S3_PORT]}], [{"podLabels": {"app": "support"}, "ports": [SMTP_PORT]}]
    inside: Values = {
        "config": {
            "S3_ENDPOINT_URL": f"http://support:{S3_PORT}",
            "S3_BUCKET": BUCKET,
            "SMTP_HOST": "support",
            "SMTP_PORT": SMTP_PORT,
            "SMTP_TLS": "none",
        },
        "secrets": {"app": {"inline": {"S3_ACCESS_KEY_ID": "platform", "S3_SECRET_ACCESS_KEY": S3_SECRET}}},
        "networkPolicy": {"egress": {"s3": peer[0], "smtp": peer[1]}},
    }
    own: Values = {
        # Port forwards come from the pod's own loopback, and register people from many addresses, as they would come.
        "config": {"TRUSTED_PROXIES": "127.0.0.1", "ACCESS_TOKEN_EXPIRE_MINUTES": 240},
        "database": {"maxConnections": 200, "reservedConnections": 10},
        # Requests are shares of a busy CPU: what serves goes before what starts.
        "api": {"replicas": 2, "resources": {"requests": {"cpu": "250m"}}},
        "workerDefaults": {"gracePeriodSeconds": 30},
        "workers": {"main": {"concurrency": 2}},
        "ingress": {"enabled": True, "className": environment.ingress_class, "hosts": [host]},
        "networkPolicy": {
            "ingressController": {
                "namespaceLabels": {"kubernetes.io/metadata.name": environment.ingress_namespace},
                "podLabels": dict(environment.ingress_labels),
            }
        },
    }
    return merge(own, inside if environment.image_support else {})


@dataclass(slots=True)
class Release:
    """A release in a namespace.

    Attributes:
        cluster: Where.
        name: Its name, which names its objects too.
        values: What it is installed with, over the values for development.
        url: Where clients reach it.
        current: The values it has now.
        good: The last revision that became ready.
    """

    cluster: Cluster
    name: str
    values: Values
    url: str
    current: Values = field(default_factory=dict[str, Any])
    good: int = 0

    @property
    def database_password(self) -> str:
        """The password of the roles of its database: the chart's own."""
        password: str = yaml.safe_load((CHART / "values.yaml").read_text())["postgresql"]["password"]
        return password

    def object_name(self, part: str) -> str:
        """Return the name of a component's objects."""
        return f"{self.name}-{part}"

    async def install(self) -> None:
        """Install it and wait until it is ready."""
        await self._helm("install", self.values)

    async def upgrade(self, values: Values, *options: str) -> None:
        """Upgrade it to values over its own, and wait until that is ready.

        Raises:
            CommandError: if it does not become ready.
        """
        await self._helm("upgrade", merge(self.values, values), *options)

    async def start_upgrade(self, values: Values) -> Process:
        """Begin an upgrade and do not wait for it."""
        self.current = {}
        words = ("upgrade", self.name, *OPTIONS)
        return await self.cluster.start_helm(*words, stdin=json.dumps(merge(self.values, values)))

    async def rollback(self, *revision: str) -> None:
        """Go back to the former revision, or one that is named, and wait until that is ready."""
        self.current = {}
        await self.cluster.helm("rollback", self.name, *revision, "--wait", "--timeout", TIMEOUT)
        self.good = int((await self._status())["version"])

    async def recover(self, *revision: int) -> None:
        """Go back after an upgrade that did not come to its end.

        Helm puts back no object that exists and that the upgrade's own manifest does not have. Such is the Job of the former
        migration, which has another name for each content.
        """
        selector = f"app.kubernetes.io/instance={self.name},app.kubernetes.io/component=migrate"
        await self.cluster.kubectl("delete", "job", f"--selector={selector}")
        await self.rollback(*map(str, revision))

    async def reset(self) -> None:
        """Make it what it was installed as, whatever a test left behind."""
        if await self.status() != "deployed":
            await self.recover(self.good)
        if self.current != self.values:
            await self.upgrade({})

    async def status(self) -> str:
        """Return what helm says of it."""
        return str((await self._status())["info"]["status"])

    async def _status(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(await self.cluster.helm("status", self.name, "--output=json"))
        return found

    async def pods(self, *components: str) -> list[Object]:
        """Return its pods that nothing ends yet, of some components or all."""
        return await self.cluster.pods(self.name, *components)

    async def ready(self, *components: str) -> dict[str, list[str]]:
        """Return the names of its ready pods by component."""
        found: dict[str, list[str]] = {}
        for pod in await self.pods(*components):
            if is_ready(pod):
                found.setdefault(component(pod), []).append(name(pod))
        return found

    async def sql(self, statement: str, database: str = "platform") -> str:
        """Run SQL as PostgreSQL's superuser, in its own pod, and return what it printed."""
        pod = f"{self.object_name('postgresql')}-0"
        # By loopback: where its socket is, images do not agree on.
        psql = 'PGPASSWORD=$POSTGRES_PASSWORD exec psql --no-psqlrc -qtA --set=ON_ERROR_STOP=1 --host=127.0.0.1 --username=postgres "$@"'
        words = ("sh", "-c", psql, "psql", f"--dbname={database}")
        return (await self.cluster.kubectl("exec", "--stdin", pod, "--", *words, stdin=statement)).strip()

    async def database_revision(self) -> str:
        """Return the revision of its database."""
        return await self.sql("SELECT version_num FROM alembic_version")

    async def _helm(self, verb: str, values: Values, *options: str) -> None:
        self.current = {}
        await self.cluster.helm(verb, self.name, *OPTIONS, *options, stdin=json.dumps(values))
        self.current = values
        self.good = int((await self._status())["version"])
