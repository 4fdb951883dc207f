"""Mails: one per registration, whatever the mail server does."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from uuid import UUID

import aiosmtplib
import pytest

from app.core import metrics
from app.core.config import Settings
from app.core.resources import Resources
from app.crud import outbox
from app.crud.inbox import Claim
from app.services import email
from app.services.delivery import Message, Postpone
from app.services.users import WELCOME
from tests.tasks.conftest import Outbox, Worker
from tests.worker import Mailbox

MESSAGE_ID = UUID("0198a0de-0000-7000-8000-000000000001")


def message(user_id: int = 0, *, interrupted: bool = False) -> Message:
    return Message(Claim(1, MESSAGE_ID, WELCOME, {"user_id": user_id}, {}, 1, 1, interrupted))


async def add_user(promised: Outbox, address: str = "ada@example.com") -> int:
    made: int = await promised.connection.fetchval("INSERT INTO users (email, password_hash) VALUES ($1, '-') RETURNING id", address)
    return made


async def test_a_registration_is_welcomed_with_one_mail(worker: Worker, promised: Outbox, smtp: Mailbox) -> None:
    user_id = await add_user(promised)
    async with promised.database.write() as session:
        await outbox.add_task(session, WELCOME, {"user_id": user_id}, headers={"request_id": "request-1"})
    message_id = (await promised.rows())[0]["message_id"]
    await promised.until_done()
    (mail,) = smtp.received
    assert mail["to"] == ["ada@example.com"]
    assert mail["subject"] == "Welcome to FastAPI Platform"
    assert mail["headers"]["Message-ID"] == f"<{message_id}@localhost>"
    assert mail["headers"]["X-Request-ID"] == "request-1"
    assert "ada@example.com" in (mail["text"] or "")
    assert "<strong>ada@example.com</strong>" in (mail["html"] or "")


async def test_many_registrations_are_welcomed_with_one_mail_each(worker: Worker, promised: Outbox, smtp: Mailbox) -> None:
    users = [await add_user(promised, f"user-{number}@example.com") for number in range(20)]
    async with promised.database.write() as session:
        for user_id in users:
            await outbox.add_task(session, WELCOME, {"user_id": user_id})
    await promised.until_done()
    assert sorted(mail["to"][0] for mail in smtp.received) == sorted(f"user-{number}@example.com" for number in range(20))


async def test_what_stands_for_markup_in_an_address_is_text_in_the_mail(settings: Settings) -> None:
    mail = email.compose(settings, message(), "a@example.com", "s", "welcome", {"project": "P", "email": "<b>&@x.de", "url": "https://x"})
    text, html = (mail.get_body((kind,)) for kind in ("plain", "html"))
    assert text is not None
    assert html is not None
    assert "<b>&@x.de" in text.get_content()
    assert "&lt;b&gt;&amp;@x.de" in html.get_content()


async def test_the_message_id_carries_the_senders_domain(settings: Settings) -> None:
    sender = settings.model_copy(update={"EMAIL_FROM": "Platform <hello@platform.example>"})
    mail = email.compose(sender, message(), "a@example.com", "s", "welcome", {"project": "P", "email": "e", "url": "u"})
    assert mail["Message-ID"] == f"<{MESSAGE_ID}@platform.example>"
    assert mail["Auto-Submitted"] == "auto-generated"


async def test_nothing_is_sent_to_an_account_that_is_gone(resources: Resources, smtp: Mailbox) -> None:
    await email.send_welcome_email(resources, message(user_id=1))
    assert smtp.received == []


async def test_without_a_mail_server_the_mail_stays(resources: Resources, promised: Outbox) -> None:
    without = replace(resources, settings=resources.settings.model_copy(update={"SMTP_HOST": None}))
    with pytest.raises(Postpone, match="SMTP_HOST is not set"):
        await email.send_welcome_email(without, message(await add_user(promised)))


async def test_a_mail_that_may_have_been_sent_before_is_sent_and_counted(resources: Resources, promised: Outbox, smtp: Mailbox) -> None:
    before = _repeats()
    await email.send_welcome_email(resources, message(await add_user(promised), interrupted=True))
    assert len(await smtp.wait_for()) == 1
    assert _repeats() == before + 1


def _repeats() -> float:
    return vars(metrics.EMAIL_REPEATS)["_value"].get()  # there is no public reader


type Answer = Callable[[str], str | None]


@asynccontextmanager
async def mail_server(answer: Answer) -> AsyncGenerator[int]:
    """A mail server that says what ``answer`` gives for a command, and hangs up where it gives nothing."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        command = "CONNECT"
        while (said := answer(command)) is not None:
            writer.write(f"{said}\r\n".encode())
            if said.startswith("354"):
                while await reader.readline() not in {b".\r\n", b""}:
                    pass
                command = "MAIL END"
                continue
            line = await reader.readline()
            command = line.decode().strip().partition(" ")[0].upper()
            if not line:
                break
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await server.wait_closed()


POLITE = {
    "CONNECT": "220 here", "EHLO": "250 hello", "MAIL": "250 ok", "RCPT": "250 ok", "DATA": "354 go on", "MAIL END": "250 taken",
    "QUIT": "221 bye",
}  # fmt: skip


async def send_to(settings: Settings, told: Message, **answers: str | None) -> None:
    said: dict[str, str | None] = POLITE | {name.replace("_", " "): answer for name, answer in answers.items()}
    async with mail_server(said.__getitem__) as port:
        where = settings.model_copy(update={"SMTP_HOST": "127.0.0.1", "SMTP_PORT": port, "SMTP_TLS": "none"})
        values = {"project": "P", "email": "e", "url": "u"}
        await email.send(where, told, email.compose(where, told, "a@example.com", "s", "welcome", values))


async def test_a_mail_that_was_taken_is_sent_however_the_server_says_goodbye(settings: Settings) -> None:
    for goodbye in (None, "421 gone"):
        await send_to(settings, message(), QUIT=goodbye)


@pytest.mark.parametrize(
    "answers",
    [
        {"CONNECT": "421 too busy"},
        {"MAIL": "550 not you"},
        {"RCPT": "451 greylisted"},
        {"MAIL_END": "452 disk full"},
        {"DATA": "421 going down"},
    ],
)
async def test_what_the_server_refuses_for_now_is_tried_later(settings: Settings, answers: dict[str, str]) -> None:
    told = message()
    with pytest.raises(Postpone):
        await send_to(settings, told, **answers)
    assert not told.in_doubt


@pytest.mark.parametrize("answers", [{"RCPT": "550 nobody here"}, {"MAIL_END": "554 spam"}])
async def test_a_mail_refused_for_good_fails(settings: Settings, answers: dict[str, str]) -> None:
    told = message()
    with pytest.raises(aiosmtplib.SMTPException):
        await send_to(settings, told, **answers)
    assert not told.in_doubt


async def test_a_server_that_hangs_up_instead_of_answering_leaves_the_mail_in_doubt(settings: Settings) -> None:
    told = message()
    with pytest.raises(Postpone):
        await send_to(settings, told, MAIL_END=None)
    assert told.in_doubt


async def test_a_server_that_is_away_is_tried_later(settings: Settings) -> None:
    async with mail_server(POLITE.__getitem__) as port:
        pass
    away = settings.model_copy(update={"SMTP_HOST": "127.0.0.1", "SMTP_PORT": port})
    with pytest.raises(Postpone, match="SMTPConnect"):
        await email.send(away, message(), email.compose(away, message(), "a@b.de", "s", "welcome", {"project": "", "email": "", "url": ""}))
