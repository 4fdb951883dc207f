"""What is to be sent, to whom, when: made from a profile, handed as JSON to the processes that send it."""

import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Self

from loadtests.gate.budgets import QUANTILES
from loadtests.gate.outcome import GateError, RefusedError
from loadtests.scenarios import JOURNEYS
from loadtests.scenarios.visit import Person

PROFILES: Final = Path(__file__).parents[1] / "profiles"


@dataclass(frozen=True, slots=True)
class Phase:
    """A stretch of the run with one rate.

    Attributes:
        seconds: How long visits arrive.
        factor: The rate, as a multiple of the profile's.
        judged: Whether what it shows counts.
        target: Number of the target among the plan's.
        alone: Wait until the visits of the phase before have ended, and measure processor time.
        seed: Of the arrivals; two phases with one seed get the same visits at the same distances.
    """

    name: str
    seconds: float
    factor: float = 1.0
    judged: bool = True
    target: int = 0
    alone: bool = False
    seed: int | None = None


@dataclass(frozen=True, slots=True)
class Profile:
    """A kind of run, as ``loadtests/profiles/NAME.toml`` has it.

    Attributes:
        hosts: Hosts it may be sent to.
        people: Accounts to be made for it.
        users: Visits that can be under way at once.
        max_rate: Requests a second that it may never exceed.
        quantiles: Quantiles that every endpoint must have enough samples for; others are judged where they have.
        journeys: Visits a second, by journey.
    """

    name: str
    description: str
    hosts: Sequence[str]
    people: int
    users: int
    max_rate: float
    quantiles: Sequence[str]
    phases: Sequence[Phase]
    journeys: Mapping[str, float]
    email_domain: str = "example.com"

    def peak(self) -> float:
        """Return the highest expected rate, in requests a second."""
        each = sum(rate * len(JOURNEYS[name].calls) for name, rate in self.journeys.items())
        return each * max(phase.factor for phase in self.phases)

    def scaled(self, factor: float) -> "Profile":
        """Return the profile at another rate.

        Raises:
            RefusedError: if that is above the profile's cap.
        """
        made = replace(self, journeys={name: rate * factor for name, rate in self.journeys.items()})
        if made.peak() > self.max_rate:
            raise RefusedError(
                f"{made.peak():.0f} requests a second are above the cap of profile {self.name}, {self.max_rate:.0f}; "
                f"lower --rate or raise max_rate in {self.name}.toml."
            )
        return made

    def lasting(self, seconds: float) -> "Profile":
        """Return the profile with judged phases of another length."""
        return replace(self, phases=[replace(phase, seconds=seconds) if phase.judged else phase for phase in self.phases])


@dataclass(slots=True)
class Plan:
    """What the sending processes get.

    Attributes:
        run: Id of the run; marks everything that it makes.
        targets: Base URLs.
        pids: Processes whose time is measured, by target.
        share: Which part of the arrivals this process makes: 1 of that many.
        number: Which of them it is.
        superuser: Signed in for this process alone.
    """

    run: str
    seed: int
    targets: list[str]
    phases: list[Phase]
    journeys: dict[str, float]
    users: int
    email_domain: str
    people: list[Person]
    superuser: Person
    pids: list[list[int]] = field(default_factory=list[list[int]])
    share: int = 1
    number: int = 0

    def dumps(self) -> str:
        """Return JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def loads(cls, text: str) -> Self:
        """Return what ``dumps`` wrote."""
        read: Any = json.loads(text)
        read["phases"] = [Phase(**phase) for phase in read["phases"]]
        read["people"] = [_person(person) for person in read["people"]]
        read["superuser"] = _person(read["superuser"])
        return cls(**read)


def _person(read: Any) -> Person:
    items = [(item_id, title) for item_id, title in read.pop("items")]
    return Person(**read, items=items)


def load_profile(name: str, folder: Path = PROFILES) -> Profile:
    """Read a profile.

    Args:
        name: Of a file in ``folder`` without its ending, or a path to one elsewhere.
        folder: Where profiles are.

    Raises:
        GateError: if there is none, or something in it is none.
    """
    path = Path(name) if name.endswith(".toml") else folder / f"{name}.toml"
    try:
        read: Any = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError:
        known = ", ".join(sorted(each.stem for each in folder.glob("*.toml")))
        raise GateError(f"There is no profile {name}; there are: {known}.") from None
    except tomllib.TOMLDecodeError as error:
        raise GateError(f"{path.name} is no TOML: {error}") from error
    try:
        read["phases"] = [Phase(**phase) for phase in read["phases"]]
        profile = Profile(name=path.stem, **read)
    except (KeyError, TypeError) as error:
        raise GateError(f"{path.name}: {error}") from error
    if faults := list(_faults(profile)):
        raise GateError(f"{path.name}: {'; '.join(faults)}.")
    return profile


def _faults(profile: Profile) -> list[str]:
    unknown = sorted(set(profile.journeys) - set(JOURNEYS))
    faults = [f"there is no scenario {name}, there are: {', '.join(JOURNEYS)}" for name in unknown]
    faults += [f"{name} is no quantile with a budget" for name in profile.quantiles if name not in QUANTILES]
    faults += [f"{name} has a rate of {rate}" for name, rate in profile.journeys.items() if not rate > 0]
    faults += [f"phase {phase.name} takes {phase.seconds} s at factor {phase.factor}" for phase in profile.phases if _is_empty(phase)]
    if not profile.journeys:
        faults.append("it has no journeys")
    if not any(phase.judged for phase in profile.phases):
        faults.append("no phase is judged")
    if profile.people < 2 or profile.users < 1:  # noqa: PLR2004  # one to own, one to whom it must not be shown
        faults.append("it needs two people and one user at least")
    if not faults and profile.peak() > profile.max_rate:
        faults.append(f"its {profile.peak():.0f} requests a second are above its own cap of {profile.max_rate}")
    return faults


def _is_empty(phase: Phase) -> bool:
    return not (phase.seconds > 0 and phase.factor > 0)
