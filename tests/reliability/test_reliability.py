"""The short version of ``make reliability``."""

from pathlib import Path

import pytest

from tests.reliability.chaos import run

KILLS = 8


@pytest.mark.timeout(240)
async def test_nothing_acknowledged_is_lost_or_done_twice_when_processes_are_killed(tmp_path: Path) -> None:
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o711)  # PostgreSQL's account must be able to enter
    verdict = await run(tmp_path / "stack", KILLS, seed=1, say=lambda _count, _part: None)
    assert verdict.faults == []
    assert verdict.figures["items acknowledged"] > 0
    assert verdict.figures["imports acknowledged"] > 0
