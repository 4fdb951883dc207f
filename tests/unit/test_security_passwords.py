"""Passwords: which are accepted, how they are kept and compared."""

import asyncio
import threading
from typing import Any

import bcrypt
import pytest

from app.core import passwords
from app.core.errors import ServiceUnavailable
from app.core.passwords import NOBODYS_HASH, Passwords, Verification, check_password, common_passwords, hash_password, verify_password


def bcrypt_hash(password: bytes) -> str:
    """Return a hash as former systems kept it."""
    return bcrypt.hashpw(password, bcrypt.gensalt(4)).decode()


def test_a_password_is_kept_as_argon2id_and_recognised() -> None:
    kept = hash_password("strongpassword")
    assert kept.startswith("$argon2id$v=19$m=32768,t=3,p=1$")
    assert verify_password("strongpassword", kept) == Verification(matches=True)
    assert verify_password("Strongpassword", kept) == Verification(matches=False)


def test_two_hashes_of_a_password_differ() -> None:
    assert hash_password("strongpassword") != hash_password("strongpassword")


def test_a_bcrypt_hash_is_recognised_and_replaced() -> None:
    verification = verify_password("strongpassword", bcrypt_hash(b"strongpassword"))
    assert verification.matches
    assert verification.replacement is not None
    assert verify_password("strongpassword", verification.replacement) == Verification(matches=True)


def test_a_wrong_password_for_a_bcrypt_hash_replaces_nothing() -> None:
    assert verify_password("strongpasswort", bcrypt_hash(b"strongpassword")) == Verification(matches=False)


def test_a_password_longer_than_bcrypt_reads_is_recognised_and_kept_whole() -> None:
    verification = verify_password("x" * 100, bcrypt_hash(b"x" * 72))
    assert verification.replacement is not None
    assert not verify_password("x" * 99, verification.replacement).matches


@pytest.mark.parametrize("password", ["with\0nul", "\ud800", "é" * 40, ""])
@pytest.mark.parametrize(
    "kept",
    [
        pytest.param(NOBODYS_HASH, id="argon2"),
        pytest.param(bcrypt_hash(b"strongpassword"), id="bcrypt"),
        pytest.param("garbage", id="garbage"),
        pytest.param("", id="empty"),
        pytest.param("$argon2id$v=19$m=1", id="truncated"),
        pytest.param(None, id="none"),
    ],
)
def test_no_password_and_no_hash_make_the_comparison_fail(password: str, kept: str | None) -> None:
    assert verify_password(password, kept) == Verification(matches=False)


@pytest.mark.parametrize("kept", [None, "garbage", "!"])
def test_without_an_account_the_same_work_is_done_as_with_one(kept: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[str] = []
    context = passwords.CONTEXT

    class Watched:
        identify, needs_update = context.identify, context.needs_update

        def verify(self, secret: Any, hashed: str) -> bool:
            compared.append(hashed)
            return bool(context.verify(secret, hashed))

    monkeypatch.setattr(passwords, "CONTEXT", Watched())
    verify_password("strongpassword", kept)
    assert compared == [NOBODYS_HASH]


def test_nobodys_hash_costs_what_a_new_hash_costs() -> None:
    assert not passwords.CONTEXT.needs_update(NOBODYS_HASH)
    assert NOBODYS_HASH.split("$")[:4] == hash_password("strongpassword").split("$")[:4]


@pytest.mark.parametrize("password", ["password1", "PassWord1", "12345678", "qwertyuiop"])
def test_a_common_password_is_refused_whatever_its_case(password: str) -> None:
    with pytest.raises(ValueError, match="common"):
        check_password(password)


def test_an_uncommon_password_is_accepted() -> None:
    assert check_password("strongpassword") == "strongpassword"


def test_the_list_of_common_passwords_holds_those_that_pass_the_minimum_length_in_lower_case() -> None:
    listed = common_passwords()
    assert len(listed) > 500
    assert all(len(password) >= passwords.MIN_PASSWORD_LENGTH and password == password.lower() for password in listed)


async def test_the_loop_goes_on_while_a_password_is_hashed() -> None:
    hasher = Passwords(1)
    work = asyncio.create_task(hasher.hash("strongpassword"))
    turns = 0
    while not work.done():
        await asyncio.sleep(0)
        turns += 1
    hasher.close()
    assert turns > 10
    assert (await work).startswith("$argon2id$")


async def test_passwords_are_hashed_by_as_many_threads_as_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    entered, leave = threading.Semaphore(0), threading.Event()

    def slow(_password: str) -> str:
        entered.release()
        leave.wait(10)
        return threading.current_thread().name

    monkeypatch.setattr(passwords, "hash_password", slow)
    hasher = Passwords(2)
    work = [asyncio.create_task(hasher.hash("strongpassword")) for _ in range(6)]
    for _ in range(2):
        await asyncio.to_thread(entered.acquire)
    assert not entered.acquire(blocking=False)
    leave.set()
    assert len(set(await asyncio.gather(*work))) == 2
    hasher.close()


async def test_more_passwords_than_can_be_worked_on_are_turned_away(monkeypatch: pytest.MonkeyPatch) -> None:
    leave = threading.Event()

    def hash_slowly(_password: str) -> str:
        leave.wait(10)
        return "hash"

    monkeypatch.setattr(passwords, "hash_password", hash_slowly)
    hasher = Passwords(1)
    waiting = [asyncio.create_task(hasher.hash("strongpassword")) for _ in range(passwords.MAX_WAITING)]
    await asyncio.sleep(0)
    with pytest.raises(ServiceUnavailable):
        await hasher.hash("strongpassword")
    leave.set()
    await asyncio.gather(*waiting)
    assert await hasher.hash("strongpassword")
    hasher.close()
