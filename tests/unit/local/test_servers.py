"""The embedded servers: each does what the service needs of it."""

import smtplib
from email.message import EmailMessage
from typing import Any, cast

import asyncpg
import httpx
import pytest
from redis.asyncio import Redis
from redis.exceptions import AuthenticationError

from app.core.database import Database
from tests.worker import Mailbox, WorkerDatabase


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
