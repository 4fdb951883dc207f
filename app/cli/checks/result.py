"""What a check found."""

from typing import Literal, NamedTuple

type State = Literal["ok", "warning", "failed"]


class Result(NamedTuple):
    """One finding.

    Attributes:
        part: What was looked at, such as ``PostgreSQL``.
        check: Which side of it.
        state: ``failed`` where the service would not work.
        detail: What was found.
        remedy: What to do, empty where nothing is.
    """

    part: str
    check: str
    state: State
    detail: str
    remedy: str = ""


def verdict(part: str, check: str, *, good: bool, detail: str, remedy: str, otherwise: State = "failed") -> Result:
    """Return ``ok`` with the detail, or ``otherwise`` with the remedy as well."""
    return Result(part, check, "ok", detail) if good else Result(part, check, otherwise, detail, remedy)
