"""What every test of bad input has: all routes of the document, and the proof that nothing of a refused request was kept."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

import pytest
from fastapi import FastAPI

from tests.api.conftest import Person
from tests.api.operations import Operation, operations

type FromNowOn = Callable[[], Awaitable[None]]


@pytest.fixture(autouse=True)
async def nothing_is_kept(superuser: Person, other: Person, superuser_connection: Any) -> AsyncGenerator[FromNowOn]:
    """Compare every row of every table before and after. A test that first has to make something calls what this gives afterwards."""

    async def rows() -> dict[str, Any]:
        tables = await superuser_connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        return {
            table: await superuser_connection.fetchval(f"SELECT array_agg(each::text ORDER BY each::text) FROM {table} each")
            for (table,) in tables
        }

    before = await rows()

    async def from_now_on() -> None:
        nonlocal before
        before = await rows()

    yield from_now_on
    assert await rows() == before


@pytest.fixture
def everything(app: FastAPI) -> list[Operation]:
    """Every operation."""
    return list(operations(app))
