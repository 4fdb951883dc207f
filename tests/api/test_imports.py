"""Imports through the API: what may be started, and what is refused."""

import hashlib
from typing import Any
from uuid import uuid4

import asyncpg
import httpx
import pytest
from httpx import Response

from app.core.config import Settings
from tests.api.conftest import Person
from tests.conftest import WorkerBucket

IMPORTS = "/api/v1/items/imports"
UPLOADS = f"{IMPORTS}/uploads"
CSV = b"title,description\none,1\ntwo,2\n"

type Admin = asyncpg.Connection[asyncpg.Record]


def announcement(content: bytes = CSV, **changes: Any) -> dict[str, Any]:
    """Return the body that announces a file."""
    checksum = hashlib.sha256(content).hexdigest()
    return {"filename": "a.csv", "content_type": "text/csv", "size": len(content), "checksum_sha256": checksum, **changes}


async def announce(person: Person, content: bytes = CSV, **changes: Any) -> dict[str, Any]:
    """Return a file that a person announced."""
    response = await person.client.post(UPLOADS, json=announcement(content, **changes))
    assert response.status_code == 201, response.text
    made: dict[str, Any] = response.json()
    return made


async def send(upload: dict[str, Any], content: bytes = CSV, **headers: str) -> Response:
    """Send a file to the store as its announcement says."""
    async with httpx.AsyncClient() as client:
        request = upload["upload"]
        return await client.request(request["method"], request["url"], content=content, headers=request["headers"] | headers)


async def start(person: Person, upload: dict[str, Any], **headers: str) -> Response:
    """Start the import of an upload."""
    return await person.client.post(IMPORTS, json={"upload_id": upload["id"], "format": "csv"}, headers=headers)


def refused(response: Response, status: int, slug: str) -> dict[str, Any]:
    """Return the problem an answer must be."""
    problem: dict[str, Any] = response.json()
    assert (response.status_code, problem["type"]) == (status, f"/errors/{slug}"), response.text
    return problem


async def test_an_uploaded_file_is_imported_by_a_job(user: Person, superuser_connection: Admin) -> None:
    upload = await announce(user)
    assert set(upload["upload"]) == {"method", "url", "headers", "expires_at"}
    assert (await send(upload)).status_code == 200
    response = await start(user, upload)
    assert response.status_code == 202
    job = response.json()
    assert response.headers["location"] == f"/api/v1/jobs/{job['id']}"
    assert job["kind"] == "import"
    assert job["state"] == "queued"
    assert job["counts"] == {"total": None, "created": 0, "failed": 0}
    read = await user.client.get(response.headers["location"])
    assert (read.status_code, read.json()) == (200, job)
    promised = await superuser_connection.fetchrow("SELECT name, payload::text AS payload FROM outbox WHERE kind = 'task'")
    assert promised is not None
    assert promised["name"] == "app.tasks.import_tasks.run_import"
    assert promised["payload"] == f'{{"job_id": {job["id"]}}}'


@pytest.mark.parametrize(
    ("content", "headers"),
    [
        (CSV[:-1], {}),
        (CSV + b"x", {}),
        (CSV.replace(b"one", b"two"), {}),
        (CSV, {"Content-Type": "text/html"}),
        (CSV, {"x-amz-checksum-sha256": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="}),
    ],
)
async def test_the_store_refuses_what_was_not_announced(user: Person, content: bytes, headers: dict[str, str]) -> None:
    upload = await announce(user)
    assert (await send(upload, content, **headers)).status_code in {400, 403}
    refused(await start(user, upload), 409, "upload-incomplete")


async def test_an_import_of_a_file_that_never_came_is_refused(user: Person) -> None:
    problem = refused(await start(user, await announce(user)), 409, "upload-incomplete")
    assert "has not arrived" in problem["detail"]


async def test_an_import_of_what_differs_from_its_announcement_is_refused(user: Person, superuser_connection: Admin) -> None:
    upload = await announce(user)
    await send(upload)
    await superuser_connection.execute("UPDATE uploads SET size = size + 1, content_type = 'text/plain', checksum_sha256 = repeat('0', 64)")
    problem = refused(await start(user, upload), 409, "upload-incomplete")
    assert "size and content type and checksum" in problem["detail"]


async def test_an_upload_serves_one_import(user: Person) -> None:
    upload = await announce(user)
    await send(upload)
    assert (await start(user, upload)).status_code == 202
    refused(await start(user, upload), 409, "upload-used")


async def test_an_import_repeated_with_its_key_is_the_same_job(user: Person, superuser_connection: Admin) -> None:
    upload = await announce(user)
    await send(upload)
    first = await start(user, upload, **{"Idempotency-Key": "k"})
    second = await start(user, upload, **{"Idempotency-Key": "k"})
    assert (first.status_code, second.status_code) == (202, 202)
    assert first.json() == second.json()
    assert second.headers["idempotency-replayed"] == "true"
    assert second.headers["location"] == first.headers["location"]
    assert await superuser_connection.fetchval("SELECT count(*) FROM jobs") == 1


async def test_a_file_sent_twice_with_one_key_is_imported_once(user: Person, superuser_connection: Admin) -> None:
    answers = [await send_file(user, CSV, "a.csv", headers={"Idempotency-Key": "k"}) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [202, 202]
    assert answers[0].json() == answers[1].json()
    refused(await send_file(user, CSV + b"three,\n", "a.csv", headers={"Idempotency-Key": "k"}), 422, "idempotency-key-reused")
    assert await superuser_connection.fetchval("SELECT count(*) FROM outbox WHERE kind = 'task'") == 1


async def test_somebody_elses_upload_is_not_found(user: Person, other: Person) -> None:
    upload = await announce(user)
    await send(upload)
    refused(await start(other, upload), 404, "not-found")
    refused(await start(user, {"id": str(uuid4())}), 404, "not-found")


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"size": 0}, "/size"),
        ({"size": 5 * 2**30 + 1}, "/size"),
        ({"checksum_sha256": "00"}, "/checksum_sha256"),
        ({"content_type": "text"}, "/content_type"),
        ({"content_type": "text/csv\r\nx-evil: 1"}, "/content_type"),
        ({"filename": ""}, "/filename"),
        ({"filename": "a\0"}, "/filename"),
        ({"more": 1}, "/more"),
    ],
)
async def test_an_announcement_against_the_rules_is_refused(user: Person, changes: dict[str, Any], pointer: str) -> None:
    problem = refused(await user.client.post(UPLOADS, json=announcement(**changes)), 422, "validation-failed")
    assert [error["pointer"] for error in problem["errors"]] == [pointer]


async def test_a_file_of_5_gib_may_be_announced(user: Person) -> None:
    upload = await announce(user, size=5 * 2**30, content_type="text/csv; charset=utf-8")
    assert upload["upload"]["headers"]["Content-Type"] == "text/csv; charset=utf-8"


async def send_file(person: Person, content: bytes, name: str, content_type: str = "", headers: dict[str, str] | None = None) -> Response:
    """Send a file with the request that imports it."""
    return await person.client.post(IMPORTS, files={"file": (name, content, content_type or None)}, headers=headers)


@pytest.mark.parametrize(
    ("name", "content_type", "expected"),
    [
        ("a.csv", "", "csv"),
        ("A.CSV", "application/octet-stream", "csv"),
        ("export", "text/csv; charset=utf-8", "csv"),
        ("a.ndjson", "", "ndjson"),
        ("a.jsonl", "text/plain", "ndjson"),
        ("a.csv", "application/x-ndjson", "ndjson"),
    ],
)
async def test_a_file_in_the_request_is_taken_as_its_type_or_name_says(
    user: Person, superuser_connection: Admin, name: str, content_type: str, expected: str
) -> None:
    response = await send_file(user, CSV, name, content_type)
    assert response.status_code == 202, response.text
    assert response.headers["location"] == f"/api/v1/jobs/{response.json()['id']}"
    assert await superuser_connection.fetchval("SELECT parameters->>'format' FROM jobs") == expected


async def test_what_is_put_into_the_store_is_the_file(user: Person, superuser_connection: Admin, s3: WorkerBucket) -> None:
    content = b"title\n" + b"a row\n" * 500_000  # larger than what is kept in memory
    assert (await send_file(user, content, "a.csv")).status_code == 202
    row = await superuser_connection.fetchrow("SELECT object_key, size, checksum_sha256, job_id FROM uploads")
    assert row is not None
    assert (row["size"], row["checksum_sha256"]) == (len(content), hashlib.sha256(content).hexdigest())
    assert row["job_id"] is not None


@pytest.mark.parametrize(
    ("files", "pointer"),
    [
        ({"file": ("a.csv", b"")}, "/file"),
        ({"file": ("a.exe", CSV)}, "/file"),
        ({"file": ("csv", CSV)}, "/file"),
        ({"other": ("a.csv", CSV)}, "/other"),
        ({"file": (None, CSV)}, "/file"),
    ],
)
async def test_a_form_without_a_file_to_import_is_refused(user: Person, files: Any, pointer: str) -> None:
    problem = refused(await user.client.post(IMPORTS, files=files), 422, "validation-failed")
    assert problem["errors"][0]["pointer"] == pointer


async def test_a_file_as_large_as_allowed_is_taken_and_a_larger_one_refused(user: Person, settings: Settings) -> None:
    limit = settings.IMPORT_MAX_BODY_BYTES
    content = b"title\n" + b"x\n" * (limit // 2 - 3)
    assert len(content) == limit
    assert (await send_file(user, content, "a.csv")).status_code == 202
    refused(await send_file(user, content + b"x", "a.csv"), 413, "payload-too-large")
    refused(await send_file(user, content + b"x" * 100_000, "a.csv"), 413, "payload-too-large")


@pytest.mark.parametrize(
    ("body", "pointers"),
    [
        ({}, ["/upload_id", "/format"]),
        ({"upload_id": "x", "format": "csv"}, ["/upload_id"]),
        ({"upload_id": str(uuid4()), "format": "xls"}, ["/format"]),
        ({"upload_id": str(uuid4()), "format": "csv", "more": 1}, ["/more"]),
        ([], [""]),
    ],
)
async def test_a_body_against_the_rules_is_refused_where_it_is_wrong(user: Person, body: Any, pointers: list[str]) -> None:
    problem = refused(await user.client.post(IMPORTS, json=body), 422, "validation-failed")
    assert [error["pointer"] for error in problem["errors"]] == pointers


@pytest.mark.parametrize(
    ("content", "content_type", "status", "slug"),
    [
        (b"", "application/json", 422, "validation-failed"),
        (b"{", "application/json", 400, "malformed-request"),
        (b"title\n", "text/csv", 415, "unsupported-media-type"),
        (b"x", "multipart/form-data", 400, "malformed-request"),
        (b"x", "multipart/form-data; boundary=b", 400, "malformed-request"),
        (b"--b--\r\n", "multipart/form-data; boundary=b", 422, "validation-failed"),
        (b" " * 1_048_577, "application/json", 413, "payload-too-large"),
    ],
)
async def test_a_body_that_is_neither_form_nor_json_is_refused(
    user: Person, content: bytes, content_type: str, status: int, slug: str
) -> None:
    refused(await user.client.post(IMPORTS, content=content, headers={"Content-Type": content_type}), status, slug)


async def test_imports_are_for_those_who_are_signed_in(client: httpx.AsyncClient) -> None:
    refused(await client.post(IMPORTS, files={"file": ("a.csv", CSV)}), 401, "unauthorized")
    refused(await client.post(UPLOADS, json=announcement()), 401, "unauthorized")
