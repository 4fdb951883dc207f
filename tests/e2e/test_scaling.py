"""Autoscaling: out under load and in again, without a failed request."""

from typing import Any

import pytest

from tests.e2e import load
from tests.e2e.cluster import CommandError, eventually
from tests.e2e.load import Load
from tests.e2e.people import people
from tests.e2e.release import Release
from tests.reliability.actors import Record

FEWEST, MOST = 2, 4
BUSY_RATE, QUIET_RATE = 90, 4
OUT_SECONDS, IN_SECONDS = 240, 480
#: The target is low, and so is what is requested, so that one machine can make the load and carry it.
AUTOSCALING = {
    "api": {
        "resources": {"requests": {"cpu": "50m"}},
        "autoscaling": {
            "enabled": True,
            "minReplicas": FEWEST,
            "maxReplicas": MOST,
            "targetCPUUtilization": 60,
            "scaleDownStabilizationSeconds": 15,
        },
    }
}


async def _until_pods(release: Release, count: int, seconds: float) -> float:
    """Wait until so many API pods are ready and no other is there; return the seconds it took."""

    async def reached() -> bool:
        return len(await release.pods("api")) == count == len((await release.ready("api")).get("api", []))

    return await eventually(reached, seconds, 2)


async def test_the_api_scales_out_under_load_and_in_again_without_a_failed_request(
    release: Release, record: Record, figures: dict[str, Any]
) -> None:
    try:
        await release.cluster.kubectl("top", "pods")
    except CommandError:
        pytest.skip("this cluster measures no pods: metrics-server would let the autoscaler work")
    await release.upgrade(AUTOSCALING)
    await _until_pods(release, FEWEST, IN_SECONDS)
    traffic = Load(release.url, await people(release, record, 10), record, BUSY_RATE, phase="out")
    async with traffic.running():
        figures["seconds until scaled out"] = round(await _until_pods(release, MOST, OUT_SECONDS))
        traffic.phase, traffic.rate = "in", QUIET_RATE
        figures["seconds until scaled in"] = round(await _until_pods(release, FEWEST, IN_SECONDS))
    figures |= load.figures(traffic.samples) | {"pods": f"{FEWEST} to {MOST}"}
    assert load.failures(traffic.samples) == []
