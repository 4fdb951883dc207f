"""The API in the test's own process, and people who are signed in to it."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import func, insert

from app.core.autocommit import Link
from app.core.config import Settings
from app.core.database import Database
from app.core.passwords import hash_password
from app.core.security import create_access_token
from app.main import create_app
from app.models import Session, User
from tests.conftest import WorkerBucket

PASSWORD = "correct horse battery staple"


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who is signed in.

    Attributes:
        client: A client that sends the person's access token.
    """

    id: int
    email: str
    session_id: UUID
    token: str
    client: httpx.AsyncClient

    @property
    def headers(self) -> dict[str, str]:
        """The header that says who it is."""
        return {"Authorization": f"Bearer {self.token}"}


type MakePerson = Callable[..., Awaitable[Person]]


@lru_cache(maxsize=1)
def password_hash() -> str:
    """``PASSWORD``, hashed once per run: hashing is slow on purpose."""
    return hash_password(PASSWORD)


@pytest.fixture(scope="session")
async def app(settings: Settings, s3: WorkerBucket) -> AsyncGenerator[FastAPI]:
    """The application, started."""
    app = create_app(settings)
    async with app.router.lifespan_context(app):
        yield app


def client_of(app: FastAPI, headers: dict[str, str] | None = None) -> httpx.AsyncClient:
    """Return a client that calls the application without a network."""
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1", headers=headers)


@pytest.fixture
async def client(app: FastAPI, database: Database, valkey: object) -> AsyncGenerator[httpx.AsyncClient]:
    """Somebody who is not signed in."""
    async with client_of(app) as client:
        yield client


@pytest.fixture
async def make_person(app: FastAPI, settings: Settings, database: Database, valkey: object) -> AsyncGenerator[MakePerson]:
    """Make people who are signed in, without the cost of signing in."""
    clients: list[httpx.AsyncClient] = []

    async def make(*, is_superuser: bool = False) -> Person:
        email = f"{uuid4().hex}@example.com"
        async with database.write() as session:
            made = insert(User).values(email=email, password_hash=password_hash(), is_superuser=is_superuser).returning(User.id)
            user_id = (await session.execute(made)).scalar_one()
            started = insert(Session).values(user_id=user_id, expires_at=func.now() + timedelta(days=1)).returning(Session.id)
            session_id = (await session.execute(started)).scalar_one()
        token = create_access_token(settings, user_id=user_id, session_id=session_id)
        client = client_of(app, {"Authorization": f"Bearer {token}"})
        clients.append(client)
        return Person(user_id, email, session_id, token, client)

    yield make
    for client in clients:
        await client.aclose()


@pytest.fixture
async def user(make_person: MakePerson) -> Person:
    """Somebody."""
    return await make_person()


@pytest.fixture
async def other(make_person: MakePerson) -> Person:
    """Somebody else."""
    return await make_person()


@pytest.fixture
async def superuser(make_person: MakePerson) -> Person:
    """Somebody who may act on others."""
    return await make_person(is_superuser=True)


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list that takes down what is run as a single statement."""
    noted: list[str] = []
    fetch = Link.fetch

    async def noting(link: Link, text: str, values: Sequence[object], limit: int) -> Any:
        noted.append(text)
        return await fetch(link, text, values, limit)

    monkeypatch.setattr(Link, "fetch", noting)
    return noted
