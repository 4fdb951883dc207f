"""What a journey is written with: somebody's visit, its requests and what it expects of the answers.

Nothing here knows Locust, so that journeys can be read, listed and tried without it.
"""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, cast
from urllib.parse import urlencode

#: Base path of the routes, as ``slo.yaml`` writes them.
API: Final = "/api/v1"
PASSWORD: Final = "correct horse battery staple"  # noqa: S105  # of accounts that live for one run

type Check = Callable[[Any], str | None]


class BrokenError(Exception):
    """The visit cannot go on: an answer was not the one expected. It is recorded already."""


@dataclass(slots=True)
class Person:
    """Somebody with an account of this run.

    Attributes:
        items: Items that stay for the whole run, to be read: id and title.
        token_ends: When the access token ends, in seconds since the epoch.
    """

    id: int
    email: str
    token: str
    refresh_token: str
    token_ends: float
    items: list[tuple[int, str]] = field(default_factory=list[tuple[int, str]])


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer that was as expected.

    Attributes:
        value: What the body holds, read as JSON; ``None`` where it is empty.
    """

    status: int
    headers: Mapping[str, str]
    value: Any


class Frames(Protocol):
    """A socket of live events."""

    def wait_for(self, accept: Callable[[Mapping[str, Any]], bool], seconds: float) -> Mapping[str, Any]:
        """Return the first frame that ``accept`` takes.

        Raises:
            BrokenError: if none comes in time; it is recorded as a failure of the flow.
        """
        ...

    def close(self) -> None:
        """Close it."""
        ...


class Visit(Protocol):
    """One journey of one person: sends requests, and records durations, failures and what the service acknowledged."""

    person: Person
    superuser: Person
    chance: random.Random

    def ask(  # noqa: PLR0913  # what a request is made of
        self,
        route: str,
        path: str | None = None,
        *,
        expect: int = 200,
        tolerate: tuple[int, ...] = (),
        token: str | None = None,
        headers: Mapping[str, str] | None = None,
        json: Any = None,
        data: bytes | None = None,
        check: Check | None = None,
    ) -> Answer:
        """Send a request and return its answer.

        Args:
            route: As in ``slo.yaml``: method and template.
            path: Path and query; the template's where that has no parameters.
            expect: The status that is right.
            tolerate: Statuses that are right in a race that the journey cannot avoid; no sample, no failure.
            token: Access token to send; the person's unless given, none if empty.
            headers: Further headers.
            json: Body to send as JSON.
            data: Body to send as it is; ``headers`` say what it is.
            check: Says what is wrong with the body, ``None`` if nothing is.

        Raises:
            BrokenError: if the answer is missing or another one.
        """
        ...

    def listen(self, ticket: str) -> Frames:
        """Open a socket of live events."""
        ...

    def begin_flow(self, name: str) -> None:
        """Begin to measure a flow of ``slo.yaml``: now, or where this is the visit's first request, at its intended start."""
        ...

    def end_flow(self, name: str, fault: str | None = None) -> None:
        """Record a flow as come to its end, or as failed."""
        ...

    def made(self, item_id: int, title: str) -> None:
        """Note an item the service acknowledged."""
        ...

    def removed(self, item_id: int) -> None:
        """Note that the service acknowledged an item's deletion."""
        ...

    def accepted(self, job_id: int, title: str, rows: int, *, cancelled: bool = False) -> None:
        """Note a job the service accepted: all its items' titles begin with ``title``."""
        ...

    def name(self) -> str:
        """Return a text that is in no other item of the run, and names the run."""
        ...

    def address(self) -> str:
        """Return an e-mail address that nobody has yet."""
        ...


def equals(**expected: Any) -> Check:
    """Return a check that the body is an object with these members."""

    def check(value: Any) -> str | None:
        if not isinstance(value, dict):
            return "no JSON object"
        wrong = [name for name in expected if value.get(name) != expected[name]]  # pyright: ignore[reportUnknownMemberType]  # any object
        return f"{', '.join(wrong)} {'is' if len(wrong) == 1 else 'are'} not as expected" if wrong else None

    return check


def lists(accept: Callable[[Any], bool], *, least: int = 0) -> Check:
    """Return a check that the body is an array of objects that ``accept`` takes, of ``least`` or more."""

    def check(value: Any) -> str | None:
        if not isinstance(value, list):
            return "no JSON array"
        entries = cast("list[Any]", value)
        if len(entries) < least:
            return f"{len(entries)} entries instead of {least} or more"
        return None if all(accept(entry) for entry in entries) else "an entry is not as expected"

    return check


def token_pair(value: Any) -> str | None:
    """Say what is wrong with a body that is to be a pair of tokens."""
    return None if isinstance(value, dict) and value.get("access_token") and value.get("refresh_token") else "no pair of tokens"  # pyright: ignore[reportUnknownMemberType]  # any object


def form(**fields: str) -> tuple[bytes, dict[str, str]]:
    """Return a form's body and the header that says so."""
    return urlencode(fields).encode(), {"Content-Type": "application/x-www-form-urlencoded"}


def csv_part(title: str, rows: int) -> tuple[bytes, dict[str, str]]:
    """Return a multipart body with a CSV file of ``rows`` items called ``TITLE-0`` and so on, and its header."""
    lines = ["title,description,attributes", *(f'{title}-{row},"row {row}","{{""row"": {row}}}"' for row in range(rows))]
    head = '--rows\r\nContent-Disposition: form-data; name="file"; filename="rows.csv"\r\nContent-Type: text/csv\r\n\r\n'
    body = f"{head}{'\n'.join(lines)}\n\r\n--rows--\r\n"
    return body.encode(), {"Content-Type": "multipart/form-data; boundary=rows"}
