"""The limit of open files."""

import resource

import pytest

from app.core.descriptors import allow_descriptors


@pytest.fixture
def limits(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The soft and the hard limit, which nobody else's process has."""
    held = [256, 4096]

    def set_limits(_which: int, values: tuple[int, int]) -> None:
        held[:] = values

    def get_limits(_which: int) -> tuple[int, int]:
        return held[0], held[1]

    monkeypatch.setattr(resource, "getrlimit", get_limits)
    monkeypatch.setattr(resource, "setrlimit", set_limits)
    return held


def test_the_limit_is_raised_to_what_may_be_needed(limits: list[int]) -> None:
    allow_descriptors(2000)
    assert limits == [2000, 4096]


def test_the_limit_is_never_lowered(limits: list[int]) -> None:
    allow_descriptors(10)
    assert limits == [256, 4096]


def test_a_system_that_does_not_let_it_is_named_with_the_remedy(limits: list[int], caplog: pytest.LogCaptureFixture) -> None:
    allow_descriptors(10_000)
    assert limits == [4096, 4096]
    assert "limited to 4096, of 10000" in caplog.text


def test_no_limit_stays_none(limits: list[int], caplog: pytest.LogCaptureFixture) -> None:
    limits[:] = [resource.RLIM_INFINITY, resource.RLIM_INFINITY]
    allow_descriptors(10_000)
    assert limits == [resource.RLIM_INFINITY, resource.RLIM_INFINITY]
    assert not caplog.text
