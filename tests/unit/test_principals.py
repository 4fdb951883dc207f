"""What an access token proved is remembered until it ends or is revoked."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from uuid import UUID, uuid4

import pytest

from app.core import principals
from app.core.errors import Unauthorized
from app.core.principals import Principals
from app.core.security import AccessClaims, create_access_token
from tests.unit.test_security import SETTINGS

type Load = Callable[[AccessClaims], Awaitable[bool | None]]


def header(user_id: int = 7, session_id: UUID | None = None, *, issued_ago: float = 0) -> bytes:
    """Return an ``Authorization`` header."""
    token = create_access_token(SETTINGS, user_id=user_id, session_id=session_id or uuid4(), now=time.time() - issued_ago)
    return f"Bearer {token}".encode()


class Accounts:
    """Stands for the database: answers ``is_superuser`` and takes down what it was asked."""

    def __init__(self, *answers: bool | None) -> None:
        self.answers = list(answers)
        self.asked: list[AccessClaims] = []

    async def load(self, claims: AccessClaims) -> bool | None:
        self.asked.append(claims)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


async def test_a_token_is_verified_once() -> None:
    accounts = Accounts(True)
    known = Principals(SETTINGS, accounts.load)
    authorization = header()
    assert known.remembered(authorization) is None
    principal = await known.verify(authorization)
    assert (principal.user_id, principal.is_superuser) == (7, True)
    assert known.remembered(authorization) is principal
    assert len(accounts.asked) == 1


async def test_a_token_whose_session_ended_is_refused_and_not_remembered() -> None:
    known = Principals(SETTINGS, Accounts(None).load)
    authorization = header()
    with pytest.raises(Unauthorized):
        await known.verify(authorization)
    assert known.remembered(authorization) is None


@pytest.mark.parametrize("authorization", [b"", b"Bearer", b"Bearer ", b"Basic YWRtaW46YWRtaW4=", b"Bearer \xff\xfe", b"token"])
async def test_what_is_no_bearer_token_is_refused_without_asking_the_database(authorization: bytes) -> None:
    accounts = Accounts(True)
    with pytest.raises(Unauthorized):
        await Principals(SETTINGS, accounts.load).verify(authorization)
    assert accounts.asked == []


@pytest.mark.parametrize("scheme", [b"bearer", b"BEARER", b"Bearer"])
async def test_the_scheme_is_read_in_any_case(scheme: bytes) -> None:
    authorization = header().replace(b"Bearer", scheme)
    assert (await Principals(SETTINGS, Accounts(False).load).verify(authorization)).user_id == 7


async def test_a_remembered_token_ends_when_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    known = Principals(SETTINGS, Accounts(False).load)
    authorization = header()
    principal = await known.verify(authorization)
    monkeypatch.setattr(principals.time, "time", lambda: principal.expires_at)
    assert known.remembered(authorization) is None


async def test_forgetting_a_session_forgets_all_its_tokens_and_no_others() -> None:
    known = Principals(SETTINGS, Accounts(False).load)
    session_id = uuid4()
    first, second, foreign = header(session_id=session_id), header(session_id=session_id, issued_ago=1), header()
    for authorization in (first, second, foreign):
        await known.verify(authorization)
    known.forget(session_id)
    assert known.remembered(first) is None
    assert known.remembered(second) is None
    assert known.remembered(foreign) is not None


async def test_forgetting_an_account_forgets_the_tokens_of_all_its_sessions() -> None:
    known = Principals(SETTINGS, Accounts(False).load)
    mine, also_mine, foreign = header(7), header(7), header(8)
    for authorization in (mine, also_mine, foreign):
        await known.verify(authorization)
    known.forget(7)
    assert [known.remembered(each) is None for each in (mine, also_mine, foreign)] == [True, True, False]


async def test_a_load_that_a_revocation_overtook_is_done_again() -> None:
    loading, go_on = asyncio.Event(), asyncio.Event()
    answers: list[bool | None] = [False, None]

    async def load(_claims: AccessClaims) -> bool | None:
        loading.set()
        await go_on.wait()
        return answers.pop(0)

    known = Principals(SETTINGS, load)
    session_id = uuid4()
    authorization = header(session_id=session_id)
    verifying = asyncio.create_task(known.verify(authorization))
    await loading.wait()
    known.forget(session_id)
    go_on.set()
    with pytest.raises(Unauthorized):
        await verifying
    assert known.remembered(authorization) is None


async def test_a_load_that_a_change_of_rights_overtook_sees_the_new_rights() -> None:
    loading, go_on = asyncio.Event(), asyncio.Event()
    answers = [True, False]

    async def load(_claims: AccessClaims) -> bool | None:
        loading.set()
        await go_on.wait()
        return answers.pop(0)

    known = Principals(SETTINGS, load)
    verifying = asyncio.create_task(known.verify(header(7)))
    await loading.wait()
    known.forget(7)
    go_on.set()
    assert (await verifying).is_superuser is False


async def test_no_more_tokens_are_remembered_than_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(principals, "MAX_REMEMBERED", 3)
    known = Principals(SETTINGS, Accounts(False).load)
    headers = [header(user_id) for user_id in range(1, 6)]
    for authorization in headers:
        await known.verify(authorization)
    assert len(known) == 3
    assert [known.remembered(each) is not None for each in headers] == [False, False, True, True, True]
    for user_id in range(1, 6):
        known.forget(user_id)
    assert len(known) == 0


async def test_two_verifications_of_one_token_at_once_are_forgotten_together() -> None:
    known = Principals(SETTINGS, Accounts(False).load)
    authorization = header(7)
    await asyncio.gather(known.verify(authorization), known.verify(authorization))
    assert len(known) == 1
    known.forget(7)
    assert known.remembered(authorization) is None


async def test_tombstones_are_kept_no_longer_than_a_load_can_take(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(principals.time, "monotonic", lambda: now)
    known = Principals(SETTINGS, Accounts(False).load)
    for user_id in range(100):
        known.forget(user_id)
    now = principals.TOMBSTONE_SECONDS + 1.0
    known.forget(100)
    assert list(known._tombstones) == [100]
