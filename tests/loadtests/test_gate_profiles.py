"""Profiles are complete, within their own caps, and speak of what is there."""

from pathlib import Path

import pytest

from loadtests.gate.outcome import Exit, GateError, RefusedError
from loadtests.gate.plan import PROFILES, Plan, load_profile
from loadtests.scenarios import JOURNEYS
from loadtests.scenarios.visit import Person

PROFILE = """
description = "A profile."
hosts = ["127.0.0.1"]
people = 2
users = 5
max_rate = 100
quantiles = ["p50"]
[[phases]]
name = "load"
seconds = 10
[journeys]
platform = 10
"""


def written(folder: Path, text: str) -> str:
    (folder / "own.toml").write_text(text)
    return str(folder / "own.toml")


@pytest.mark.parametrize("name", sorted(path.stem for path in PROFILES.glob("*.toml")))
def test_every_profile_that_ships_can_be_used(name: str) -> None:
    profile = load_profile(name)
    assert profile.peak() <= profile.max_rate
    assert profile.description


@pytest.mark.parametrize("name", ["smoke", "pr", "staging", "soak", "spike", "breakpoint"])
def test_every_profile_of_a_run_sends_every_journey(name: str) -> None:
    assert set(load_profile(name).journeys) == set(JOURNEYS)


def test_every_profile_expects_samples_enough_for_what_it_promises() -> None:
    profile = load_profile("smoke")
    seconds = sum(phase.seconds for phase in profile.phases if phase.judged)
    assert min(profile.journeys.values()) * seconds >= 60 + 3 * 60**0.5  # 60 samples of the median, but for bad luck


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("platform = 10", "nonsense = 10", "there is no scenario nonsense"),
        ("platform = 10", "platform = 0", "platform has a rate of 0"),
        ("platform = 10", "platform = 60", "above its own cap"),
        ('["p50"]', '["p75"]', "p75 is no quantile"),
        ("seconds = 10", "seconds = 0", "takes 0 s"),
        ("seconds = 10", "seconds = 10\njudged = false", "no phase is judged"),
        ("people = 2", "people = 1", "needs two people"),
        ("people = 2", "", "people"),
        ("people = 2", "people = 2\ncolour = 1", "colour"),
        ("people = 2", "people", "is no TOML"),
    ],
)
def test_a_profile_with_a_fault_is_a_harness_error_that_says_which(tmp_path: Path, old: str, new: str, fault: str) -> None:
    with pytest.raises(GateError, match=fault) as refused:
        load_profile(written(tmp_path, PROFILE.replace(old, new)))
    assert refused.value.code is Exit.HARNESS_ERROR


def test_an_unknown_profile_is_answered_with_those_there_are() -> None:
    with pytest.raises(GateError, match=r"There is no profile nothing; there are: .*smoke"):
        load_profile("nothing")


def test_a_rate_above_the_cap_is_refused(tmp_path: Path) -> None:
    profile = load_profile(written(tmp_path, PROFILE))
    assert profile.scaled(2).peak() == pytest.approx(80)
    with pytest.raises(RefusedError, match="above the cap") as refused:
        profile.scaled(3)
    assert refused.value.code is Exit.REFUSED


def test_a_plan_survives_json() -> None:
    person = Person(1, "a@example.com", "t", "r", 1.5, [(7, "seven")])
    phases = list(load_profile("spike").phases)
    plan = Plan("run", 1, ["http://127.0.0.1:1"], phases, {"browse": 2.0}, 5, "example.com", [person], person, [[1, 2]], 2, 1)
    assert Plan.loads(plan.dumps()) == plan
