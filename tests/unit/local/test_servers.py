"""The embedded servers: each does what the service needs of it."""

import base64
import hashlib
import smtplib
from email.message import EmailMessage
from pathlib import Path
from typing import Any, cast

import asyncpg
import httpx
import pytest
from aiobotocore.config import AioConfig
from aiobotocore.session import get_session
from redis.asyncio import Redis
from redis.exceptions import AuthenticationError

from app.core.database import Database
from app.local.mail.store import MailStore, read_mails
from tests.worker import Mailbox, WorkerBucket, WorkerDatabase


async def test_the_services_role_can_write_rows_but_not_change_the_schema(postgres: WorkerDatabase, empty_tables: None) -> None:
    connection = await asyncpg.connect(postgres.url)
    try:
        await connection.execute("INSERT INTO users (email, password_hash) VALUES ('a@example.com', 'x')")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute("CREATE TABLE intruder (id int)")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute("DROP TABLE users")
    finally:
        await connection.close()


async def test_the_database_knows_upper_and_lower_case_beyond_ascii(postgres: WorkerDatabase) -> None:
    connection = await asyncpg.connect(postgres.url)
    try:
        assert await connection.fetchval("SELECT lower('ÅÉÜ')") == "åéü"
    finally:
        await connection.close()


async def test_every_test_begins_with_empty_tables(database: Database, superuser_connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    assert await superuser_connection.fetchval("SELECT count(*) FROM users") == 0


async def test_valkey_refuses_a_client_without_the_password(valkey: Redis) -> None:
    port = valkey.connection_pool.connection_kwargs["port"]
    stranger = Redis(host="127.0.0.1", port=port)
    try:
        with pytest.raises(AuthenticationError):
            await cast("Any", stranger).ping()
    finally:
        await stranger.aclose()


async def test_a_mail_is_kept_with_its_parts_and_headers(smtp: Mailbox) -> None:
    message = EmailMessage()
    message["From"] = "Platform <no-reply@example.com>"
    message["To"] = "ann@example.com"
    message["Subject"] = "Grüße"
    message["Message-ID"] = "<1@example.com>"
    message.set_content("Hello 👋\n")
    message.add_alternative("<p>Hello</p>", subtype="html")
    with smtplib.SMTP(smtp.catcher.host, smtp.catcher.smtp_port) as client:
        client.send_message(message)
    async with httpx.AsyncClient() as client:
        (mail,) = (await client.get(f"{smtp.catcher.url}/api/messages")).json()
    assert (mail["from"], mail["to"], mail["subject"]) == ("no-reply@example.com", ["ann@example.com"], "Grüße")
    assert mail["text"] == "Hello 👋\n"
    assert mail["html"].strip() == "<p>Hello</p>"
    assert mail["headers"]["Message-ID"] == "<1@example.com>"
    assert smtp.received == [mail]


async def presigned_put(s3: WorkerBucket, key: str, content: bytes) -> tuple[str, dict[str, str]]:
    """Return a URL to upload ``content`` with, and the headers that go with it."""
    checksum = base64.b64encode(hashlib.sha256(content).digest()).decode()
    session: Any = get_session()
    config = AioConfig(s3={"addressing_style": "path"}, signature_version="s3v4")
    keys = {"aws_access_key_id": s3.store.access_key, "aws_secret_access_key": s3.store.secret_key}
    async with session.create_client(
        "s3", endpoint_url=s3.store.endpoint_url, region_name=s3.store.region, config=config, **keys
    ) as client:
        url = await client.generate_presigned_url("put_object", Params={"Bucket": s3.name, "Key": key, "ChecksumSHA256": checksum})
    return url, {"x-amz-checksum-sha256": checksum}


async def test_a_presigned_upload_is_bound_to_its_checksum(s3: WorkerBucket) -> None:
    url, headers = await presigned_put(s3, "right", b"right")
    async with httpx.AsyncClient() as client:
        assert (await client.put(url, content=b"wrong", headers=headers)).status_code == 400
        assert (await client.put(url, content=b"right", headers=headers)).status_code == 200


async def test_a_page_of_an_allowed_origin_may_upload(s3: WorkerBucket) -> None:
    url, _ = await presigned_put(s3, "key", b"content")
    asked = {
        "Origin": "http://localhost:3000",
        "Access-Control-Request-Method": "PUT",
        "Access-Control-Request-Headers": "x-amz-checksum-sha256",
    }
    async with httpx.AsyncClient() as client:
        preflight = await client.options(url, headers=asked)
    assert preflight.headers["Access-Control-Allow-Origin"] == "http://localhost:3000"


async def test_the_mailbox_page_asks_nobody_but_itself(smtp: Mailbox) -> None:
    async with httpx.AsyncClient(base_url=smtp.catcher.url) as client:
        page = await client.get("/")
        assets = [(await client.get(path)).status_code for path in ("/assets/mailbox.css", "/assets/mailbox.js")]
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    assert "http://" not in page.text.replace("http://www.w3.org/2000/svg", "")
    assert "https://" not in page.text
    assert assets == [200, 200]


async def test_a_mail_as_html_can_do_nothing(smtp: Mailbox) -> None:
    message = EmailMessage()
    message["To"] = "ann@example.com"
    message.set_content("<script>alert(1)</script>", subtype="html")
    with smtplib.SMTP(smtp.catcher.host, smtp.catcher.smtp_port) as client:
        client.send_message(message, "from@example.com")
    async with httpx.AsyncClient(base_url=smtp.catcher.url) as client:
        shown = await client.get(f"/messages/{smtp.received[0]['id']}")
    policy = shown.headers["Content-Security-Policy"]
    assert policy.startswith("sandbox")
    assert "allow-scripts" not in policy
    assert "default-src 'none'" in policy


async def test_a_page_elsewhere_cannot_read_the_mails(smtp: Mailbox) -> None:
    async with httpx.AsyncClient(base_url=smtp.catcher.url) as client:
        assert (await client.get("/api/messages", headers={"Host": "rebound.example"})).status_code == 400


def test_a_mail_that_no_parser_understands_is_kept_as_it_came(tmp_path: Path) -> None:
    store = MailStore(tmp_path)
    store.add(b"Subject: =?utf-8?q?broken\r\nContent-Type: text/plain; charset=nonsense\r\nFrom: <<>\r\n\r\n\xff\xfe", ["ann@example.com"])
    (mail,) = MailStore(tmp_path).newest_first()
    assert mail["to"] == ["ann@example.com"]
    assert mail["text"] is not None


def test_mails_outlive_the_catcher_and_come_newest_first(tmp_path: Path) -> None:
    store = MailStore(tmp_path)
    for number in range(3):
        store.add(f"Subject: {number}\r\n\r\n".encode(), ["ann@example.com"])
    assert [mail["subject"] for mail in MailStore(tmp_path).newest_first()] == ["2", "1", "0"]
    assert read_mails(tmp_path) == store.newest_first()
