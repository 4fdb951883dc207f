"""Before anything is measured: do all servers give the same answers, and refuse the same requests?"""

import hashlib
import hmac
import json
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import httpx

from app.core.config import Settings
from app.core.security import create_access_token
from loadtests.bench.errors import BenchError
from loadtests.bench.people import Person
from loadtests.bench.scenarios import API, NEW_ITEM, SCENARIOS, Contender, Scenario, made_anew

TIMEOUT_SECONDS: Final = 30
MOMENTS: Final = ("created_at", "updated_at")


@dataclass(frozen=True, slots=True)
class Refusal:
    """A request that every server refuses, and the status it does it with."""

    name: str
    status: int
    method: str = "GET"
    path: str = API
    token: str | None = None
    body: Any = None


def ask(contender: Contender, scenario: Scenario, person: Person) -> bytes:
    """Return a server's answer to a person's request, sent as the measurement sends it.

    Raises:
        BenchError: if its status is not the expected one.
    """
    head, _, body = scenario.request(person).partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    method, path, _ = lines[0].split()
    headers = dict(line.split(": ", 1) for line in lines[1:] if not line.startswith(("Host", "Content-Length")))
    response = _send(contender, method, path, headers, body)
    if response.status_code != scenario.status:
        raise BenchError(f"{contender.title}: {scenario.name} was answered with {response.status_code}: {response.text[:300]}")
    return response.content


def _send(contender: Contender, method: str, path: str, headers: dict[str, str], body: bytes) -> httpx.Response:
    url = f"http://127.0.0.1:{contender.port}{path}"
    with httpx.Client(trust_env=False, timeout=TIMEOUT_SECONDS) as client:
        return client.request(method, url, headers=headers, content=body)


def verify(ours: Contender, peers: Sequence[Contender], people: Sequence[Person], settings: Settings) -> None:
    """Compare every server's answers with ours.

    Raises:
        BenchError: with the first difference.
    """
    for person in (people[0], people[-1]):
        for scenario in SCENARIOS:
            right = ask(ours, scenario, person)
            for peer in peers:
                _compare(peer, scenario, ask(peer, scenario, person), right)
    for refusal in refusals(people, settings):
        for contender in (ours, *peers):
            headers = {"Content-Type": "application/json"} if refusal.body is not None else {}
            if refusal.token is not None:
                headers["Authorization"] = f"Bearer {refusal.token}"
            body = b"" if refusal.body is None else json.dumps(refusal.body).encode()
            status = _send(contender, refusal.method, refusal.path, headers, body).status_code
            if status != refusal.status:
                raise BenchError(f"{contender.title} answers {refusal.name} with {status} instead of {refusal.status}")


def _compare(peer: Contender, scenario: Scenario, answer: bytes, right: bytes) -> None:
    if not peer.exact:
        same = _values(answer, created=scenario.writes) == _values(right, created=scenario.writes)
    elif scenario.writes:
        same = made_anew(right)(answer)
    else:
        same = answer == right
    if not same:
        raise BenchError(f"{peer.title} answers {scenario.name} otherwise than the API:\n{answer[:600]!r}\n{right[:600]!r}")


def _values(body: bytes, *, created: bool) -> Any:
    """Return what JSON says, moments as such; of an item made anew, what it has in common with others."""
    document: Any = json.loads(body)
    items: list[dict[str, Any]] = document if isinstance(document, list) else [document]  # pyright: ignore[reportUnknownVariableType]  # any JSON
    for item in items:
        for name in MOMENTS:
            if name in item:
                item[name] = datetime.fromisoformat(item[name])
        if created:
            for name in ("id", *MOMENTS):
                del item[name]
    return items


def refusals(people: Sequence[Person], settings: Settings) -> list[Refusal]:
    """Return requests that are refused: without right credentials, for what is not there, and with a wrong body."""
    person, other = people[0], people[1]
    header, payload, _ = person.token.split(".")
    claims: dict[str, Any] = json.loads(_decoded(payload))
    over = _signed(header, claims | {"iat": int(time.time()) - 7200, "exp": int(time.time()) - 3600}, settings)
    foreign = _signed(header, claims | {"iss": "https://elsewhere.example.com"}, settings)
    stranger = settings.model_copy(update={"SECRET_KEY": type(settings.SECRET_KEY)("another key of sufficient length")})
    forged = create_access_token(stranger, user_id=person.user_id, session_id=claims["sid"])
    item = f"{API}{person.item_id}"
    wrong_bodies = {
        "a body without title": {},
        "an empty title": NEW_ITEM | {"title": ""},
        "a title of 201 characters": NEW_ITEM | {"title": "x" * 201},
        "a description of 10,001 characters": NEW_ITEM | {"description": "x" * 10_001},
        "attributes that are no object": NEW_ITEM | {"attributes": [1]},
        "attributes beyond 16 KiB": NEW_ITEM | {"attributes": {"a": "x" * 17_000}},
        "an unknown member": NEW_ITEM | {"colour": "red"},
    }
    return [
        Refusal("no token", 401, path=item),
        Refusal("a forged token", 401, path=item, token=forged),
        Refusal("an expired token", 401, path=item, token=over),
        Refusal("a token of another issuer", 401, path=item, token=foreign),
        Refusal("no token for a list", 401),
        Refusal("no token for a new item", 401, "POST", body=NEW_ITEM),
        Refusal("an item that is not there", 404, path=f"{API}999999999", token=person.token),
        Refusal("somebody else's item", 404, path=f"{API}{other.item_id}", token=person.token),
        Refusal("an id that is no number", 422, path=f"{API}x", token=person.token),
        Refusal("a page of 101", 422, path=f"{API}?limit=101", token=person.token),
        *(Refusal(name, 422, "POST", token=person.token, body=body) for name, body in wrong_bodies.items()),
    ]


def _decoded(part: str) -> bytes:
    return urlsafe_b64decode(part + "=" * (-len(part) % 4))


def _signed(header: str, claims: dict[str, Any], settings: Settings) -> str:
    """Return a token of other claims, signed as ours are."""
    payload = urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode()
    mac = hmac.digest(settings.SECRET_KEY.get_secret_value().encode(), f"{header}.{payload}".encode(), hashlib.sha256)
    return f"{header}.{payload}.{urlsafe_b64encode(mac).rstrip(b'=').decode()}"
