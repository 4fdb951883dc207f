"""Credentials that do not hold: on every route for the signed in, each is 401, and nothing happens."""

import base64
import hashlib
import hmac
import json
import time
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

import pytest
from jose import jwt

from app.core.config import Settings
from app.core.security import ACCESS_AUDIENCE, ACCESS_HEADER_TYPE, ACCESS_TYPE, create_access_token
from tests.api.conftest import PASSWORD, Person
from tests.api.http.bad_input.conftest import FromNowOn
from tests.api.http.bad_input.refusals import Headers, ask, refused
from tests.api.http.conftest import Service
from tests.api.operations import FORM, JSON, MULTIPART, Operation

NO_TOKENS: list[str | bytes] = [
    "", "Bearer", "Bearer ", "Bearer  ", "Basic dXNlcjpwYXNz", "bearer x", "Token x", "Bearer a.b.c", "Bearer " + "A" * 9000,
    "Bearer " + "a." * 400, b"Bearer \xff\xfe", "Bearer {}", "Bearer null",
    "Bearer eyJhbGciOiJub25lIn0.e30.", "Bearer Bearer", "Bearer \u00e9.\u00e9.x",
]  # fmt: skip
FORGED_HEADERS: dict[str, dict[str, Any]] = {
    "alg none": {"alg": "none"},
    "alg None": {"alg": "None"},
    "alg of another family": {"alg": "RS256"},
    "alg of another length": {"alg": "HS512"},
    "no alg": {"alg": None},
    "typ of any JWT": {"typ": "JWT"},
    "no typ": {"typ": None},
    "a key of its own": {"jwk": {"kty": "oct", "k": "AAAA"}},
    "a key from elsewhere": {"jku": "https://example.com/keys", "kid": "../../dev/null"},
}
FORGED_CLAIMS: dict[str, dict[str, Any]] = {
    "iss of somebody else": {"iss": "https://example.com"},
    "no iss": {"iss": None},
    "aud of another class": {"aud": "refresh"},
    "aud of the tickets": {"aud": "ticket"},
    "no aud": {"aud": None},
    "typ of another class": {"typ": "refresh"},
    "no typ": {"typ": None},
    "over": {"exp": 1},
    "no exp": {"exp": None},
    "exp as text": {"exp": "tomorrow"},
    "exp beyond all numbers": {"exp": 1e400},
    "not yet": {"nbf": 2**33},
    "no iat": {"iat": None},
    "no jti": {"jti": None},
    "no sub": {"sub": None},
    "sub as a number": {"sub": 1},
    "sub that is no number": {"sub": "superuser"},
    "sub of nobody": {"sub": "0"},
    "sub below zero": {"sub": "-1"},
    "sub beyond bigint": {"sub": str(2**63)},
    "sub of many digits": {"sub": "9" * 700},
    "no sid": {"sid": None},
    "sid that is no session": {"sid": str(uuid4())},
    "sid that is no UUID": {"sid": "x"},
    "sid as a list": {"sid": []},
}


def encode(part: bytes) -> str:
    return base64.urlsafe_b64encode(part).rstrip(b"=").decode()


def without_nulls(members: dict[str, Any]) -> bytes:
    return json.dumps({name: value for name, value in members.items() if value is not None}).encode()


def sign(settings: Settings, header: dict[str, Any], claims: dict[str, Any], secret: str | None = None) -> str:
    """Return a token with any header and claims; ``None`` leaves a member out. Signed right unless another secret is given."""
    head = without_nulls({"alg": "HS256", "typ": ACCESS_HEADER_TYPE, **header})
    signed = f"{encode(head)}.{encode(without_nulls(claims))}"
    digest = hashlib.sha512 if header.get("alg") == "HS512" else hashlib.sha256
    key = secret or settings.SECRET_KEY.get_secret_value()
    signature = b"" if header.get("alg") in {"none", "None"} else hmac.digest(key.encode(), signed.encode(), digest)
    return f"{signed}.{encode(signature)}"


def claims_of(settings: Settings, person: Person) -> dict[str, Any]:
    """Return what a good access token of a person says."""
    now = int(time.time())
    return {
        "iss": settings.PUBLIC_URL,
        "aud": ACCESS_AUDIENCE,
        "typ": ACCESS_TYPE,
        "sub": str(person.id),
        "sid": str(person.session_id),
        "jti": uuid4().hex,
        "iat": now,
        "exp": now + 900,
    }


async def is_refused(service: Service, found: list[Operation], headers: Headers) -> None:
    """Check that every route for the signed in refuses a request with these headers."""
    for operation in found:
        if not operation.is_for_the_signed_in:
            continue
        media_types = [each for each in operation.media_types if each != MULTIPART]
        body = json.dumps(operation.body(media_type=media_types[0])).encode() if media_types else b""
        sent = {"Content-Type": media_types[0], **headers} if media_types else headers
        answer = await ask(service, operation.method, operation.path, sent, body)
        refused(answer, 401, because=(operation, headers))
        assert answer.headers["www-authenticate"].startswith("Bearer"), operation


def test_the_token_that_the_forgeries_differ_from_is_good(settings: Settings, superuser: Person) -> None:
    claims = claims_of(settings, superuser)
    ours = create_access_token(settings, user_id=superuser.id, session_id=superuser.session_id)
    assert jwt.get_unverified_claims(ours).keys() == claims.keys()
    assert jwt.get_unverified_header(ours) == jwt.get_unverified_header(sign(settings, {}, claims))


async def test_a_token_signed_by_hand_with_all_it_takes_passes(service: Service, settings: Settings, superuser: Person) -> None:
    token = sign(settings, {}, claims_of(settings, superuser))
    assert (await ask(service, "GET", "/api/v1/users/me", {"Authorization": f"Bearer {token}"})).status == 200


@pytest.mark.parametrize("forgery", FORGED_HEADERS)
async def test_a_token_with_a_forged_header_is_refused(
    service: Service, settings: Settings, superuser: Person, everything: list[Operation], forgery: str
) -> None:
    token = sign(settings, FORGED_HEADERS[forgery], claims_of(settings, superuser))
    if "key" in forgery:
        token = sign(settings, FORGED_HEADERS[forgery], claims_of(settings, superuser), "AAAA")
    await is_refused(service, everything, {"Authorization": f"Bearer {token}"})


@pytest.mark.parametrize("forgery", FORGED_CLAIMS)
async def test_a_token_with_forged_claims_is_refused(
    service: Service, settings: Settings, superuser: Person, everything: list[Operation], forgery: str
) -> None:
    token = sign(settings, {}, claims_of(settings, superuser) | FORGED_CLAIMS[forgery])
    await is_refused(service, everything, {"Authorization": f"Bearer {token}"})


async def test_a_token_of_another_key_is_refused(
    service: Service, settings: Settings, superuser: Person, everything: list[Operation]
) -> None:
    for secret in ("another-secret-that-is-long-enough", "\x00", settings.SECRET_KEY.get_secret_value() + "x"):
        token = sign(settings, {}, claims_of(settings, superuser), secret)
        await is_refused(service, everything, {"Authorization": f"Bearer {token}"})


async def test_a_token_of_one_user_with_the_session_of_another_is_refused(
    service: Service, settings: Settings, superuser: Person, other: Person, everything: list[Operation]
) -> None:
    token = sign(settings, {}, claims_of(settings, superuser) | {"sid": str(other.session_id)})
    await is_refused(service, everything, {"Authorization": f"Bearer {token}"})


async def test_a_token_that_was_changed_is_refused(service: Service, superuser: Person, everything: list[Operation]) -> None:
    head, claims, signature = superuser.token.split(".")
    last = "A" if signature[0] != "A" else "B"
    for token in (f"{head}.{claims}.", f"{head}.{claims}", f"{head}..{signature}", f"{head}.{claims}.{last}{signature[1:]}", f".{claims}."):
        await is_refused(service, everything, {"Authorization": f"Bearer {token}"})


@pytest.mark.parametrize("authorization", NO_TOKENS)
async def test_an_authorization_that_is_no_token_is_refused(
    service: Service, everything: list[Operation], authorization: str | bytes
) -> None:
    await is_refused(service, everything, {"Authorization": authorization})


async def test_nobody_is_let_in_without_an_authorization(service: Service, everything: list[Operation]) -> None:
    await is_refused(service, everything, {})


async def test_a_refresh_token_and_a_ticket_are_no_access_tokens(
    service: Service, superuser: Person, everything: list[Operation], nothing_is_kept: FromNowOn
) -> None:
    ticket = await ask(service, "POST", "/api/v1/ws/tickets", {**superuser.headers}, b"")
    form = urlencode({"username": superuser.email, "password": PASSWORD}).encode()
    pair = await ask(service, "POST", "/api/v1/auth/login", {"Content-Type": FORM}, form)
    await nothing_is_kept()
    for token in (ticket.json()["ticket"], pair.json()["refresh_token"]):
        await is_refused(service, everything, {"Authorization": f"Bearer {token}"})


async def test_an_access_token_is_no_refresh_token_and_no_ticket(service: Service, superuser: Person) -> None:
    body = json.dumps({"refresh_token": superuser.token}).encode()
    for sent in (body, json.dumps({"refresh_token": "A" * 43}).encode()):
        answer = await ask(service, "POST", "/api/v1/auth/refresh", {"Content-Type": JSON}, sent)
        assert refused(answer, 401, 422, because=sent)["error"] in {"invalid_grant", "invalid_request"}
    upgrade: Headers = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "A" * 22 + "==",
    }
    for ticket in (superuser.token[:128], "A" * 43, superuser.token):
        refused(await ask(service, "GET", f"/api/v1/ws?ticket={ticket}", upgrade), 401, 422, because=ticket)
