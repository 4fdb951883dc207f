"""The client that the documentation prints, run as printed."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from tests.api.conftest import Person
from tests.api.events.conftest import Frame, LocalApi, publish
from tests.servers import REPOSITORY

type Follow = Callable[..., AsyncIterator[Frame]]


@pytest.fixture(scope="module")
def follow() -> Follow:
    text = (REPOSITORY / "docs" / "how-to" / "live-events.md").read_text()
    found = re.search(r"```python\n(.*?)```", text, re.DOTALL)
    assert found is not None
    names: dict[str, Any] = {"__name__": "documented"}
    exec(compile(found[1], "live-events.md", "exec"), names)  # our own page
    made: Follow = names["follow"]
    return made


async def test_it_resumes_after_a_restart_and_ends_with_the_session(api: LocalApi, redis: Any, user: Person, follow: Follow) -> None:
    seen: list[Any] = []
    async with asyncio.timeout(20):
        async for frame in follow(f"http://127.0.0.1:{api.port}", user.token):
            seen.append(frame.get("data", {}).get("n", frame["type"]))
            if frame["type"] == "events.missed":
                await publish(redis, user, 1)
            elif seen[-1] == 1:
                for socket in list(api.hub._sockets):  # pyright: ignore[reportPrivateUsage]  # as a stopping process does
                    socket.connection.close(1012, "")
                await publish(redis, user, 2, 3)
            elif seen[-1] == 3:
                api.hub.revoked(user.session_id)

    assert seen == ["events.missed", 1, 2, 3, "session.revoked"]


async def test_it_ends_where_the_token_does_not_hold(api: LocalApi, redis: Any, follow: Follow) -> None:
    async with asyncio.timeout(5):
        assert [frame async for frame in follow(f"http://127.0.0.1:{api.port}", "a.b.c")] == []
