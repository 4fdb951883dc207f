"""Jobs through the API."""

import re
from typing import Any

import asyncpg
import pytest
from httpx import AsyncClient

from tests.api.conftest import Person

JOBS = "/api/v1/jobs/"

type Admin = asyncpg.Connection[asyncpg.Record]


async def make(admin: Admin, person: Person, **values: Any) -> int:
    """Return the id of a job of a person."""
    columns = {"owner_id": person.id, "kind": "import", **values}
    names, places = ", ".join(columns), ", ".join(f"${number}" for number in range(1, len(columns) + 1))
    made: int = await admin.fetchval(f"INSERT INTO jobs ({names}) VALUES ({places}) RETURNING id", *columns.values())
    return made


async def test_a_job_tells_how_far_it_is_and_what_went_wrong(user: Person, superuser_connection: Admin) -> None:
    errors = '[{"row": 2, "pointer": "/title", "detail": "Line 3: must have 1 to 200 characters, not 0."}]'
    counts = {"progress": 5, "total": 5, "created": 4, "failed": 1}
    job_id = await make(superuser_connection, user, state="finished", errors=errors, checkpoint='{"secret": 1}', **counts)
    response = await user.client.get(f"{JOBS}{job_id}")
    job = response.json()
    assert response.status_code == 200
    assert job == {
        "id": job_id,
        "kind": "import",
        "state": "finished",
        "progress": 5,
        "counts": {"total": 5, "created": 4, "failed": 1},
        "errors": [{"row": 2, "pointer": "/title", "detail": "Line 3: must have 1 to 200 characters, not 0."}],
        "result_url": None,
        "created_at": job["created_at"],
        "updated_at": job["updated_at"],
    }
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", job["created_at"])


@pytest.mark.parametrize("path", ["{}", "{}/cancel"])
async def test_somebody_elses_job_is_not_found(
    user: Person, other: Person, superuser: Person, superuser_connection: Admin, path: str
) -> None:
    job_id = await make(superuser_connection, user)
    method = "POST" if path.endswith("cancel") else "GET"
    for person in (other, superuser):
        assert (await person.client.request(method, JOBS + path.format(job_id))).status_code == 404
    assert (await user.client.request(method, JOBS + path.format(job_id + 1))).status_code == 404
    assert await superuser_connection.fetchval("SELECT state FROM jobs") == "queued"


async def test_jobs_are_listed_newest_first_and_each_once_while_others_come(
    user: Person, other: Person, superuser_connection: Admin
) -> None:
    ids = [await make(superuser_connection, user) for _ in range(5)]
    await make(superuser_connection, other)
    seen: list[int] = []
    url: str | None = f"{JOBS}?limit=2"
    while url:
        response = await user.client.get(url)
        assert response.status_code == 200, response.text
        seen += [job["id"] for job in response.json()]
        await make(superuser_connection, user)
        found = re.search(r'<([^>]*)>; rel="next"', response.headers.get("link", ""))
        url = found[1] if found else None
    assert seen == ids[::-1]


async def test_a_page_leads_back_to_the_one_before(user: Person, superuser_connection: Admin) -> None:
    ids = [await make(superuser_connection, user) for _ in range(5)][::-1]
    first = await user.client.get(JOBS, params={"limit": 2})
    assert 'rel="prev"' not in first.headers["link"]
    second = await user.client.get(_link(first.headers["link"], "next"))
    assert [job["id"] for job in second.json()] == ids[2:4]
    back = await user.client.get(_link(second.headers["link"], "prev"))
    assert [job["id"] for job in back.json()] == ids[:2]
    assert 'rel="prev"' not in back.headers["link"]


def _link(header: str, relation: str) -> str:
    found = re.search(rf'<([^>]*)>; rel="{relation}"', header)
    assert found is not None, header
    return found[1]


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "cursor=x", "skip=1"])
async def test_a_listing_against_the_rules_is_refused(user: Person, query: str) -> None:
    response = await user.client.get(f"{JOBS}?{query}")
    assert response.status_code == 422
    assert [error["pointer"] for error in response.json()["errors"]] == ["/" + query.partition("=")[0]]


async def test_a_cursor_of_somebody_else_is_refused(user: Person, other: Person, superuser_connection: Admin) -> None:
    for _ in range(2):
        await make(superuser_connection, user)
    link = _link((await user.client.get(f"{JOBS}?limit=1")).headers["link"], "next")
    assert (await other.client.get(link)).status_code == 422


@pytest.mark.parametrize("state", ["queued", "running"])
async def test_cancelling_ends_a_job_and_tells_its_owner(user: Person, superuser_connection: Admin, state: str) -> None:
    job_id = await make(superuser_connection, user, state=state, progress=3, created=3)
    response = await user.client.post(f"{JOBS}{job_id}/cancel")
    assert response.status_code == 200
    job = response.json()
    assert (job["state"], job["progress"]) == ("cancelled", 3)
    assert await superuser_connection.fetchval("SELECT finished_at IS NOT NULL FROM jobs")
    events = await superuser_connection.fetch("SELECT name, user_id, payload->>'state' AS state FROM outbox WHERE kind = 'event'")
    assert [tuple(event) for event in events] == [("job.progress", user.id, "cancelled")]


async def test_cancelling_twice_is_cancelling_once(user: Person, superuser_connection: Admin) -> None:
    job_id = await make(superuser_connection, user)
    first, second = [await user.client.post(f"{JOBS}{job_id}/cancel") for _ in range(2)]
    assert second.status_code == 200
    assert first.json() == second.json()
    assert await superuser_connection.fetchval("SELECT count(*) FROM outbox") == 1


@pytest.mark.parametrize("state", ["finished", "failed"])
async def test_a_job_that_is_over_cannot_be_cancelled(user: Person, superuser_connection: Admin, state: str) -> None:
    job_id = await make(superuser_connection, user, state=state)
    response = await user.client.post(f"{JOBS}{job_id}/cancel")
    assert (response.status_code, response.json()["type"]) == (409, "/errors/job-is-over")


async def test_jobs_are_for_those_who_are_signed_in(client: AsyncClient) -> None:
    for method, path in (("GET", JOBS), ("GET", f"{JOBS}1"), ("POST", f"{JOBS}1/cancel")):
        assert (await client.request(method, path)).status_code == 401
