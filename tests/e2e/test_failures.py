"""Releases that do not work take no traffic, and the next one that does replaces them."""

import signal
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.e2e import load
from tests.e2e.cluster import CommandError, Object, eventually, name
from tests.e2e.environment import Environment
from tests.e2e.load import Load
from tests.e2e.people import people
from tests.e2e.release import Release, Values, image, merge
from tests.reliability.actors import Record

RATE = 20
#: Long enough for a release that works to become ready, short enough to wait for one that does not.
SHORT = ("--timeout", "50s")
BEGUN_SECONDS = 60

#: What makes a release fail, and how it shows.
BROKEN = {
    "an image that does not exist": {"image": {"tag": "no-such-tag"}},
    "an image that does not start": {"api": {"pods": {"extraEnv": [{"name": "DATABASE_POOL_TIMEOUT", "value": "no number"}]}}},
}


@asynccontextmanager
async def _served(release: Release, record: Record, figures: dict[str, Any]) -> AsyncGenerator[None]:
    """Load the release for the length of the block, and let no request fail."""
    traffic = Load(release.url, await people(release, record, 4), record, RATE, phase="all")
    async with traffic.running():
        await traffic.until(RATE)
        yield
        await traffic.until(len(traffic.samples) + RATE)
    figures |= load.figures(traffic.samples)
    assert load.failures(traffic.samples) == []


async def _uids(release: Release) -> set[str]:
    return {pod["metadata"]["uid"] for pod in await release.pods("api")}


@pytest.mark.parametrize("what", BROKEN)
async def test_a_release_that_does_not_start_takes_no_traffic(what: str, release: Release, record: Record, figures: dict[str, Any]) -> None:
    before = await _uids(release)
    async with _served(release, record, figures):
        with pytest.raises(CommandError):
            await release.upgrade(BROKEN[what], *SHORT)
        assert await release.status() == "failed"
        ready = (await release.ready("api"))["api"]
        assert {pod["metadata"]["uid"] for pod in await release.pods("api") if name(pod) in ready} == before
        began = time.monotonic()
        await release.rollback()
        figures["seconds of the rollback"] = round(time.monotonic() - began, 1)
        assert await _uids(release) == before


async def _interrupt(release: Release, values: Values) -> None:
    """Begin an upgrade, and kill helm as soon as a pod of it is there."""
    before = await _uids(release)

    async def begun() -> bool:
        return bool(await _uids(release) - before)

    helm = await release.start_upgrade(values)
    await eventually(begun, BEGUN_SECONDS, 0.2)
    helm.send_signal(signal.SIGKILL)
    await helm.communicate()
    assert await release.status() == "pending-upgrade"
    with pytest.raises(CommandError, match="another operation"):
        await release.upgrade(values)


async def _images(release: Release) -> set[str]:
    return {container["image"] for pod in await release.pods("api") for container in pod["spec"]["containers"]}


async def test_an_upgrade_that_was_interrupted_is_rolled_back_and_run_again(
    environment: Environment, release: Release, record: Record, figures: dict[str, Any]
) -> None:
    async with _served(release, record, figures):
        await _interrupt(release, image(environment.image_next))
        await release.recover()
        assert await _images(release) == {environment.image}
        await release.upgrade(image(environment.image_next))
        assert await _images(release) == {environment.image_next}


@pytest.fixture
async def outside(release: Release) -> AsyncGenerator[Release]:
    """A second release, API alone, whose databases are not its own: its migration is a hook, as in production.

    They are the first release's servers, under another name, which a policy of the test opens to it.
    """
    values = _outside_values(release)
    url = release.url.replace(release.values["ingress"]["hosts"][0], values["ingress"]["hosts"][0])
    found = Release(release.cluster, f"outside-{release.name}", values, url)
    await release.sql("CREATE DATABASE outside OWNER owner")
    await release.sql(
        "SET ROLE owner; GRANT USAGE ON SCHEMA public TO app;"
        "ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO app;"
        "ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT USAGE, SELECT, UPDATE ON SEQUENCES TO app",
        "outside",
    )
    await release.cluster.apply(_opening(release, found))
    yield found
    await release.cluster.helm("uninstall", found.name, "--wait", "--timeout", "3m")
    await release.cluster.kubectl("delete", "networkpolicy", "outside", "--wait=false")
    await release.sql("DROP DATABASE outside WITH (FORCE)")


def _outside_values(release: Release) -> Values:
    servers = {"database": ("postgresql", 5432), "redis": ("valkey", 6379)}
    egress = {
        kind: [{"podLabels": {"app.kubernetes.io/component": component}, "ports": [port]}] for kind, (component, port) in servers.items()
    }
    password, at = release.database_password, release.object_name
    inline = {
        "DATABASE_URL": f"postgresql://app:{password}@{at('postgresql')}:5432/outside",
        "REDIS_URL": f"redis://:{password}@{at('valkey')}:6379/1",
    }
    return merge(
        release.values,
        {
            "api": {"resources": {"requests": {"cpu": "50m"}}},
            "postgresql": {"enabled": False},
            "valkey": {"enabled": False},
            "workerDefaults": {"enabled": False},
            "scheduler": {"enabled": False},
            "ingress": {"hosts": [f"outside-{release.values['ingress']['hosts'][0]}"]},
            "secrets": {
                "app": {"inline": inline},
                "migration": {"inline": {"MIGRATION_DATABASE_URL": f"postgresql://owner:{password}@{at('postgresql')}:5432/outside"}},
            },
            "networkPolicy": {"egress": egress},
            "migrate": {"backoffLimit": 0},
        },
    )


def _opening(owner: Release, guest: Release) -> Object:
    components = [{"key": "app.kubernetes.io/component", "operator": "In", "values": ["postgresql", "valkey"]}]
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "outside"},
        "spec": {
            "podSelector": {"matchLabels": {"app.kubernetes.io/instance": owner.name}, "matchExpressions": components},
            "policyTypes": ["Ingress"],
            "ingress": [{"from": [{"podSelector": {"matchLabels": {"app.kubernetes.io/instance": guest.name}}}]}],
        },
    }


async def test_an_upgrade_with_its_migration_as_a_hook_that_was_interrupted_is_rolled_back_and_run_again(
    environment: Environment, outside: Release, record: Record, figures: dict[str, Any]
) -> None:
    await outside.install()
    async with _served(outside, record, figures):
        await _interrupt(outside, image(environment.image_next))
        await outside.rollback()
        assert await _images(outside) == {environment.image}
        await outside.upgrade(image(environment.image_next))
        assert await _images(outside) == {environment.image_next}


async def test_a_migration_that_fails_stops_the_upgrade_with_the_former_release_serving(
    environment: Environment, outside: Release, record: Record, figures: dict[str, Any]
) -> None:
    began = time.monotonic()
    await outside.install()
    figures["seconds of helm install --wait"] = round(time.monotonic() - began, 1)
    before = await _uids(outside)
    wrong = {"MIGRATION_DATABASE_URL": "postgresql://owner:wrong@postgresql.invalid:5432/outside"}
    async with _served(outside, record, figures):
        began = time.monotonic()
        with pytest.raises(CommandError, match="pre-upgrade"):
            await outside.upgrade(merge(image(environment.image_next), {"secrets": {"migration": {"inline": wrong}}}))
        figures["seconds until the upgrade stopped"] = round(time.monotonic() - began, 1)
        assert await _uids(outside) == before
        await outside.upgrade(image(environment.image_next))
        assert not await _uids(outside) & before
