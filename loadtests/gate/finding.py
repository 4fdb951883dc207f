"""What the gate found, one thing at a time."""

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any


class Verdict(StrEnum):
    """What a finding means."""

    PASS = "pass"  # noqa: S105  # no password
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        subject: An endpoint, a flow, or what the finding is about.
        check: What was looked at.
        value: What was found, as text with its unit.
        limit: What it may be.
        samples: How many values it is of.
        sentence: What it means; of those that did not pass.
        measured: What was found, as a number, where that is one to compare.
        certain: Whether it holds however late the generator was: counts, contents and losses do, durations do not.
    """

    subject: str
    check: str
    verdict: Verdict
    value: str
    limit: str
    samples: int
    sentence: str = ""
    measured: float = 0.0
    certain: bool = False

    def encode(self) -> dict[str, Any]:
        """Return JSON."""
        return asdict(self)


def milliseconds(seconds: float) -> str:
    """Return a duration for people."""
    return f"{seconds * 1000:.3g} ms" if seconds < 1 else f"{seconds:.3g} s"


def percent(share: float) -> str:
    """Return a share for people."""
    return f"{share * 100:.3g} %"
