"""The people of a run: made before the clock starts, deleted after it."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import httpx

from loadtests.gate.outcome import GateError, RefusedError
from loadtests.scenarios.visit import API, PASSWORD, Person

#: Of each person, to be read by the journeys.
ITEMS: Final = 60
COLOURS: Final = ("red", "green", "blue")
TIMEOUT_SECONDS: Final = 30


@dataclass(frozen=True, slots=True)
class Credentials:
    """Of a superuser, who makes and deletes the people."""

    email: str
    password: str


class Service:
    """The service, as far as people must be made and deleted and looked after.

    Args:
        url: Where it is.
        credentials: The superuser's.
    """

    def __init__(self, url: str, credentials: Credentials) -> None:
        self._http = httpx.Client(base_url=url, timeout=TIMEOUT_SECONDS, trust_env=False)
        self._credentials = credentials
        self.superuser = self.sign_in(0, credentials.email, credentials.password)

    def close(self) -> None:
        """Close its connections."""
        self._http.close()

    def send(self, expect: int, method: str, path: str, token: str | None = None, **options: Any) -> httpx.Response:
        """Send a request.

        Raises:
            GateError: if the answer is missing or has another status.
        """
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        try:
            response = self._http.request(method, API + path, headers=headers, **options)
        except httpx.HTTPError as error:
            raise GateError(f"{method} {API}{path} got no answer: {type(error).__name__}: {error}") from error
        if response.status_code != expect:
            raise GateError(f"{method} {API}{path} answered {response.status_code} instead of {expect}: {response.text[:300]}")
        return response

    def get(self, path: str) -> httpx.Response:
        """Ask for what is outside of the API's base path, and for everybody."""
        return self._http.get(path)

    def sign_in(self, user_id: int, email: str, password: str = PASSWORD) -> Person:
        """Return somebody signed in.

        Raises:
            RefusedError: if the password is not right.
        """
        try:
            pair = self.send(200, "POST", "/auth/login", data={"username": email, "password": password}).json()
        except GateError as error:
            if " answered 401 " not in str(error):
                raise
            raise RefusedError(f"{email} may not sign in there: {error}") from None
        return Person(user_id, email, pair["access_token"], pair["refresh_token"], time.time() + pair["expires_in"])

    def sign_in_superuser(self) -> Person:
        """Return the superuser in a session of its own.

        Raises:
            RefusedError: if the account is none.
        """
        person = self.sign_in(0, self._credentials.email, self._credentials.password)
        me = self.send(200, "GET", "/users/me", person.token).json()
        if not me["is_superuser"]:
            raise RefusedError(f"{person.email} is no superuser there; the gate needs one to make and delete its people.")
        person.id = me["id"]
        return person

    def make(self, run: str, number: int, domain: str) -> Person:
        """Make somebody with items to read."""
        email = f"load-{run}-person-{number}@{domain}"
        made = self.send(201, "POST", "/users/", self.superuser.token, json={"email": email, "password": PASSWORD}).json()
        person = self.sign_in(made["id"], email)
        bodies = [
            {"title": f"load-{run}-kept-{number}-{each}", "description": "kept for the run", "attributes": {"colour": COLOURS[each % 3]}}
            for each in range(ITEMS)
        ]
        items = self.send(201, "POST", "/items/batch", person.token, json=bodies).json()
        person.items = [(item["id"], item["title"]) for item in items]
        return person

    def make_all(self, run: str, count: int, domain: str, progress: Callable[[int], None]) -> list[Person]:
        """Make the people of a run.

        Args:
            run: Id of the run.
            count: How many.
            domain: Of their e-mail addresses.
            progress: Told how many there are.
        """
        people: list[Person] = []
        for number in range(count):
            people.append(self.make(run, number, domain))
            progress(number + 1)
        return people

    def remove_all(self, run: str, people: Sequence[Person]) -> int:
        """Delete the people of a run and everybody else it left behind; what they own goes after the grace period.

        Returns:
            How many were deleted.
        """
        admin = self.sign_in_superuser()
        ids = {person.id for person in people} | set(self.left(run, admin.token, min((person.id for person in people), default=0)))
        for user_id in sorted(ids):
            self.send(204, "DELETE", f"/users/{user_id}", admin.token)
        return len(ids)

    def left(self, run: str, token: str, since: int) -> list[int]:
        """Return the ids of accounts of a run that are there, among those made since the account ``since``."""
        found: list[int] = []
        path: str | None = "/users/?limit=100"
        while path is not None:
            response = self.send(200, "GET", path, token)
            found += [user["id"] for user in response.json() if user["id"] >= since and user["email"].startswith(f"load-{run}-")]
            path = response.links["next"]["url"].removeprefix(API) if "next" in response.links else None
        return found
