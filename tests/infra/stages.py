"""The stages as they are in the repository, recorded once a run."""

import gc
from collections.abc import Callable
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml

from infra.config import StageConfig, load
from infra.plausible import World
from infra.program import deploy
from infra.registrations import Graph, record

INFRA: Final = Path(__file__).parents[2] / "infra"
STAGES: Final = ("dev", "staging", "prod")
SECTION: Final = "fastapi-platform:stage"
TODAY: Final = date(2026, 11, 25)
#: What people set with `pulumi config set --secret`.
SECRETS: Final = {
    "fastapi-platform:smtpPassword": "smtp-password-of-the-tests",
    "fastapi-platform:sentryDsn": "https://dsn-of-the-tests@example.com/1",
}


def raw(stage: str) -> dict[str, Any]:
    """Return what `Pulumi.<stage>.yaml` says."""
    return yaml.safe_load((INFRA / f"Pulumi.{stage}.yaml").read_text())["config"][SECTION]


def config(stage: str) -> StageConfig:
    """Return a stage's configuration."""
    return load(raw(stage), TODAY)


def run(stage: str, program: Callable[[], None]) -> Graph:
    """Record a program as that of a stage.

    Without looking for garbage meanwhile: nearly half of the time would go into walking through the SDK's thousands of tasks.
    """
    gc.disable()
    try:
        here = World(region=raw(stage)["region"], account=raw(stage)["account"])
        return record(program, stack=stage, config=SECRETS, secrets=tuple(SECRETS), world=here)
    finally:
        gc.enable()


@cache
def graph(stage: str) -> Graph:
    """Return what a stage registers."""
    return run(stage, lambda: deploy(config(stage)))
