import pytest

from app.core.scrub import EMAIL, MASK, PERSONAL, scrub, scrub_text


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("could not reach postgresql://app:s3cr3t@db.internal:5432/platform", "s3cr3t"),
        ("could not reach rediss://:s3cr3t@cache:6379/0", "s3cr3t"),
        ("dsn https://0123456789abcdef@o1.ingest.example/4", "0123456789abcdef"),
        ("header Authorization: Bearer abcDEF0123456789", "abcDEF0123456789"),
        ("sent 'authorization': 'Token abc def'", "abc def"),
        ("Basic dXNlcjpwYXNz", "dXNlcjpwYXNz"),
        ("token eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl was refused", "eyJzdWIiOiIxIn0"),
        ("hash $argon2id$v=19$m=65536,t=3,p=4$c2FsdA$aGFzaA", "aGFzaA"),
        ("hash $2b$12$abcdefghijklmnopqrstuv", "abcdefghijklmnopqrstuv"),
        ("GET /api/v1/ws?ticket=4f2c8a&x=1", "4f2c8a"),
        ("https://bucket/k?X-Amz-Credential=AKIA%2F1&X-Amz-Signature=feedbeef", "feedbeef"),
        ("https://bucket/k?X-Amz-Credential=AKIA123&X-Amz-Signature=feedbeef", "AKIA123"),
        ("grant_type=password&username=x&password=hunter2", "hunter2"),
        ('{"refresh_token": "opaque-value", "n": 1}', "opaque-value"),
        ("{'new_password': 'hunter 2'}", "hunter 2"),
        ("Set-Cookie: session=abcdef", "abcdef"),
        ("Key (lower(email))=(bob.builder+x@mail.example.com) already exists.", "bob.builder"),
        ("/users?email=bob%40example.com", "bob"),
        ("SMTP_PASSWORD=hunter2", "hunter2"),
    ],
)
def test_a_secret_in_a_text_is_masked(text: str, secret: str) -> None:
    scrubbed = scrub_text(text)
    assert secret not in scrubbed
    assert MASK in scrubbed or EMAIL in scrubbed


@pytest.mark.parametrize(
    "text",
    [
        "item 12 was updated in 3.4 ms",
        "connection to db.internal:5432 refused",
        "/api/v1/items/7",
        "https://example.com/api/v1/items?limit=20&sort=-created_at",
        "released fastapi-platform@1.2.3",
        "ratio 3:4, key=value",
    ],
)
def test_an_innocent_text_stays_as_it_is(text: str) -> None:
    assert scrub_text(text) == text


def test_fields_are_masked_by_their_name_at_any_depth() -> None:
    body = {"user": {"email": "x@example.com", "password": "p", "id": 7}, "headers": [{"Cookie": "a=b"}], "access_token": None, "tokens": 3}
    assert scrub(body) == {
        "user": {"email": PERSONAL, "password": MASK, "id": 7},
        "headers": [{"Cookie": MASK}],
        "access_token": None,
        "tokens": 3,
    }


def test_keys_are_scrubbed_as_values_are() -> None:
    assert scrub({"bob@example.com": 1}) == {EMAIL: 1}


def test_values_that_are_no_text_keep_their_type() -> None:
    assert scrub({"n": 1, "t": True, "f": 1.5, "none": None, "l": (1, "a")}) == {"n": 1, "t": True, "f": 1.5, "none": None, "l": [1, "a"]}
