"""Items the ordinary FastAPI way: an ORM session per request, the user loaded each time, a response model.

The tables are the service's own classes. See ``../README.md`` for what a peer does.
"""

import json
import os
from collections.abc import AsyncGenerator
from datetime import datetime
from typing import Annotated, Any

from fastapi import Depends, FastAPI, HTTPException, Path, Query
from fastapi.encoders import jsonable_encoder
from fastapi.security import OAuth2PasswordBearer
from jose import JWTError, jwt
from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine

from app.models import Item, OutboxMessage, User

CONNECTIONS = 10
MAX_ATTRIBUTES_BYTES = 16 * 1024

engine = create_async_engine(
    os.environ["DATABASE_URL"].replace("postgresql://", "postgresql+asyncpg://", 1), pool_size=CONNECTIONS, max_overflow=0
)
sessions = async_sessionmaker(engine, expire_on_commit=False)
bearer = OAuth2PasswordBearer(tokenUrl="/api/v1/auth/login")
app = FastAPI()


def _small(document: dict[str, Any]) -> dict[str, Any]:
    if len(json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()) > MAX_ATTRIBUTES_BYTES:
        raise ValueError("is too large")
    return document


class ItemCreate(BaseModel):
    """An item to make."""

    model_config = ConfigDict(extra="forbid")

    title: str = Field(min_length=1, max_length=200)
    description: str | None = Field(default=None, max_length=10_000)
    attributes: Annotated[dict[str, Any], AfterValidator(_small)] = Field(default_factory=dict)


class ItemRead(BaseModel):
    """An item."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    owner_id: int
    title: str
    description: str | None
    attributes: dict[str, Any]
    version: int
    created_at: datetime
    updated_at: datetime


class Health(BaseModel):
    """That it answers."""

    status: str


async def open_session() -> AsyncGenerator[AsyncSession]:
    """Open the request's session."""
    async with sessions() as session:
        yield session


Session = Annotated[AsyncSession, Depends(open_session)]


async def load_user(session: Session, token: Annotated[str, Depends(bearer)]) -> User:
    """Return whom the access token speaks for."""
    try:
        claims = jwt.decode(token, os.environ["SECRET_KEY"], algorithms=["HS256"], audience="access", issuer=os.environ["PUBLIC_URL"])
        user = await session.get(User, int(claims["sub"]))
    except (JWTError, KeyError, ValueError):
        raise HTTPException(401, "Unauthorized") from None
    if user is None or not user.is_active:
        raise HTTPException(401, "Unauthorized")
    return user


CurrentUser = Annotated[User, Depends(load_user)]


@app.get("/health/live", response_model=Health)
async def check_health() -> Any:
    """Say that the process answers."""
    return Health(status="ok")


@app.get("/api/v1/items/{item_id}", response_model=ItemRead)
async def read_item(item_id: Annotated[int, Path(ge=1)], session: Session, user: CurrentUser) -> Any:
    """Read an item."""
    item = await session.scalar(select(Item).where(Item.id == item_id, Item.owner_id == user.id))
    if item is None:
        raise HTTPException(404, "Not found")
    return item


@app.get("/api/v1/items/", response_model=list[ItemRead])
async def list_items(session: Session, user: CurrentUser, limit: Annotated[int, Query(ge=1, le=100)] = 50) -> Any:
    """List the newest items."""
    query = select(Item).where(Item.owner_id == user.id).order_by(Item.created_at.desc(), Item.id.desc()).limit(limit)
    return (await session.scalars(query)).all()


@app.post("/api/v1/items/", response_model=ItemRead, status_code=201)
async def create_item(data: ItemCreate, session: Session, user: CurrentUser) -> Any:
    """Make an item and promise its event, in one transaction."""
    item = Item(owner_id=user.id, **data.model_dump())
    session.add(item)
    await session.flush()
    await session.refresh(item)
    payload = jsonable_encoder(ItemRead.model_validate(item))
    session.add(OutboxMessage(kind="event", name="item.created", user_id=user.id, payload=payload))
    await session.commit()
    return item
