"""Access tokens: what is accepted, and everything that is not."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import pytest
from jose import jwt

from app.core.config import Settings
from app.core.errors import Unauthorized
from app.core.security import (
    MAX_TOKEN_LENGTH,
    AccessClaims,
    create_access_token,
    hash_opaque_token,
    new_opaque_token,
    verify_access_token,
)

KEY = "the-signing-key-of-these-tests-is-long"
FORMER_KEY = "the-former-key-of-these-tests-is-long-"
SESSION = UUID("01890a5d-ac96-774b-bcce-b302099a8057")


def make_settings(**given: str) -> Settings:
    """Return settings that need no server."""
    values = {"ENVIRONMENT": "test", "DATABASE_URL": "postgresql://nobody@127.0.0.1/none", "SECRET_KEY": KEY, **given}
    return Settings(_env_file=None, **values)  # pyright: ignore[reportCallIssue, reportArgumentType]  # strings, as the environment has them


SETTINGS = make_settings()


def genuine(**changes: Any) -> dict[str, Any]:
    """Return the claims of a genuine token, changed; ``None`` takes a claim away."""
    claims = jwt.get_unverified_claims(create_access_token(SETTINGS, user_id=7, session_id=SESSION)) | changes
    return {name: value for name, value in claims.items() if value is not None}


def forge(claims: dict[str, Any], key: str = KEY, algorithm: str = "HS256", header_type: str = "at+jwt") -> str:
    """Return a token over any claims."""
    token: str = jwt.encode(claims, key, algorithm=algorithm, headers={"typ": header_type})
    return token


def segment(content: object) -> str:
    """Return a segment of a compact JWS."""
    return base64.urlsafe_b64encode(json.dumps(content).encode()).rstrip(b"=").decode()


def test_a_token_says_who_it_speaks_for_and_until_when() -> None:
    before = int(time.time())
    claims = verify_access_token(SETTINGS, create_access_token(SETTINGS, user_id=7, session_id=SESSION))
    assert (claims.user_id, claims.session_id) == (7, SESSION)
    assert before + 900 <= claims.expires_at <= time.time() + 900


def test_a_token_carries_every_claim_of_its_class() -> None:
    token = create_access_token(SETTINGS, user_id=7, session_id=SESSION, now=1_000)
    assert jwt.get_unverified_header(token) == {"alg": "HS256", "typ": "at+jwt"}
    claims = jwt.get_unverified_claims(token)
    assert claims.pop("jti") != jwt.get_unverified_claims(create_access_token(SETTINGS, user_id=7, session_id=SESSION))["jti"]
    assert claims == {
        "iss": SETTINGS.PUBLIC_URL,
        "aud": "access",
        "typ": "access",
        "sub": "7",
        "sid": str(SESSION),
        "iat": 1_000,
        "exp": 1_900,
    }


FORGERIES: dict[str, Callable[[], str]] = {
    "another key": lambda: forge(genuine(), key="another-key-of-more-than-thirty-two-bytes"),
    "another algorithm of the same key": lambda: forge(genuine(), algorithm="HS512"),
    "no algorithm": lambda: f"{segment({'alg': 'none', 'typ': 'at+jwt'})}.{segment(genuine())}.",
    "no algorithm, with a signature": lambda: f"{segment({'alg': 'none', 'typ': 'at+jwt'})}.{segment(genuine())}.AAAA",
    "the algorithm as a list": lambda: f"{segment({'alg': ['HS256'], 'typ': 'at+jwt'})}.{segment(genuine())}.AAAA",
    "an empty signature": lambda: forge(genuine()).rpartition(".")[0] + ".",
    "another issuer": lambda: forge(genuine(iss="https://elsewhere.example")),
    "no issuer": lambda: forge(genuine(iss=None)),
    "another audience": lambda: forge(genuine(aud="ticket")),
    "several audiences": lambda: forge(genuine(aud=["ticket", "reset"])),
    "no audience": lambda: forge(genuine(aud=None)),
    "another class": lambda: forge(genuine(typ="refresh")),
    "no class": lambda: forge(genuine(typ=None)),
    "another type in the header": lambda: forge(genuine(), header_type="JWT"),
    "an end in the past": lambda: forge(genuine(exp=int(time.time()) - 1)),
    "no end": lambda: forge(genuine(exp=None)),
    "an end that is no number": lambda: forge(genuine(exp="soon")),
    "a beginning in the future": lambda: forge(genuine(nbf=int(time.time()) + 60)),
    "no moment of issue": lambda: forge(genuine(iat=None)),
    "no id": lambda: forge(genuine(jti=None)),
    "no session": lambda: forge(genuine(sid=None)),
    "a session that is no id": lambda: forge(genuine(sid="everything")),
    "a session that is a number": lambda: forge(genuine(sid=1)),
    "no subject": lambda: forge(genuine(sub=None)),
    "a subject that is no number": lambda: forge(genuine(sub="root")),
    "a subject beyond every number": lambda: forge(genuine(sub="9" * 30)),
    "claims that are no object": lambda: sign_raw(b'["access"]'),
    "claims that are no JSON": lambda: sign_raw(b"\xff"),
    "claims nested without end": lambda: sign_raw(b"[" * 500),
    "two segments": lambda: forge(genuine()).rpartition(".")[0],
    "four segments": lambda: forge(genuine()) + ".AAAA",
    "an opaque token": new_opaque_token,
    "nothing": lambda: "",
    "letters from elsewhere": lambda: "é.é.é",
    "another spelling of the signature": lambda: forge(genuine()) + "=",
    "more than any token has": lambda: forge(genuine(padding="x" * MAX_TOKEN_LENGTH)),
}


def sign_raw(payload: bytes) -> str:
    """Return a rightly signed token whose claims are any bytes."""
    signed = f"{segment({'alg': 'HS256', 'typ': 'at+jwt'})}.{base64.urlsafe_b64encode(payload).rstrip(b'=').decode()}"
    signature = hmac.digest(KEY.encode(), signed.encode(), hashlib.sha256)
    return f"{signed}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


def test_the_forgers_of_these_tests_make_genuine_tokens_too() -> None:
    assert verify_access_token(SETTINGS, forge(genuine())).user_id == 7
    assert verify_access_token(SETTINGS, sign_raw(json.dumps(genuine()).encode())).user_id == 7


@pytest.mark.parametrize("make", FORGERIES.values(), ids=FORGERIES)
def test_a_forged_token_is_refused(make: Callable[[], str]) -> None:
    with pytest.raises(Unauthorized) as refused:
        verify_access_token(SETTINGS, make())
    assert refused.value.headers["WWW-Authenticate"] == 'Bearer error="invalid_token"'


def test_a_token_of_a_former_key_holds_while_the_key_is_a_fallback() -> None:
    token = create_access_token(make_settings(SECRET_KEY=FORMER_KEY), user_id=7, session_id=SESSION)
    assert verify_access_token(make_settings(SECRET_KEY_FALLBACKS=FORMER_KEY), token).user_id == 7
    with pytest.raises(Unauthorized):
        verify_access_token(SETTINGS, token)


def test_new_tokens_are_signed_with_the_first_key() -> None:
    token = create_access_token(make_settings(SECRET_KEY_FALLBACKS=FORMER_KEY), user_id=7, session_id=SESSION)
    assert verify_access_token(SETTINGS, token) == verify_access_token(make_settings(SECRET_KEY_FALLBACKS=FORMER_KEY), token)


@pytest.mark.parametrize(
    "key", ['{"keys": ["a key of thirty-two bytes"]}', '["the first key of it", "the other"]', "1234567890" * 4, f'"{"quoted" * 6}"']
)
def test_a_key_that_reads_as_json_is_a_key_as_it_is(key: str) -> None:
    settings = make_settings(SECRET_KEY=key)
    claims = verify_access_token(settings, create_access_token(settings, user_id=7, session_id=SESSION))
    assert isinstance(claims, AccessClaims)
    with pytest.raises(Unauthorized):
        verify_access_token(settings, create_access_token(SETTINGS, user_id=7, session_id=uuid4()))


def test_opaque_tokens_are_random_and_kept_as_their_hash() -> None:
    tokens = {new_opaque_token() for _ in range(100)}
    assert len(tokens) == 100
    assert {len(token) for token in tokens} == {43}
    assert hash_opaque_token("token") == hashlib.sha256(b"token").digest()
