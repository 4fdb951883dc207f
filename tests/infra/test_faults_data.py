"""Mistakes of `tests/infra/faults/data.py` are caught, by what the page of seeded faults says."""

import pytest

from tests.infra.faults import data, page
from tests.infra.faults.checks import run
from tests.infra.faults.model import Fault


@pytest.mark.parametrize("fault", data.FAULTS, ids=lambda fault: fault.says)
def test_a_mistake_is_caught_by_what_the_page_says(fault: Fault, moto_endpoint: str) -> None:
    result = run(fault, moto_endpoint)
    assert bool(result.catches) is not bool(fault.would_be_caught_by), result.catches
    assert page.row(result) in page.PAGE.read_text().splitlines(), "run: python -m tests.infra.faults"
