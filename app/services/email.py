"""Mails: each is sent once, under a Message-ID that stays the same should it ever come twice."""

import logging
from contextlib import suppress
from email.message import EmailMessage
from email.utils import formatdate, parseaddr
from html import escape
from pathlib import Path
from string import Template
from typing import Final

import aiosmtplib

from app.core import context, metrics
from app.core.config import Settings
from app.core.resources import Resources
from app.crud import user as users
from app.services.delivery import Message, Postpone

TEMPLATES: Final = Path(__file__).parent.parent / "templates" / "email"
TIMEOUT_SECONDS: Final = 10.0
#: Seconds until the next try while there is no mail server.
RETRY_SECONDS: Final = 15.0
EMAIL: Final = 1

logger = logging.getLogger(__name__)


async def send_welcome_email(resources: Resources, message: Message) -> None:
    """Welcome a new user; nothing is sent if the account is gone by now.

    Args:
        resources: What the worker holds open.
        message: The task; payload ``{"user_id": int}``.

    Raises:
        Postpone: if the mail server is away, refuses us, or none is configured.
        aiosmtplib.SMTPException: if it refuses this mail for good.
    """
    user = await users.get(resources.database.autocommit, message.payload["user_id"])
    if user is None:
        return
    settings = resources.settings
    values = {"project": settings.PROJECT_NAME, "email": str(user[EMAIL]), "url": settings.PUBLIC_URL}
    mail = compose(settings, message, values["email"], f"Welcome to {settings.PROJECT_NAME}", "welcome", values)
    await send(settings, message, mail)


def compose(settings: Settings, message: Message, recipient: str, subject: str, template: str, values: dict[str, str]) -> EmailMessage:
    """Return a mail with a text and an HTML part.

    Args:
        settings: The sender.
        message: The task that sends it; its id is the Message-ID (RFC 5322, 3.6.4).
        recipient: Whom it is for.
        subject: One line.
        template: Name of the two files in ``templates/email``.
        values: What the templates' placeholders stand for, as plain text.
    """
    mail = EmailMessage()
    mail["From"] = settings.EMAIL_FROM
    mail["To"] = recipient
    mail["Subject"] = subject
    mail["Date"] = formatdate()
    mail["Message-ID"] = f"<{message.id}@{parseaddr(settings.EMAIL_FROM)[1].rpartition('@')[2]}>"
    mail["Auto-Submitted"] = "auto-generated"  # RFC 3834: no automatic reply, please
    if request_id := context.request_id.get():
        mail["X-Request-ID"] = request_id
    mail.set_content(_fill(f"{template}.txt", values))
    mail.add_alternative(_fill(f"{template}.html", {name: escape(value) for name, value in values.items()}), subtype="html")
    return mail


def _fill(file: str, values: dict[str, str]) -> str:
    return Template((TEMPLATES / file).read_text(encoding="utf-8")).substitute(values)


async def send(settings: Settings, message: Message, mail: EmailMessage) -> None:
    """Hand a mail to the mail server.

    Args:
        settings: Which server, and how to speak with it.
        message: The task that sends it.
        mail: The mail.

    Raises:
        Postpone: if the server is away, refuses us, or none is configured.
        aiosmtplib.SMTPException: if it refuses this mail for good.
    """
    if settings.SMTP_HOST is None:
        raise Postpone("SMTP_HOST is not set: the mail stays in the outbox until it is.", delay=RETRY_SECONDS)
    client = aiosmtplib.SMTP(
        hostname=settings.SMTP_HOST,
        port=settings.SMTP_PORT,
        username=settings.SMTP_USER,
        password=settings.SMTP_PASSWORD.get_secret_value() if settings.SMTP_PASSWORD else None,
        use_tls=settings.SMTP_TLS == "tls",
        start_tls=settings.SMTP_TLS == "starttls",
        timeout=TIMEOUT_SECONDS,
    )
    try:
        await client.connect()
        await _hand_over(client, message, mail)
    except (aiosmtplib.SMTPException, OSError) as error:
        metrics.EMAILS.labels("failed").inc()
        if _is_refused_for_good(error):
            raise
        raise Postpone(f"The mail was not sent: {type(error).__name__}: {error}", delay=RETRY_SECONDS) from error
    finally:
        with suppress(aiosmtplib.SMTPException, OSError):  # the mail is out, or not: how the server says goodbye is no matter
            await client.quit()
        client.close()
    metrics.EMAILS.labels("sent").inc()


async def _hand_over(client: aiosmtplib.SMTP, message: Message, mail: EmailMessage) -> None:
    if message.interrupted:
        metrics.EMAIL_REPEATS.inc()
        logger.warning("this mail may have been sent before", extra={"message_id": str(message.id)})
    message.in_doubt = True
    try:
        await client.send_message(mail)
    except (aiosmtplib.SMTPResponseException, aiosmtplib.SMTPRecipientsRefused):
        message.in_doubt = False  # the server spoke: it has not taken the mail
        raise


def _is_refused_for_good(error: Exception) -> bool:
    """Say whether the server refused this mail, rather than us or for now (RFC 5321, 4.2.1)."""
    refusals = error.recipients if isinstance(error, aiosmtplib.SMTPRecipientsRefused) else [error]
    return all(isinstance(each, aiosmtplib.SMTPRecipientRefused | aiosmtplib.SMTPDataError) and each.code >= 500 for each in refusals)  # noqa: PLR2004  # permanent refusals (RFC 5321, 4.2.1)
