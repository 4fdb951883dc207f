"""The page of seeded faults is whole, and says a rate that is good enough."""

import pytest

from infra.config import InvalidConfig
from tests.infra.faults import page
from tests.infra.faults.model import Fault, Stale, put, register

LEAST_FAULTS = 40
LEAST_RATE = 0.9


def rows() -> list[str]:
    return [line for line in page.PAGE.read_text().splitlines() if line.startswith("| ") and not line.startswith("| Mistake")]


def test_every_mistake_is_on_the_page_once_and_nothing_else() -> None:
    says = [fault.says for fault in page.FAULTS]
    assert [line.split(" | ")[0].removeprefix("| ") for line in rows()] == says
    assert len(set(says)) == len(says) >= LEAST_FAULTS


def test_nine_of_ten_mistakes_are_caught_and_the_page_says_how_many() -> None:
    caught = [line for line in rows() if "| **nothing**" not in line]
    assert len(caught) / len(rows()) >= LEAST_RATE
    assert f"**{len(caught)} of {len(rows())} are caught: {len(caught) / len(rows()):.0%}.**" in page.PAGE.read_text()


def test_what_nothing_catches_says_what_would() -> None:
    for fault in page.FAULTS:
        line = next(line for line in rows() if line.startswith(f"| {fault.says} |"))
        assert ("**nothing**" in line) == bool(fault.would_be_caught_by)
        assert fault.would_be_caught_by in line


def test_a_mistake_in_what_is_not_there_any_more_is_told() -> None:
    with pytest.raises(Stale, match="renamed-since"):
        register(Fault("A resource.", stage="dev", edits={("s3.Bucket", "renamed-since"): put(force_destroy=True)}))


def test_a_mistake_in_the_configuration_is_refused_before_anything_is_registered() -> None:
    with pytest.raises(InvalidConfig):
        register(Fault("A zone.", config={"network.zones": []}))
