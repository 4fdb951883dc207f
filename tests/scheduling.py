"""Which worker runs which tests, and when."""

from typing import Any, override

import pytest
from xdist.scheduler import LoadScopeScheduling

#: What takes longest, so that no worker is left with it at the end.
SLOW = (
    "tests/unit/local/test_stack.py",
    "tests/reliability/",
    "tests/tasks/",
    "tests/charts/test_mutations.py",
    "tests/api/test_schemathesis.py",
    "tests/infra/test_faults_",
    "tests/infra/test_creation.py",
)


class Scheduling(LoadScopeScheduling):
    """Gives every file to one worker as a whole, in the order of the collection: what its tests share is made once."""

    def __init__(self, config: pytest.Config, log: Any = None) -> None:
        super().__init__(config, log)
        config.option.loadscopereorder = False

    @override
    def _split_scope(self, nodeid: str) -> str:
        return nodeid.partition("::")[0]


def put_slow_first(items: list[pytest.Item]) -> None:
    """Put the files of ``SLOW`` at the beginning, and leave the order of all others."""
    ranks = {item: next((rank for rank, start in enumerate(SLOW) if item.nodeid.startswith(start)), len(SLOW)) for item in items}
    items.sort(key=ranks.__getitem__)
