"""From nothing to a release that passes its own tests."""

import time
from typing import Any

from tests.e2e.release import Release


async def test_a_release_installs_from_nothing_and_passes_its_own_tests(
    installed: tuple[Release, float], release: Release, figures: dict[str, Any]
) -> None:
    figures["seconds of helm install --wait"] = round(installed[1], 1)
    began = time.monotonic()
    await release.cluster.helm("test", release.name, "--timeout", "5m")
    figures["seconds of helm test"] = round(time.monotonic() - began, 1)
    pods = await release.ready()
    figures["ready pods"] = {component: len(names) for component, names in sorted(pods.items())}
    assert {"api", "postgresql", "scheduler", "valkey", "worker-bulk", "worker-main"} <= pods.keys()
    assert await release.status() == "deployed"
